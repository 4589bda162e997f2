"""One of the demo's upstream services: a small HTTP server that fails as it is told.

Run as ``python -m resilience.demo.service NAME PORT [REGISTRY APPLICATION INSTANCE]``. With the URL of a service
registry it registers there, renews, and leaves at its end (registration.py). It obeys words on its standard input, one
a line, and ends when that closes, so it cannot outlive the demo:

- ``well``: answers in about 5 ms;
- ``slow``: answers in about 150 ms;
- ``hang``: accepts, reads, and never answers;
- ``fail``: answers 500 to two requests in three;
- ``dead``: refuses connections, as if the process had died; those that there are break.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import sys
from typing import Final

from .registration import registered

MOODS: Final = ("well", "slow", "hang", "fail", "dead")
_LATENCY_S: Final = {"well": 0.005, "fail": 0.005, "slow": 0.15}


class Service:
    """An HTTP/1.1 server for GET requests, with keep-alive."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.mood = "well"
        self._served = 0
        self._cheered_up = asyncio.Event()  # set while the mood is not "hang"
        self._cheered_up.set()
        self._server: asyncio.Server | None = None
        self._socket: socket.socket  # bound; listens while the mood is not "dead"
        self._writers: set[asyncio.StreamWriter] = set()

    async def listen(self, port: int) -> int:
        """Begin to serve; returns the port, which is a free one for 0."""
        self._bind(port)
        self._server = await asyncio.start_server(self.serve, sock=self._socket)
        return int(self._socket.getsockname()[1])

    async def become(self, mood: str) -> None:
        """Change how requests are answered; hanging ones go on when the mood lifts."""
        self.mood = mood
        if mood == "dead":
            self._die()
        elif self._server is None:
            self._server = await asyncio.start_server(self.serve, sock=self._socket)
        if mood == "hang":
            self._cheered_up.clear()
        else:
            self._cheered_up.set()

    def close(self) -> None:
        """Serve no more."""
        if self._server is not None:
            self._server.close()
        self._socket.close()

    def _die(self) -> None:
        if self._server is None:
            return
        port = self._socket.getsockname()[1]
        self._server.close()
        self._server = None
        self._bind(port)  # without listening: nobody else gets the port, and connections are refused
        for writer in self._writers:
            writer.transport.abort()

    def _bind(self, port: int) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                target = head.split(b" ", 2)[1].decode("latin-1")
                await self._cheered_up.wait()
                await asyncio.sleep(random.expovariate(1 / _LATENCY_S.get(self.mood, 0.005)))
                self._served += 1
                failing = self.mood == "fail" and self._served % 3 != 0
                body = json.dumps({"service": self._name, "path": target, "served": self._served}).encode()
                status = b"500 Internal Server Error" if failing else b"200 OK"
                writer.write(b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                             % (status, len(body), body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the other end, or the demo, is done; a cancelled handler would be reported as an error
        finally:
            self._writers.discard(writer)
            writer.close()


async def _main(name: str, port: int, *registry: str) -> None:
    service = Service(name)
    found = await service.listen(port)
    print(found, flush=True)
    async with registered(*registry, port=found) if registry else contextlib.nullcontext():
        await _obey(service)
    service.close()


async def _obey(service: Service) -> None:
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        mood = line.decode().strip()
        if mood in MOODS:
            await service.become(mood)


if __name__ == "__main__":
    try:
        asyncio.run(_main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
    except KeyboardInterrupt:  # the terminal's Ctrl-C reaches every process of the demo
        pass
