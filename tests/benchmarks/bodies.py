"""Bodies of 1 GiB through the gateway and through nginx, both ways: rate, CPU time and memory.

A client and an upstream, which make and drop bytes and do nothing else, share one core; the proxy has the other. nginx
does it with large buffers, with its own, and with none, and the fastest of these is what ours is compared with.
Rounds go in turn, and the best of each is compared. ``python -m tests.benchmarks.bodies PORT`` is the upstream.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import attrs

from .processes import NotAvailable, free_ports, here_on, running, two_cores
from .proxies import NGINX_HEAD, NGINX_TEMPORARY, nginx_command, workplace
from .report import Gate, Section, Table
from .usage import Usage

GIB = 1 << 30
PIECE = 256 * 1024
OF_NGINX = 0.60
MEMORY_MIB = 8.0  # above what there was before the first body
ROUNDS = 3
UP, DOWN = "upload", "download"

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
        location /usual/ { proxy_pass http://bodies; proxy_request_buffering off; }
        location /none/ { proxy_pass http://bodies; proxy_buffering off; proxy_request_buffering off; }
        location / { return 200; }
    }
}
"""
_OURS = """
[gateway]
bind = "127.0.0.1:%(port)d"

[services.bodies]
endpoints = ["http://127.0.0.1:%(upstream)d"]
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
    try:
        client_core, proxy_core = two_cores()
        with ExitStack() as stack:
            return _compare(stack, client_core, proxy_core)
    except NotAvailable as error:
        return Section(name="bodies", notes=[str(error)])


def _compare(stack: ExitStack, client_core: int, proxy_core: int) -> Section:
    ports = dict(zip(("upstream", "ours", "nginx"), free_ports(3), strict=True))
    directory = stack.enter_context(workplace())
    command = [sys.executable, "-m", __spec__.name, str(ports["upstream"])]
    stack.enter_context(
        running(command, port=ports["upstream"], path="/?0", directory=directory, core=client_core))
    ways, notes = [], []
    for name, paths in (("ours", {"ours": "/"}), ("nginx", {f"nginx, {each} buffers": f"/{each}/" for each in ("large", "usual", "none")})):
        try:
            start = _ours if name == "ours" else _nginx
            pid = stack.enter_context(running(start(ports, directory), port=ports[name], path="/?0", directory=directory, core=proxy_core))
            ways += [Way(name=label, port=ports[name], path=path, usage=Usage(pid)) for label, path in paths.items()]
        except NotAvailable as error:
            notes.append(f"{name}: {error}")
    stack.enter_context(here_on(client_core))
    rounds = {(way.name, direction): [] for way in ways for direction in (DOWN, UP)}
    peaks = {}
    for way in ways:
        for direction in (DOWN, UP):
            body(way, direction, GIB // 16)
    for way in ways:
        way.usage.forget_peaks()
        peaks[way.name] = -way.usage.peak_mib()
    for _ in range(ROUNDS):
        for direction in (DOWN, UP):
            for way in ways:
                rounds[way.name, direction].append(body(way, direction, GIB))
    for way in ways:
        peaks[way.name] += way.usage.peak_mib()
    rows = [
        (f"{name}, {direction}", *(max(each.rate for each in found), min(each.cpu_s for each in found)), peaks[name])
        for (name, direction), found in rounds.items()
    ]
    return Section(name="bodies", tables=[Table(title="t", columns=("", "MiB/s", "CPU s", "peak MiB"), rows=rows)], notes=notes)


def body(way: Way, direction: str, size: int) -> Round:
    piece = bytearray(PIECE)
    head = f"{'GET' if direction == DOWN else 'POST'} {way.path}?{size} HTTP/1.1\r\nHost: localhost\r\n"
    with socket.create_connection(("127.0.0.1", way.port), timeout=60) as connection:
        cpu, began = way.usage.busy_s(), time.perf_counter()
        if direction == DOWN:
            connection.sendall(f"{head}\r\n".encode())
            left = size - len(_head(connection)[1])
            while left and (got := connection.recv_into(piece, min(left, PIECE))):
                left -= got
            assert not left, left
        else:
            connection.sendall(f"{head}Content-Length: {size}\r\n\r\n".encode())
            for _ in range(size // PIECE):
                connection.sendall(piece)
            _head(connection)
        took = time.perf_counter() - began
        return Round(rate=size / took / 1048576, cpu_s=way.usage.busy_s() - cpu)


def _head(connection: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        got = connection.recv(65536)
        if not got:
            raise NotAvailable(f"connection ended: {data!r}")
        data += got
    head, _, rest = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise NotAvailable(f"{data!r}")
    return head, rest


def _ours(ports: dict[str, int], directory: Path) -> list[str]:
    file = directory / "gateway.toml"
    file.write_text(_OURS % {"port": ports["ours"], "upstream": ports["upstream"]}, encoding="utf-8")
    return [sys.executable, "-m", "resilience.cli", "gateway", str(file), "--workers", "1"]


def _nginx(ports: dict[str, int], directory: Path) -> list[str]:
    filled = {"temporary": NGINX_TEMPORARY, "port": ports["nginx"], "upstream": ports["upstream"]}
    return nginx_command(NGINX_HEAD + _NGINX % filled, directory)


def _serve(connection: socket.socket) -> None:
    piece = bytearray(PIECE)
    try:
        with connection:
            while True:
                head, rest = _request(connection)
                if not head:
                    return
                size = int(head.split(b" ")[1].partition(b"?")[2] or 0)
                if head.startswith(b"GET"):
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % size)
                    left = size
                    while left:
                        n = min(left, PIECE)
                        connection.sendall(memoryview(piece)[:n])
                        left -= n
                else:
                    left = size - len(rest)
                    while left > 0:
                        got = connection.recv_into(piece, min(left, PIECE))
                        if not got:
                            return
                        left -= got
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    except OSError:
        return


def _request(connection: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        got = connection.recv(65536)
        if not got:
            return b"", b""
        data += got
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def main(port: int) -> None:
    """Serve bodies until the process is ended."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            threading.Thread(target=_serve, args=(listener.accept()[0],), daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
