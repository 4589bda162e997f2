"""Steady traffic through the gateway, and what came of it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final

import attrs

from ..core.histogram import RollingHistogram

RATE: Final = 25.0  # requests per second to each service
_WINDOW_S: Final = 5.0


@attrs.define
class Route:
    """What clients saw of one service."""

    name: str
    recent: RollingHistogram  # seconds, successful answers
    whole: RollingHistogram
    statuses: Counter[str]
    ends: deque[float]

    @classmethod
    def new(cls, name: str, now: float) -> Route:
        """Nothing seen yet."""
        return cls(name, RollingHistogram(window=_WINDOW_S, slices=5, now=now),
                   RollingHistogram(window=86_400.0, slices=1, now=now), Counter(), deque())

    def note(self, status: str, seconds: float, now: float) -> None:
        """One answer."""
        self.statuses[status] += 1
        self.ends.append(now)
        while self.ends[0] < now - _WINDOW_S:
            self.ends.popleft()
        if status == "200":
            self.recent.add(seconds, now)
            self.whole.add(seconds, now)

    def rate(self, now: float) -> float:
        """Answers per second, of late."""
        return sum(1 for end in self.ends if end >= now - _WINDOW_S) / _WINDOW_S


class Traffic:
    """Open-loop clients: requests leave on time, whether or not earlier ones have been answered."""

    def __init__(self, base: str, names: tuple[str, ...], clock: Callable[[], float] = time.monotonic) -> None:
        self._base, self._clock = base, clock
        self.routes = {name: Route.new(name, clock()) for name in names}
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Send requests until cancelled."""
        from pyreqwest.client import ClientBuilder

        async with ClientBuilder().error_for_status(False).build() as client:
            try:
                await self._send(client)
            finally:
                for task in self._under_way:  # before the client goes, whose errors would be noted as answers
                    task.cancel()
                await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _send(self, client: Any) -> None:
        due = self._clock()
        sent = 0
        while True:
            for name in self.routes:
                task = asyncio.create_task(self._one(client, name, sent))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
            sent += 1
            due += 1.0 / RATE
            await asyncio.sleep(max(0.0, due - self._clock()))

    async def _one(self, client: Any, name: str, number: int) -> None:
        started = self._clock()
        try:
            response = await client.get(f"{self._base}/{name}/items/{number}").build().send()
            status = str(response.status)
        except Exception as error:  # noqa: BLE001 - any way a client can fail is a line in the table
            status = type(error).__name__
        now = self._clock()
        self.routes[name].note(status, now - started, now)
