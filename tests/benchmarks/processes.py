"""Servers of one benchmark: started on free loopback ports, pinned to a core, always ended.

Every server runs in the foreground as a child in its own process group, with its
files in a temporary directory, and is ended by its group's id.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

START_S = 20.0  # a server that does not answer by then counts as broken
STOP_S = 5.0


class NotAvailable(Exception):
    """A tool that is not installed, or a server that does not come up; says which."""


def tool(name: str) -> str:
    """The path of an executable; Debian keeps some in /usr/sbin, outside a user's PATH."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise NotAvailable(f"{name} is not installed")
    return path


def two_cores() -> tuple[int, int]:
    """A core for load and upstream, and one for the proxy alone."""
    tool("taskset")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise NotAvailable("two cores are needed: one for the load and the upstream, one for the proxy")
    return cores[0], cores[1]


def pinned(core: int, command: Sequence[str]) -> list[str]:
    """*command*, to run on *core* only, its children included."""
    return [tool("taskset"), "-c", str(core), *command]


@contextmanager
def here_on(core: int) -> Iterator[None]:
    """This process on *core* only, until the end of the block."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_ports(n: int) -> list[int]:
    """*n* loopback ports that are free now."""
    sockets = [socket.socket() for _ in range(n)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@contextmanager
def running(command: Sequence[str], *, port: int, path: str, directory: Path, core: int,
            start_s: float = START_S) -> Iterator[int]:
    """A server on *core*, from its first 200 for *path* to the end of the block; its process.

    Raises:
        NotAvailable: It ended, or did not answer 200 in time; carries the last lines of its output.
    """
    output = directory / f"output-{port}"
    with output.open("wb") as sink:
        process = subprocess.Popen(
            pinned(core, command), stdout=sink, stderr=sink, stdin=subprocess.DEVNULL, start_new_session=True
        )
        try:
            _await_answer(process, port, path, output, start_s)
            yield process.pid
        finally:
            _stop(process)


def _await_answer(process: subprocess.Popen[bytes], port: int, path: str, output: Path, start_s: float) -> None:
    deadline = time.monotonic() + start_s
    while time.monotonic() < deadline and process.poll() is None:
        if _status(port, path) == 200:
            return
        time.sleep(0.05)
    said = " | ".join(output.read_text(errors="replace").strip().splitlines()[-3:])
    raise NotAvailable(f"it does not come up: {said or 'no output'}")


def _status(port: int, path: str) -> int | None:
    """The status of one GET, or None when there is no answer."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2.0) as connection:
            connection.sendall(request.encode())
            return int(connection.recv(4096)[9:12])
    except (OSError, ValueError):
        return None


def _stop(process: subprocess.Popen[bytes]) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
        except ProcessLookupError:
            pass
        try:
            process.wait(STOP_S)
            return
        except subprocess.TimeoutExpired:
            continue
