"""10,000 connections through the gateway on which nearly nothing happens: memory, and CPU time while nothing does.

Once they are connections kept after one request each, and once WebSockets to an upstream, with a message through each
of them and back. Client, gateway and upstream are processes of their own. A gateway with WebSockets needs two
files for each, so where a process may have fewer, there are fewer of them, and memory is scaled up.
``python -m tests.benchmarks.long_lived PORT`` is the upstream.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import resource
import socket
import sys
import time
from collections.abc import Iterator

import attrs

from .processes import NotAvailable, here_on, two_cores
from .report import Gate, Section, Table
from .serving import Serving, serving, upstream

CONNECTIONS = 10_000
BATCH = 200  # as many are opened at a time: fewer than a listener holds back
MEMORY_MIB = 300.0
QUIET_S = 5.0
PATIENCE_S = 30.0
#: Files of a process that are no connections.
OTHER_FILES = 200
_MASKED = 6  # bytes before the payload of a short masked frame

_KEY = base64.b64encode(b"0123456789abcdef")
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_ACCEPT = base64.b64encode(hashlib.sha1(_KEY + _MAGIC, usedforsecurity=False).digest())
_TABLES = """
[services.sockets]
endpoints = ["http://127.0.0.1:%d"]
command = { max_concurrent = false }

[[routes]]
path = "/*"
service = "sockets"
"""


@attrs.frozen(kw_only=True)
class Kind:
    """What is done on each connection when it is opened, and later: what is sent, and how the answer begins and ends.

    Attributes:
        name: As printed.
        files: That the gateway needs for each.
    """

    name: str
    files: int
    opening: bytes
    opened: bytes
    message: bytes
    reply: bytes


@attrs.frozen(kw_only=True)
class Held:
    """What the gateway takes while it holds some connections."""

    kind: str
    connections: int
    empty_mib: float
    held_mib: float
    talked_mib: float
    idle_core: float
    talked: int

    def scaled_mib(self) -> float:
        """MiB, if there were as many connections as there should be."""
        return self.empty_mib + (max(self.held_mib, self.talked_mib) - self.empty_mib) * CONNECTIONS / self.connections


def run(*, seconds: int, repeat: int) -> Section:
    """Hold each kind of connections once: memory is not a matter of luck."""
    client_core, proxy_core = two_cores()
    with many_files() as files, here_on(client_core), upstream("long_lived", client_core) as port:
        found = []
        for kind in (IDLE, WEBSOCKETS):
            with serving(_TABLES % port, proxy_core) as gateway:
                found.append(_hold(kind, gateway, min(CONNECTIONS, (files - OTHER_FILES) // kind.files)))
    return _section(found)


def _section(found: list[Held]) -> Section:
    rows = [
        (each.kind, each.connections, each.talked, each.empty_mib, each.held_mib, each.talked_mib,
         (each.held_mib - each.empty_mib) * 1024 / each.connections, each.idle_core)
        for each in found
    ]
    columns = ("", "connections", "messages", "MiB before", "MiB held", "MiB after", "KiB each", "idle, % of a core")
    title = "Connections held by the gateway: memory of all its processes (PSS), and CPU time while nothing happens"
    gates = []
    for each in found:
        gates += [
            Gate(what=f"memory with {CONNECTIONS:,} {each.kind}", measured=each.scaled_mib(), bound=MEMORY_MIB,
                 unit="MiB"),
            Gate(what=f"messages lost, {each.kind}", measured=each.connections - each.talked, bound=0, unit=""),
        ]
    notes = [f"{each.connections:,} {each.kind}, since a process may have no more files here; memory is scaled up"
             for each in found if each.connections < CONNECTIONS]
    return Section(name="long_lived", tables=[Table(title=title, columns=columns, rows=rows)], gates=gates, notes=notes)


@contextlib.contextmanager
def many_files() -> Iterator[int]:
    """Let this process, and those that it starts meanwhile, have as many files as they may; how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _hold(kind: Kind, gateway: Serving, count: int) -> Held:
    empty = gateway.usage.memory_mib()
    held: list[socket.socket] = []
    try:
        while len(held) < count:
            fresh = [
                socket.create_connection(("127.0.0.1", gateway.port), PATIENCE_S)
                for _ in range(min(BATCH, count - len(held)))
            ]
            held += fresh
            if (answered := _exchanged(fresh, kind.opening, kind.opened)) < len(fresh):
                raise NotAvailable(f"{kind.name}: {len(fresh) - answered} of {len(held)} were not opened")
        held_mib = gateway.usage.memory_mib()
        before = gateway.usage.busy_s()
        time.sleep(QUIET_S)
        idle = (gateway.usage.busy_s() - before) / QUIET_S * 100
        talked = sum(
            _exchanged(held[at : at + BATCH], kind.message, kind.reply) for at in range(0, len(held), BATCH))
        return Held(kind=kind.name, connections=count, empty_mib=empty, held_mib=held_mib, idle_core=idle,
                    talked_mib=gateway.usage.memory_mib(), talked=talked)
    finally:
        for each in held:
            each.close()


def _exchanged(connections: list[socket.socket], question: bytes, answer: bytes) -> int:
    """Send a *question* on each; how many get an answer that begins and ends as *answer* does."""
    begin, _, end = answer.partition(b"...")
    for each in connections:
        each.sendall(question)
    good = 0
    for each in connections:
        got = b""
        with contextlib.suppress(TimeoutError):
            while not got.endswith(end or begin) and (piece := each.recv(65536)):
                got += piece
        good += got.startswith(begin) and got.endswith(end or begin)
    return good


class _Upstream(asyncio.Protocol):
    """Answers requests, switches to WebSocket when asked, and sends each message back."""

    _heard = b""
    _switched = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._heard += data
        if self._switched:
            size = _MASKED + (self._heard[1] & 127 if len(self._heard) > 1 else 0)
            while len(self._heard) >= size:
                frame, self._heard = self._heard[:size], self._heard[size:]
                self._transport.write(_frame(_unmasked(frame)))
        elif self._heard.endswith(b"\r\n\r\n"):
            self._switched = b"upgrade: websocket" in self._heard.lower()
            self._heard = b""
            self._transport.write(_SWITCH if self._switched else _FOUND)


def _frame(payload: bytes, mask: bytes = b"") -> bytes:
    """A text message of a few bytes (RFC 6455, 5.2)."""
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)) if mask else payload
    return bytes((0x81, len(payload) | (0x80 if mask else 0))) + mask + masked


def _unmasked(frame: bytes) -> bytes:
    mask = frame[2:_MASKED]
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(frame[_MASKED:]))


async def _serve(port: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    server = await asyncio.get_running_loop().create_server(_Upstream, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


_HEAD = b"GET /%b HTTP/1.1\r\nHost: gateway\r\n"
_FOUND = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfound"
_SWITCH = (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           b"Sec-WebSocket-Accept: %b\r\n\r\n" % _ACCEPT)
_HANDSHAKE = (_HEAD % b"socket" + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
              b"Sec-WebSocket-Key: %b\r\n\r\n" % _KEY)
_REQUEST = _HEAD % b"" + b"\r\n"
_SAID = b"is somebody there?"
IDLE = Kind(name="idle connections", files=1, opening=_REQUEST, opened=b"HTTP/1.1 200 ...found",
            message=_REQUEST, reply=b"HTTP/1.1 200 ...found")
WEBSOCKETS = Kind(name="WebSockets", files=2, opening=_HANDSHAKE, opened=b"HTTP/1.1 101 ...\r\n\r\n",
                  message=_frame(_SAID, b"\1\2\3\4"), reply=_frame(_SAID))

if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
