"""The clients of the demo's fleet: each request goes to a gateway, and to the next one if there is no answer.

So do load balancers, and clients with several addresses: a request that found no connection, or whose connection broke,
is sent again, since it is a GET.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from .client import Client

#: Requests a second to the service, and to the route with a limit.
RATE: Final = 60.0
LIMITED_RATE: Final = 90.0
WINDOW_S: Final = 3.0
_PATIENCE_S: Final = 5.0


class FleetClients:
    """Open-loop clients: requests leave on time, whether or not earlier ones have been answered.

    Attributes:
        answers: How often each status, or exception of the last attempt, was what a client got.
        repeats: Attempts without an answer, after which the next gateway was asked.
        programs: How often each instance answered.
        passed: Times at which the limited route has let a request through, of late.
        statuses: Of the limited route.
    """

    def __init__(self, gateways: Sequence[str], *, has_limit: bool,
                 clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is sent yet.

        Args:
            gateways: Base URLs.
            has_limit: Whether there is a route with a limit.
            clock: Monotonic seconds.
        """
        self._gateways, self._clock, self._has_limit = tuple(gateways), clock, has_limit
        self.answers, self.programs, self.statuses = Counter[str](), Counter[str](), Counter[str]()
        self.repeats = 0
        self.passed: deque[float] = deque()
        self._recent: deque[tuple[float, str]] = deque()
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Send requests until cancelled."""
        client = Client()
        paces = [asyncio.ensure_future(self._pace(client, RATE, self._one))]
        if self._has_limit:
            paces.append(asyncio.ensure_future(self._pace(client, LIMITED_RATE, self._limited)))
        try:
            await asyncio.gather(*paces)
        finally:
            for task in (*paces, *self._under_way):
                task.cancel()
            await asyncio.gather(*paces, *self._under_way, return_exceptions=True)
            client.close()

    @property
    def errors(self) -> int:
        """Requests that were not answered with 200."""
        return self.answers.total() - self.answers["200"]

    def answering(self) -> Counter[str]:
        """How often each instance has answered of late."""
        _forget(self._recent, self._clock() - WINDOW_S, lambda each: each[0])
        return Counter(name for _, name in self._recent)

    def passed_per_s(self) -> float:
        """Requests a second that the limited route let through of late."""
        _forget(self.passed, self._clock() - WINDOW_S, lambda at: at)
        return len(self.passed) / WINDOW_S

    async def _pace(self, client: Client, rate: float, send: Callable[[Client, int], Any]) -> None:
        due, number = self._clock(), 0
        while True:
            task = asyncio.ensure_future(send(client, number))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
            number += 1
            due += 1.0 / rate
            await asyncio.sleep(max(0.0, due - self._clock()))

    async def _one(self, client: Client, number: int) -> None:
        status, body = await self._ask(client, f"/inventory/items/{number}", number)
        self.answers[status] += 1
        if status == "200":
            name = str(json.loads(body)["service"])
            self.programs[name] += 1
            self._recent.append((self._clock(), name))

    async def _limited(self, client: Client, number: int) -> None:
        status, _ = await self._ask(client, f"/limited/items/{number}", number)
        self.statuses[status] += 1
        if status == "200":
            self.passed.append(self._clock())

    async def _ask(self, client: Client, path: str, number: int) -> tuple[str, bytes]:
        status = ""
        for ahead in range(len(self._gateways)):
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    code, body = await client.get(f"{self._gateways[(number + ahead) % len(self._gateways)]}{path}")
            except Exception as error:  # noqa: BLE001 - whatever it is, the next gateway may answer
                status = type(error).__name__
                self.repeats += 1
            else:
                return str(code), body
        return status, b""


def _forget(entries: deque[Any], before: float, when: Callable[[Any], float]) -> None:
    while entries and when(entries[0]) < before:
        entries.popleft()
