"""Carrier: all relayed streams over one response, since a browser opens six connections to a server and no more.

Theory of operation. The response is an event stream. The data of each event begin with the number of the stream that it
is about:

    data: 3 {...}      a message of stream 3, as it came
    data: 3! {...}     what has become of stream 3: {"state": "live"}, or {"state": "waiting", "reason": "...",
                       "retry_in_ms": 480}

Each stream has a task that opens it, passes its messages on and opens it again after an end: the waits double, and a
random half of each is waited at least. A stream that fails or hangs holds no other up. The tasks share the response, a
piece at a time; a browser that reads slowly slows all of them, and so the upstreams, instead of filling memory.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from .events import EventReader
from .source import StreamSource
from .upstream import Limits, Upstream, UpstreamError, open_upstream

Write = Callable[[bytes], Awaitable[None]]

HEARTBEAT_S = 2.0  # so that the page can tell a vanished network from streams without news


class Carrier:
    """The relayed streams of one browser. Belongs to one task."""

    def __init__(
        self,
        sources: Mapping[int, StreamSource],
        limits: Limits,
        tls_context: ssl.SSLContext | None,
        waits: tuple[float, float],
        write: Write,
    ) -> None:
        """`waits` are the shortest and the longest time before a stream is opened again, seconds."""
        self._sources = sources
        self._limits = limits
        self._tls_context = tls_context
        self._waits = waits
        self._write_piece = write
        self._writing = asyncio.Lock()

    async def run(self) -> None:
        """Carry until cancelled, or until the browser cannot be written to."""
        async with asyncio.TaskGroup() as tasks:
            for number, source in self._sources.items():
                tasks.create_task(self._keep_open(number, source))
            tasks.create_task(self._beat())

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            await self._write(b": carried\n\n")

    async def _keep_open(self, number: int, source: StreamSource) -> None:
        failures = 0
        while True:
            reason = "the stream ended"
            try:
                async with open_upstream(source, self._limits, self._tls_context) as upstream:
                    await self._tell(number, {"state": "live"})
                    async for heard in self._pass_on(number, upstream):
                        failures = 0 if heard else failures
            except UpstreamError as error:
                reason = str(error)
            failures += 1
            shortest, longest = self._waits
            share = 0.5 + random.random() / 2  # noqa: S311 - jitter
            wait = min(longest, shortest * 2.0 ** min(30, failures - 1)) * share
            await self._tell(number, {"state": "waiting", "reason": reason, "retry_in_ms": round(wait * 1000)})
            await asyncio.sleep(wait)

    async def _pass_on(self, number: int, upstream: Upstream) -> AsyncIterator[bool]:
        """Pass pieces on; yields for each whether there was a message in it."""
        reader = EventReader()
        async for piece in upstream.pieces():
            messages = reader.feed(piece)
            if messages:
                await self._write(b"".join(_event(b"%d " % number + message) for message in messages))
            yield bool(messages)

    async def _tell(self, number: int, status: Mapping[str, object]) -> None:
        await self._write(_event(b"%d! %s" % (number, json.dumps(status).encode())))

    async def _write(self, piece: bytes) -> None:
        async with self._writing:
            await self._write_piece(piece)


def _event(data: bytes) -> bytes:
    return b"data: " + data.replace(b"\n", b"\ndata: ") + b"\n\n"
