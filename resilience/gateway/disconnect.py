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
from typing import Any, Final

Receive = Callable[[], Awaitable[Any]]

LOOK_EVERY_S: Final = 0.1


class ClientGoneError(Exception):
    """The client left, or stopped taking."""


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
        self._looking = False

    def enter(self, receive: Receive) -> Flight:
        """A request whose body was read is under way in the current task; leave() must follow."""
        task = asyncio.current_task()
        assert task is not None
        flight = Flight(task, receive)
        self._flights.add(flight)
        if not self._looking:
            self._looking = True
            task.get_loop().call_later(LOOK_EVERY_S, self._look, task.get_loop())
        return flight

    def leave(self, flight: Flight) -> None:
        """The request is over."""
        self._flights.discard(flight)
        flight.end()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        for flight in self._flights:
            if flight.seen:
                flight.watch()
            flight.seen = True
        self._looking = bool(self._flights)
        if self._looking:
            loop.call_later(LOOK_EVERY_S, self._look, loop)
