"""Services that fall sick when they are told to: ``python -m tests.benchmarks.sick_upstream KIND=PORT[,PORT] ...``.

Each kind of sickness has ports of its own. A service answers 200 until its path
``/become/sick`` has been asked for, and again after ``/become/well``; both are
for the benchmark alone, which asks for them at one of the service's own ports.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import Sequence

SLOW_S = {"slow": 3.0, "sluggish": 0.9}  # beyond and within the usual time limit of one second
KINDS = ("hanging", "slow", "sluggish", "resetting", "erroring")

_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
_ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Service:
    """What all connections to one service share."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.sick = False


class _Connection(asyncio.Protocol):
    def __init__(self, service: Service) -> None:
        self._service = service
        self._received = b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *heads, self._received = (self._received + data).split(b"\r\n\r\n")  # there are no bodies
        for head in heads:
            path = head.split(b" ", 2)[1]
            if path in (b"/become/sick", b"/become/well"):
                self._service.sick = path == b"/become/sick"
                self._transport.write(_OK)
            else:
                self._answer(self._service.kind if self._service.sick else "well")

    def _answer(self, kind: str) -> None:
        if kind in SLOW_S:
            asyncio.get_running_loop().call_later(SLOW_S[kind], self._transport.write, _OK)
        elif kind == "resetting":
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()
        elif kind != "hanging":
            self._transport.write(_ERROR if kind == "erroring" else _OK)


async def _serve(services: Sequence[tuple[str, Sequence[int]]]) -> None:
    loop = asyncio.get_running_loop()
    for kind, ports in services:
        service = Service(kind)
        for port in ports:
            await loop.create_server(lambda service=service: _Connection(service), "127.0.0.1", port, backlog=1024)
    await asyncio.Event().wait()


if __name__ == "__main__":
    named = [each.split("=") for each in sys.argv[1:]]
    asyncio.run(_serve([(kind, [int(port) for port in ports.split(",")]) for kind, ports in named]))
