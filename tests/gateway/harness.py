"""A gateway in a process of its own, raw-socket upstreams that do as they are told, and raw-socket clients."""

from __future__ import annotations

import contextlib
import json
import random
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from .forked_process import ForkedProcess

DEADLINE_S = 30.0


def eventually(check: Callable[[], Any], what: str = "the condition") -> Any:
    """Ask until it is true; the test's deadline is the only clock."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        found = check()
        if found:
            return found
        threading.Event().wait(0.005)
    raise AssertionError(f"{what} did not come true; last: {check()!r}")


def shared_upstream() -> Any:
    """A fixture: an upstream that the tests of a module share. It has the name that the module gives it."""

    @pytest.fixture(scope="module")
    def shared() -> Iterator[Upstream]:
        made = Upstream()
        yield made
        made.close()

    return shared


def stop_listening(listener: socket.socket, accepting: threading.Thread) -> None:
    """Close a listener in which a thread may wait.

    Closing alone does not wake the thread, and its next system call may be given the number of the descriptor anew: it
    then accepts the connections of another server of the tests.
    """
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    accepting.join(DEADLINE_S)
    listener.close()


def free_port(following: int = 0) -> int:
    """A port that is free, with so many *following* ones, and that no outgoing connection will be given."""
    while True:
        first = random.randrange(15_000, 30_000)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + following + 1):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first


class Call:
    """One request at the upstream: its raw head, and the socket to misbehave on."""

    def __init__(self, connection: socket.socket, head: bytes, rest: bytes) -> None:
        self.connection, self.head, self.rest = connection, head, rest
        self.closed = threading.Event()

    @property
    def target(self) -> str:
        return self.head.split(b" ", 2)[1].decode("latin-1")

    @property
    def lines(self) -> list[bytes]:
        return self.head.split(b"\r\n")[1:-2]

    def header(self, name: bytes) -> list[bytes]:
        return [line.split(b": ", 1)[1] for line in self.lines if line.lower().startswith(name + b":")]

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def body(self) -> bytes:
        """The request's body, as framed; raw if chunked."""
        length = self.header(b"content-length")
        data, self.rest = bytearray(self.rest), b""
        if length:
            while len(data) < int(length[0]):
                data += self._more()
        else:
            while not data.endswith(b"0\r\n\r\n"):
                data += self._more()
        return bytes(data)

    def until_closed(self) -> None:
        """Wait until the gateway ends the connection."""
        with contextlib.suppress(OSError):
            while self.connection.recv(65536):
                pass
        self.closed.set()

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def _more(self) -> bytes:
        data = self.connection.recv(65536)
        if not data:
            raise ConnectionError
        return data


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Upstream:
    """Listens on a loopback port; answers each path as scripted, else 200 "ok". Keeps what it saw."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.calls: list[Call] = []
        self.connections = 0
        self._scripts: dict[str, Callable[[Call], object]] = {}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def on(self, path: str, script: Callable[[Call], object] | bytes) -> None:
        """Answer *path* by *script*, or with these bytes and then a closed connection."""
        if isinstance(script, bytes):
            data = script
            self._scripts[path] = lambda call: (call.send(data), call.connection.close())
        else:
            self._scripts[path] = script

    def forget(self) -> None:
        """Answer every path with 200 "ok" again."""
        self._scripts.clear()

    def called(self, path: str) -> Call:
        """The last call of *path*, when there is one."""
        return eventually(lambda: next((c for c in reversed(self.calls) if c.target == path), None), f"a call of {path}")

    def count(self, path: str) -> int:
        return sum(call.target == path for call in self.calls)

    def close(self) -> None:
        stop_listening(self._listener, self._accepting)
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return
            self.connections += 1
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        data = b""
        with contextlib.suppress(OSError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._open.add(connection)
            while True:
                while b"\r\n\r\n" not in data:
                    piece = connection.recv(65536)
                    if not piece:
                        connection.close()  # or a client in this process finds its descriptors used up
                        return
                    data += piece
                head, _, data = data.partition(b"\r\n\r\n")
                call = Call(connection, head + b"\r\n\r\n", data)
                self.calls.append(call)
                script = self._scripts.get(call.target.partition("?")[0])
                if script is None:
                    if call.header(b"content-length") or call.header(b"transfer-encoding"):
                        call.body()
                    call.send(OK)
                else:
                    script(call)
                data = call.rest


EMBED = """
import sys
from granian.constants import Interfaces
from granian.server.embed import Server
import asyncio
from resilience.gateway import Gateway
async def main():
    server = Server(Gateway.from_file(sys.argv[1]), address="127.0.0.1", port=int(sys.argv[2]), interface=Interfaces.ASGI)
    await server.serve()
asyncio.run(main())
"""


class Embedded:
    """The gateway as an ASGI application, on granian, as a subprocess."""

    def __init__(self, directory: Path, config: str) -> None:
        self.port = free_port()
        file = directory / f"embedded-{self.port}.toml"
        file.write_text(config)
        self.process = subprocess.Popen([sys.executable, "-c", EMBED, str(file), str(self.port)], cwd=Path(__file__).parents[2])
        eventually(lambda: listens(self.port), "the server listening")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), DEADLINE_S)

    def raw(self, data: bytes) -> bytes:
        """Send bytes; everything that comes back, until the connection ends."""
        with self.connect() as client:
            client.sendall(data)
            return everything(client)

    def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own: status, headers (lower case), body; reads to the end."""
        return parsed(self.raw(f"GET {path} HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n".encode("latin-1")))


