"""One of the demo's upstream services: a small HTTP server that fails as it is told.

Run as ``python -m resilience.demo.service NAME PORT``. It obeys words on its standard input, one a
line, and ends when that closes, so it cannot outlive the demo:

- ``well``: answers in about 5 ms;
- ``slow``: answers in about 150 ms;
- ``hang``: accepts, reads, and never answers;
- ``fail``: answers 500 to two requests in three.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import Final

MOODS: Final = ("well", "slow", "hang", "fail")
_LATENCY_S: Final = {"well": 0.005, "fail": 0.005, "slow": 0.15}


class Service:
    """An HTTP/1.1 server for GET requests, with keep-alive."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.mood = "well"
        self._served = 0
        self._cheered_up = asyncio.Event()  # set while the mood is not "hang"
        self._cheered_up.set()

    def become(self, mood: str) -> None:
        """Change how requests are answered; hanging ones go on when the mood lifts."""
        self.mood = mood
        if mood == "hang":
            self._cheered_up.clear()
        else:
            self._cheered_up.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
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
            writer.close()


async def _main(name: str, port: int) -> None:
    service = Service(name)
    server = await asyncio.start_server(service.serve, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        mood = line.decode().strip()
        if mood in MOODS:
            service.become(mood)
    server.close()


if __name__ == "__main__":
    try:
        asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
    except KeyboardInterrupt:  # the terminal's Ctrl-C reaches every process of the demo
        pass
