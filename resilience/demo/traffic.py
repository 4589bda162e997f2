"""Steady traffic through the gateway, and what came of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

import attrs

from ..core.histogram import RollingHistogram
from .client import Client

RATE: Final = 25.0  # requests per second to each service
_WINDOW_S: Final = 5.0


@attrs.define
class Route:
    """What clients saw of one service.

    Attributes:
        name: Of the service.
        recent: Seconds that successful answers took, of late.
        whole: The same since the beginning.
        statuses: How often each status was answered, or each exception raised.
        programs: How often each program answered.
        last: The program that answered last.
    """

    name: str
    recent: RollingHistogram
    whole: RollingHistogram
    statuses: Counter[str] = attrs.field(factory=Counter)
    programs: Counter[str] = attrs.field(factory=Counter)
    last: str = ""

    @classmethod
    def new(cls, name: str, now: float) -> Route:
        """Nothing seen yet."""
        return cls(name, RollingHistogram(window=_WINDOW_S, slices=5, now=now),
                   RollingHistogram(window=86_400.0, slices=1, now=now))

    def note(self, status: str, seconds: float, now: float, program: str = "") -> None:
        """One answer, of a *program*; "" is of none."""
        self.statuses[status] += 1
        if status == "200":
            self.recent.add(seconds, now)
            self.whole.add(seconds, now)
            if program:
                self.programs[program] += 1
                self.last = program

    @property
    def errors(self) -> int:
        """Answers other than 200, and requests that had none."""
        return self.statuses.total() - self.statuses["200"]


class Traffic:
    """Open-loop clients: requests leave on time, whether or not earlier ones have been answered.

    Args:
        bases: By name of each service, the URL of the side that its route is on.
        clock: Monotonic seconds.
    """

    def __init__(self, bases: Mapping[str, str], clock: Callable[[], float] = time.monotonic) -> None:
        self._bases, self._clock = bases, clock
        self.routes = {name: Route.new(name, clock()) for name in bases}
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Send requests until cancelled."""
        client = Client()
        try:
            await self._send(client)
        finally:
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)
            client.close()

    async def _send(self, client: Client) -> None:
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

    async def _one(self, client: Client, name: str, number: int) -> None:
        started = self._clock()
        program = ""
        try:
            code, body = await client.get(f"{self._bases[name]}/{name}/items/{number}")
            status = str(code)
            if code == 200:
                program = str(json.loads(body)["service"])
        except Exception as error:  # noqa: BLE001 - any way a client can fail is a line in the table
            status = type(error).__name__
        now = self._clock()
        self.routes[name].note(status, now - started, now, program)
