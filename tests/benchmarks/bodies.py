"""Bodies of 1 GiB through the gateway and through nginx, both ways: rate, CPU time and memory.

A client and an upstream, which make and drop bytes and do nothing else, share one core; the proxy has the other. nginx
does it with large buffers and with none, and the faster of these is what ours is compared with. Rounds go in turn, and
the best of each is compared. ``python -m tests.benchmarks.bodies PORT`` is the upstream.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import attrs

from .processes import NotAvailable, free_ports, here_on, running, two_cores
from .proxies import NGINX_HEAD, NGINX_TEMPORARY, nginx_command, workplace
from .report import Gate, Section, Table
from .serving import serving, upstream
from .usage import Usage

GIB = 1 << 30
MIB = 1 << 20
WARM = GIB // 16
PIECE = 256 * 1024
ROUNDS = 3
OF_NGINX = 0.60
GROWTH_MIB = 8.0  # of the gateway's peak, from what it had in memory after the first bodies
DOWN, UP = "download", "upload"
DIRECTIONS = (DOWN, UP)
OURS = "ours"
BUFFERS = {"nginx, large buffers": "/large/", "nginx, no buffers": "/none/"}

_NGINX = """
http {
%(temporary)s
    access_log off;
    client_max_body_size 0;
    client_body_buffer_size 1m;
    proxy_http_version 1.1;
    proxy_max_temp_file_size 0;
    upstream bodies { server 127.0.0.1:%(upstream)d; }
    server {
        listen 127.0.0.1:%(port)d;
        location /large/ {
            proxy_pass http://bodies; proxy_buffer_size 256k; proxy_buffers 8 256k; proxy_busy_buffers_size 512k;
            proxy_request_buffering off;
        }
        location /none/ { proxy_pass http://bodies; proxy_buffering off; proxy_request_buffering off; }
        location / { return 200; }
    }
}
"""
_OURS = """
[services.bodies]
endpoints = ["http://127.0.0.1:%d"]
max_body = false

[[routes]]
path = "/*"
service = "bodies"
"""


@attrs.frozen(kw_only=True)
class Way:
    """A port, a path, and whose memory and time it takes."""

    name: str
    port: int
    path: str
    usage: Usage


@attrs.frozen(kw_only=True)
class Round:
    """One body: MiB a second, and the proxy's CPU seconds."""

    rate: float
    cpu_s: float


def run(*, seconds: int, repeat: int) -> Section:
    """Compare the ways in a few rounds; their number is this section's own, since a body takes as long as it takes."""
    client_core, proxy_core = two_cores()
    with ExitStack() as stack:
        return _compare(stack, client_core, proxy_core)


def _compare(stack: ExitStack, client_core: int, proxy_core: int) -> Section:
    port = stack.enter_context(upstream("bodies", client_core))
    gateway = stack.enter_context(serving(_OURS % port, proxy_core))
    ways, notes = [Way(name=OURS, port=gateway.port, path="/", usage=gateway.usage)], []
    try:
        nginx_port, pid = _nginx(stack, port, proxy_core)
        ways += [Way(name=name, port=nginx_port, path=path, usage=Usage(pid)) for name, path in BUFFERS.items()]
    except NotAvailable as error:
        notes.append(f"nginx: {error}")
    stack.enter_context(here_on(client_core))
    for way in ways:
        for direction in DIRECTIONS:
            body(way, direction, WARM)
    gateway.usage.forget_peaks()
    before = gateway.usage.peak_mib()
    rounds: dict[tuple[str, str], list[Round]] = {(way.name, each): [] for each in DIRECTIONS for way in ways}
    for _ in range(ROUNDS):
        for direction in DIRECTIONS:
            for way in ways:
                rounds[way.name, direction].append(body(way, direction, GIB))
    growth = gateway.usage.peak_mib() - before
    gates = [*_gates(rounds), Gate(what="growth of the gateway's peak", measured=growth, bound=GROWTH_MIB, unit="MiB")]
    return Section(name="bodies", tables=[_table(rounds)], gates=gates, notes=notes)


def _best(rounds: Sequence[Round]) -> float:
    return max(each.rate for each in rounds)


def _rivals(rounds: Mapping[tuple[str, str], Sequence[Round]], direction: str) -> list[Sequence[Round]]:
    return [rounds[name, direction] for name in BUFFERS if (name, direction) in rounds]


def _table(rounds: Mapping[tuple[str, str], Sequence[Round]]) -> Table:
    rows = []
    for (name, direction), found in rounds.items():
        rivals = _rivals(rounds, direction)
        rows.append((
            f"{direction}, {name}", _best(found), min(each.rate for each in found), min(each.cpu_s for each in found),
            _best(found) / max(map(_best, rivals)) if rivals else None,
            min(each.cpu_s for all_ in rivals for each in all_) / min(each.cpu_s for each in found) if rivals else None,
        ))
    return Table(title=f"Bodies of 1 GiB, {ROUNDS} rounds; the ratios are to the better of nginx's two",
                 columns=("", "MiB/s", "worst", "CPU s", "x its rate", "x its bytes per CPU s"), rows=rows)


def _gates(rounds: Mapping[tuple[str, str], Sequence[Round]]) -> list[Gate]:
    return [
        Gate(what=f"{direction}, gateway / nginx", measured=_best(rounds[OURS, direction]) / max(map(_best, rivals)),
             bound=OF_NGINX, at_least=True)
        for direction in DIRECTIONS if (rivals := _rivals(rounds, direction))
    ]


def _nginx(stack: ExitStack, upstream_port: int, core: int) -> tuple[int, int]:
    """Its port and its process."""
    directory, (port,) = stack.enter_context(workplace()), free_ports(1)
    filled = {"temporary": NGINX_TEMPORARY, "port": port, "upstream": upstream_port}
    command = nginx_command(NGINX_HEAD + _NGINX % filled, directory)
    return port, stack.enter_context(running(command, port=port, path="/", directory=directory, core=core))


def body(way: Way, direction: str, size: int) -> Round:
    """One body of *size* bytes.

    Raises:
        NotAvailable: It did not arrive whole.
    """
    head = f"{'GET' if direction == DOWN else 'POST'} {way.path}?{size} HTTP/1.1\r\nHost: localhost\r\n"
    with socket.create_connection(("127.0.0.1", way.port), timeout=60) as connection:
        cpu_s, began = way.usage.busy_s(), time.perf_counter()
        if direction == DOWN:
            connection.sendall(f"{head}\r\n".encode())
            _drop(connection, size - len(_answer(connection, way)))
        else:
            connection.sendall(f"{head}Content-Length: {size}\r\n\r\n".encode())
            _make(connection, size)
            _answer(connection, way)
        took = time.perf_counter() - began
        return Round(rate=size / took / MIB, cpu_s=way.usage.busy_s() - cpu_s)


def _answer(connection: socket.socket, way: Way) -> bytes:
    """What has come of the body with the head of an answer."""
    head, rest = _read_head(connection)
    if not head.startswith(b"HTTP/1.1 200"):
        raise NotAvailable(f"{way.name} answers {head[:80]!r}")
    return rest


def _read_head(connection: socket.socket) -> tuple[bytes, bytes]:
    """A head, empty at the end of the connection, and what has come with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return b"", b""
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _make(connection: socket.socket, size: int) -> None:
    """Send *size* bytes."""
    piece = memoryview(bytes(PIECE))
    for at in range(0, size, PIECE):
        connection.sendall(piece[: size - at])


def _drop(connection: socket.socket, size: int) -> None:
    """Read *size* bytes."""
    piece = bytearray(PIECE)
    while size:
        got = connection.recv_into(piece, min(size, PIECE))
        if not got:
            raise NotAvailable(f"{size} bytes are missing")
        size -= got


def _serve(connection: socket.socket) -> None:
    """Answer GET with as many bytes as the query says, and drop those of a POST."""
    with connection, contextlib.suppress(OSError, NotAvailable):
        while True:
            head, rest = _read_head(connection)
            if not head:
                return
            size = int(head.split(b" ", 2)[1].partition(b"?")[2] or 0)
            if head.startswith(b"GET"):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
                _make(connection, size)
            else:
                _drop(connection, size - len(rest))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def _listen(port: int) -> None:
    """Be the upstream until the process is ended."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            threading.Thread(target=_serve, args=(listener.accept()[0],), daemon=True).start()


if __name__ == "__main__":
    _listen(int(sys.argv[1]))