#: What asyncio says in its debug mode where the machine is busy.
_SLOW: Final = re.compile(r".*\bExecuting <.+> took [0-9.]+ seconds").match


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class Gateway:
    """The gateway under test, as a subprocess; with *workers*, as the command line runs it: supervised."""

    def __init__(self, directory: Path, config: str, *, workers: int | None = None, header_timeout: float = 60.0,
                 admin: str = "") -> None:
        self.port = free_port(following=1)
        self.admin = self.port + 1
        self.file = file = directory / f"gateway-{self.port}.toml"
        head = (f'[gateway]\nbind = "127.0.0.1:{self.port}"\nheader_timeout = {header_timeout}\n'
                f'keep_alive_timeout = {header_timeout}\n')
        table, _, rest = config.partition("\n[services")
        file.write_text(f'{head}{table}\n[admin]\nbind = "127.0.0.1:{self.admin}"\n{admin}\n[services{rest}')
        if workers is None:
            self._wait_for(ForkedProcess(file))
        else:
            self.start([sys.executable, "-X", "dev", "-W", "default",
                        "-m", "resilience", "gateway", str(file), "--workers", str(workers)])

    def start(self, command: list[str], *, cwd: Path = Path(__file__).parents[2]) -> None:
        """Start it, and wait until it listens."""
        self._wait_for(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd))

    def _wait_for(self, process: subprocess.Popen[str] | ForkedProcess) -> None:
        self.process = process
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"the gateway did not start: {self.process.communicate()[1]}")
        try:
            eventually(self._listens, "the gateway listening")
        except BaseException:
            self.stop()  # workers too: whoever kills the first process waits for them forever
            raise

    def _listens(self) -> bool:
        return all(listens(port) for port in (self.port, self.admin))

    def stop(self) -> tuple[int, str]:
        """End it; its exit status and what it wrote to stderr."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> tuple[int, str]:
        """Wait for its end, which somebody asked for: a second signal would kill it."""
        try:
            _, err = self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            _, err = self.process.communicate()
        return self.process.wait(), "".join(each for each in err.splitlines(keepends=True) if not _SLOW(each))

    def raw(self, data: bytes, *, until: bytes | None = None) -> bytes:
        """Send bytes; everything that comes back, until the connection ends or *until* is in it."""
        with self.connect() as client:
            client.sendall(data)
            return everything(client, until)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), DEADLINE_S)

    def get(self, path: str, *, method: str = "GET", headers: str = "") -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own: status, headers (lower case), body; reads to the end."""
        reply = self.raw(f"{method} {path} HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n{headers}\r\n".encode("latin-1"))
        return parsed(reply)

    def metric(self, event: str, command: str = "up") -> int:
        """A counter of /metrics."""
        text = self.admin_get("/metrics")
        found = re.search(
            rf'^resilience_command_events_total{{command="{command}",event="{event}",[^}}]*}} ([0-9.e+]+)$', text, re.M)
        return int(float(found.group(1))) if found else 0

    def in_flight(self, command: str = "up") -> int:
        found = re.search(rf'^resilience_command_in_flight{{command="{command}"[^}}]*}} ([0-9.e+]+)$',
                          self.admin_get("/metrics"), re.M)
        assert found is not None
        return int(float(found.group(1)))

    def busy(self) -> dict[str, int]:
        """The services that have exchanges under way, and how many."""
        found = re.findall(r'^resilience_command_in_flight{command="([^"]*)"[^}]*} ([0-9.e+]+)$', self.admin_get("/metrics"), re.M)
        assert found
        return {service: int(float(value)) for service, value in found if float(value)}

    def admin_get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=DEADLINE_S) as reply:
            return str(reply.read().decode())

    def workers(self) -> list[int]:
        """The processes of the workers of a supervised gateway."""
        return list(map(int, Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()))

    def rss_kib(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))  # type: ignore[union-attr]


def everything(client: socket.socket, until: bytes | None = None) -> bytes:
    """What comes until the other side ends, or *until* is in it."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while piece := client.recv(65536):
            data += piece
            if until is not None and until in data:
                break
    return data


def parsed(reply: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the first final response, without the interim ones before it."""
    head, _, body = reply.partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 1") and not head.startswith(b"HTTP/1.1 101"):
        head, _, body = body.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    return int(lines[0].split(" ")[1]), headers, body


def problem(reply: tuple[int, dict[str, str], bytes]) -> dict[str, Any]:
    """The problem of a reply that must be one."""
    status, headers, body = reply
    assert headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = json.loads(body)
    assert found["status"] == status
    return found


@contextlib.contextmanager
def running(directory: Path, config: str, **how: Any) -> Iterator[Gateway]:
    gateway = Gateway(directory, config, **how)
    try:
        yield gateway
    finally:
        code, err = gateway.stop() if gateway.process.returncode is None else (0, "")  # it was ended, and looked at, by the test
        assert (code, "Traceback" in err, "Error" in err) == (0, False, False), err


