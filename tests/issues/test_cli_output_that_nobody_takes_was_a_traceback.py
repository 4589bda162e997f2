"""Output that nobody takes was a traceback, and the end of a registry that served.

``resilience check --schema | head -1`` said "[Errno 32] Broken pipe", or an exception that was ignored, which Python tells of
when it ends. A registry and a gateway whose first lines could not be written told of it by a traceback, or ended with status 2.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.test_cli import CONFIG, free_ports, get, until_ready

pytestmark = pytest.mark.process


@contextmanager
def output(to: str) -> Iterator[int]:
    """A descriptor: of a pipe that nobody reads, or of a full disk."""
    if to == "left":
        read, write = os.pipe()
        os.close(read)
    else:
        write = os.open("/dev/full", os.O_WRONLY)
    yield write
    os.close(write)


def started(stdout: int, *arguments: str, buffered: bool = True) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "resilience", *arguments], stdout=stdout, stderr=subprocess.PIPE, text=True,
                            env={**os.environ, "PYTHONUNBUFFERED": "" if buffered else "1"})


@pytest.mark.parametrize(("arguments", "buffered"), [
    (("--help",), True), (("check", "--schema"), True), (("check", "--schema"), False), (("check", "GATEWAY"), True),
    (("gateway", "GATEWAY", "--print-config"), True), (("api-key", "billing"), True)])
@pytest.mark.parametrize(("to", "status", "said"), [
    ("left", 141, ""), ("full", 2, "resilience: the output cannot be written: No space left on device\n")])
def test_what_prints_ends_without_a_traceback(tmp_path: Path, arguments: tuple[str, ...], buffered: bool, to: str, status: int,
                                              said: str) -> None:
    (tmp_path / "gateway.toml").write_text(CONFIG.format(gateway=8080, admin=8090))
    named = [str(tmp_path / "gateway.toml") if each == "GATEWAY" else each for each in arguments]
    with output(to) as descriptor:
        process = started(descriptor, *named, buffered=buffered)
        _, err = process.communicate(timeout=120)

    assert (status, said) == (process.returncode, err)


@pytest.mark.parametrize("to", ["left", "full"])
@pytest.mark.parametrize("command", ["gateway", "registry"])
def test_what_serves_goes_on(tmp_path: Path, command: str, to: str) -> None:
    port, admin = free_ports(2)
    (tmp_path / "gateway.toml").write_text(CONFIG.format(gateway=port, admin=admin))
    arguments = (str(tmp_path / "gateway.toml"),) if command == "gateway" else ("--port", str(port))
    with output(to) as descriptor:
        process = started(descriptor, command, *arguments)
        if command == "gateway":
            until_ready(admin)
        else:
            get(f"http://127.0.0.1:{port}/")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)

    assert (0, "") == (process.returncode, err)
