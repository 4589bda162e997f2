"""Clients that leave while their request is under way.

ASGI tells of it only those who wait in ``receive()``, and a task that waits there
for every request would cost more than the rest of the gateway's bookkeeping. Most
requests are over in milliseconds, and nobody misses a client that left meanwhile.
So one timer looks after the requests that last: what is still there at its second
look gets a task that waits, and cancels the request when the client has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any, Final

Receive = Callable[[], Awaitable[Any]]

LOOK_EVERY_S: Final = 0.1


class Flight:
    """One request under way.

    Attributes:
        gone: Whether its client has left, and it was cancelled for that.
    """

    __slots__ = ("_receive", "_task", "_watcher", "gone", "seen")

    def __init__(self, task: asyncio.Task[Any], receive: Receive) -> None:
        self._task, self._receive = task, receive
        self._watcher: asyncio.Task[None] | None = None
        self.gone = self.seen = False

    @property
    def lost(self) -> bool:
        """Whether its event loop was closed under it, so that it never ends."""
        return self._task.get_loop().is_closed()

    def watch(self) -> None:
        """Begin to wait for the client to leave."""
        if self._watcher is None:
            self._watcher = self._task.get_loop().create_task(self._wait())

    def end(self) -> None:
        """The request is over."""
        if self._watcher is not None:
            self._watcher.cancel()

    async def _wait(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.gone = True
                self._task.cancel()
                return


class Disconnects:
    """The requests under way in one event loop."""

    def __init__(self) -> None:
        self._flights: set[Flight] = set()
        self._look_at = -inf  # when the timer is due, on the clock of the loop

    def enter(self, receive: Receive) -> Flight:
        """A request whose body was read is under way in the current task; leave() must follow."""
        task = asyncio.current_task()
        assert task is not None
        flight = Flight(task, receive)
        self._flights.add(flight)
        loop = task.get_loop()
        now = loop.time()
        if not now < self._look_at <= now + LOOK_EVERY_S:  # none is set, or it is lost: that clock may go back
            self._set(loop, now)
        return flight

    def leave(self, flight: Flight) -> None:
        """The request is over."""
        self._flights.discard(flight)
        flight.end()

    def _set(self, loop: asyncio.AbstractEventLoop, now: float) -> None:
        self._look_at = at = now + LOOK_EVERY_S
        loop.call_at(at, self._look, loop, at)

    def _look(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        if at != self._look_at:  # another timer has taken the place of this one
            return
        self._look_at = -inf
        self._flights = {flight for flight in self._flights if not flight.lost}
        for flight in self._flights:
            if flight.seen:
                flight.watch()
            flight.seen = True
        if self._flights:
            self._set(loop, loop.time())
