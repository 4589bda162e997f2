"""Flights: executions that others wait for instead of executing the same again.

Who boards first leads; whoever boards while he is under way follows, and waits for
the answer. A leader that leaves without an answer (cancelled, interrupted, its
coroutine dropped) wakes its followers too, and each tries to lead. So nobody hangs
as long as leave() is called, and it may be called twice: who calls it does so again
if the first call was interrupted.

A follower waits on something of its own, which the leader knows: nothing that a
follower leaves undone concerns another. Waiting is not allowed where it could
never end: on a loop that is not the leader's, and when the leader itself waits for
somebody who would wait for us (a function that calls itself, by whatever way). Who
is on board of what is known by a context variable, hence through tasks and worker
threads. Each trip notes what it waits for before it looks at what others wait for,
so of several who close a circle one sees it. The variable has trips and not
flights: a task begun on board may outlive all of this, and its context must not
keep an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable, Hashable, Iterator
from contextvars import ContextVar
from typing import Any

from ..core.twins import traceback_of


class Trip:
    """That calls are made on board of a flight, and which other flights these wait for."""

    __slots__ = ("awaited",)

    def __init__(self) -> None:
        self.awaited: list[Trip] = []


_aboard: ContextVar[tuple[Trip, ...]] = ContextVar("resilience_flights", default=())


class Flight:
    """One execution, and those who wait for it. As a context manager: what is called within belongs to it.

    Attributes:
        key: What equal calls have in common.
        home: The leader's event loop; None: it blocks a thread.
        over: Nobody needs to wait any more.
        answered: It ended with ``answer``, or, if that is not None, with ``error``.
        trace: The traceback of ``error`` where it left the execution.
    """

    __slots__ = ("_token", "_waiters", "answer", "answered", "error", "home", "key", "over", "trace", "trip")

    def __init__(self, key: Hashable, home: Any = None) -> None:
        self.key, self.home = key, home
        self.over = self.answered = False
        self.answer: Any = None
        self.error: Exception | None = None
        self.trace: Any = None
        self.trip = Trip()
        self._waiters: list[Callable[[], object]] = []
        self._token: Any = None

    def __enter__(self) -> None:
        self._token = _aboard.set((*_aboard.get(), self.trip))

    def __exit__(self, *_: object) -> None:
        try:
            _aboard.reset(self._token)
        except ValueError:  # closed by the garbage collector, in another context
            pass

    def succeed(self, answer: Any) -> None:
        """It ended with an *answer*."""
        self.answer, self.answered = answer, True

    def fail(self, error: Exception) -> None:
        """It ended with an *error*."""
        self.error, self.trace, self.answered = error, traceback_of(error), True

    def wake(self) -> None:
        """Let all go who wait."""
        self.over = True
        for wake in list(self._waiters):  # who joins later sees that it is over
            with contextlib.suppress(RuntimeError):  # woken before; or its loop is closed, and nobody waits
                wake()

    def wait(self, seconds: float | None) -> None:
        """Block the thread until it is over, or for *seconds*; to be called within waiting()."""
        gate = threading.Lock()
        gate.acquire()
        leave = gate.release
        self._waiters.append(leave)
        try:
            if not self.over:
                gate.acquire(timeout=-1 if seconds is None else seconds)
        finally:
            if not self.over:
                self._forget(leave)

    async def wait_async(self, seconds: float | None) -> None:
        """Suspend the task until it is over, or for *seconds*; to be called within waiting(), on the leader's loop."""
        landed = self.home.create_future()
        wake = functools.partial(_settle, landed, self.home)
        self._waiters.append(wake)
        timer = None if seconds is None else self.home.call_later(seconds, wake)
        try:
            if not self.over:
                await landed
        finally:
            if timer is not None:
                timer.cancel()
            if not self.over:
                self._forget(wake)

    def _forget(self, wake: Callable[[], object]) -> None:
        with contextlib.suppress(ValueError):
            self._waiters.remove(wake)  # a long flight may lose many

    @contextlib.contextmanager
    def waiting(self) -> Iterator[bool]:
        """While the caller waits for it: whether he may, or it would be for ever."""
        mine = _aboard.get()
        try:
            for trip in mine:
                trip.awaited.append(self.trip)
            yield not _leads_to(self.trip, mine)
        finally:
            for trip in mine:
                with contextlib.suppress(ValueError):
                    trip.awaited.remove(self.trip)


def _leads_to(start: Trip, goals: tuple[Trip, ...]) -> bool:
    """Whether *start* is one of *goals*, or waits for one, by way of others perhaps."""
    reached, seen = [start], {start}
    for trip in reached:
        if trip in goals:
            return True
        news = [each for each in tuple(trip.awaited) if each not in seen]
        seen.update(news)
        reached += news
    return False


def _settle(landed: asyncio.Future[None], home: asyncio.AbstractEventLoop) -> None:
    if running_loop() is home:
        if not landed.done():
            landed.set_result(None)
    else:  # the garbage collector closed the leader elsewhere
        home.call_soon_threadsafe(lambda: None if landed.done() else landed.set_result(None))


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The caller's loop, if there is one."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Flights:
    """Who leads, by key. Every method may be called from any thread."""

    __slots__ = ("_leading", "_lock")

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Start over: who boards now follows nobody who did before."""
        self._lock = threading.RLock()
        self._leading: dict[Hashable, Flight] = {}

    def __len__(self) -> int:
        return len(self._leading)

    def board(self, flight: Flight) -> Flight | None:
        """Lead (None), unless somebody does already (his flight). Whatever comes of it, leave() must be called."""
        leading = self._leading
        known = leading.get(flight.key)  # what is equal may be user's code to decide, so not under the lock
        if known is None or _has_ended(known):
            with self._lock:
                known = leading.get(flight.key)
                if known is None or _has_ended(known):
                    leading[flight.key] = flight
                    return None
        return known

    def leave(self, flight: Flight) -> None:
        """Lead no longer, and wake those who follow; harmless if one does not lead, or twice."""
        with self._lock:
            if self._leading.get(flight.key) is flight:
                del self._leading[flight.key]
        flight.wake()


def _has_ended(flight: Flight) -> bool:
    return flight.over or (flight.home is not None and flight.home.is_closed())
