"""Single flight: executions that others wait for instead of executing the same again.

Who comes first leads; whoever comes while the leader is under way follows, and waits for
the answer. A leader that leaves without an answer (cancelled, interrupted, its
coroutine dropped) is followed by the one who has waited longest, and the others go on waiting:
to wake all of them would cost the more the more there are, each time that one leaves. So nobody hangs
as long as leave() is called, and it may be called twice: who calls it does so again
if the first call was interrupted.

A follower waits on something of its own, which the leader knows: nothing that a
follower leaves undone concerns another. Waiting is not allowed where it could
never end: on a loop that is not the leader's, and when the leader itself waits for
somebody who would wait for us (a function that calls itself, by whatever way). To
which flights a call belongs is known by a context variable, and so in tasks and
worker threads too. Each WaitScope notes what it waits for before it looks at what
others wait for, so of several that close a circle one sees it. The variable holds
scopes and not flights: a task that was begun within a flight may outlive it, and its
context must not keep an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable, Hashable, Iterator
from contextvars import ContextVar
from typing import Any

from ..core.exception_copy import traceback_of


class WaitScope:
    """Calls that are made within a flight, and whom these calls wait for, each under a mark of its own."""

    __slots__ = ("awaited",)

    def __init__(self) -> None:
        self.awaited: dict[object, Followers] = {}


class Followers:
    """Those who wait for one answer, whoever executes it.

    Attributes:
        flight: The execution; another, if its leader has left without an answer.
        gates: What wakes each of them, by a flight of its own, which may have to lead; in order of arrival.
    """

    __slots__ = ("flight", "gates")

    def __init__(self, flight: Flight) -> None:
        self.flight = flight
        self.gates: dict[Flight, Callable[[], object]] = {}

    def heir(self) -> Flight | None:
        """The follower that has waited longest."""
        while self.gates:
            try:
                return next(iter(self.gates))
            except RuntimeError:  # somebody came or went between the two steps
                continue
        return None


_aboard: ContextVar[tuple[WaitScope, ...]] = ContextVar("resilience_flights", default=())


class Flight:
    """One execution, and those who wait for it. As a context manager: what is called within belongs to it.

    Attributes:
        key: What equal calls have in common.
        home: The leader's event loop; None: it blocks a thread.
        over: Nobody needs to wait any more.
        answered: It ended with ``answer``, or, if that is not None, with ``error``.
        trace: The traceback of ``error`` where it left the execution.
        followers: Who wait for it; None: nobody so far, or not any more.
    """

    __slots__ = ("_token", "answer", "answered", "error", "followers", "home", "key", "over", "trace", "trip")

    def __init__(self, key: Hashable, home: Any = None) -> None:
        self.key, self.home = key, home
        self.over = self.answered = False
        self.answer: Any = None
        self.error: Exception | None = None
        self.trace: Any = None
        self.trip = WaitScope()
        self.followers: Followers | None = None
        self._token: Any = None

    def __enter__(self) -> None:
        self._token = _aboard.set((*_aboard.get(), self.trip))

    def __exit__(self, *_: object) -> None:
        try:
            _aboard.reset(self._token)
        except ValueError:  # closed by the garbage collector, in another context
            pass

    def succeed(self, answer: Any) -> None:
        """Note that the execution ended with an *answer*."""
        self.answer, self.answered = answer, True

    def fail(self, error: Exception) -> None:
        """Note that the execution ended with an *error*."""
        self.error, self.trace, self.answered = error, traceback_of(error), True

    def wake(self) -> None:
        """Wake all followers; if the flight was left to one of them, only that one, which leads now."""
        self.over = True  # first, so that a caller that joins later sees it
        followers = self.followers
        if followers is None:
            return
        heir = followers.flight
        gates = list(followers.gates.values()) if heir is self else [followers.gates.get(heir)]
        for gate in gates:
            if gate is not None:
                with contextlib.suppress(RuntimeError):  # woken before; or its loop is closed, and nobody waits
                    gate()
        self.followers = None  # they know us

    def group(self) -> Followers:
        """Return the followers of the flight, for another caller to join."""
        made = Followers(self)
        followers = self.followers  # nothing is called from here on: the first one to come makes it
        if followers is None:
            followers = self.followers = made
        return followers

    def wait(self, seconds: float | None, own: Flight) -> Flight | None:
        """Block the thread until it is over, or *own* is to lead, or for *seconds*.

        Returns:
            The execution that was waited for at the end; None: there are no *seconds*, or it would be for ever.
        """
        gate = threading.Lock()
        gate.acquire()
        with self._joined(own, gate.release, seconds) as followers:
            if followers is not None and not followers.flight.over:
                gate.acquire(timeout=-1 if seconds is None else seconds)
        return None if followers is None else followers.flight

    async def wait_async(self, seconds: float | None, own: Flight) -> Flight | None:
        """As the method above, for a task on the leader's event loop."""
        landed = self.home.create_future()
        wake = functools.partial(_settle, landed, self.home)
        with self._joined(own, wake, seconds) as followers:
            if followers is not None and not followers.flight.over:
                timer = None if seconds is None else self.home.call_later(seconds, wake)
                try:
                    await landed
                finally:
                    if timer is not None:
                        timer.cancel()
        return None if followers is None else followers.flight

    @contextlib.contextmanager
    def _joined(self, own: Flight, wake: Callable[[], object], seconds: float | None) -> Iterator[Followers | None]:
        """While *own* waits for the flight: all who do; None: it is not to."""
        mine, mark, followers = _aboard.get(), object(), self.group()
        try:
            for trip in mine:
                trip.awaited[mark] = followers
            if (seconds is not None and seconds <= 0.0) or _leads_to(followers.flight.trip, mine):
                yield None
            else:
                followers.gates[own] = wake
                yield followers
        finally:
            followers.gates.pop(own, None)
            for trip in mine:
                trip.awaited.pop(mark, None)


def detach() -> None:
    """Let what is called here belong to no flight: none waits for it."""
    _aboard.set(())


def _leads_to(start: WaitScope, goals: tuple[WaitScope, ...]) -> bool:
    """Whether *start* is one of *goals*, or waits for one, by way of others perhaps."""
    reached, seen = [start], {start}
    for trip in reached:
        if trip in goals:
            return True
        awaited = (followers.flight.trip for followers in list(trip.awaited.values()))
        news = [each for each in awaited if each not in seen]
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
    """The flights under way, by key. Every method may be called from any thread."""

    __slots__ = ("_leading", "_lock")

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Start over: whoever comes now follows nobody who came before."""
        self._lock = threading.RLock()
        self._leading: dict[Hashable, Flight] = {}

    def __len__(self) -> int:
        return len(self._leading)

    def is_led(self, key: Hashable) -> bool:
        """Whether there is a flight for *key*."""
        known = self._leading.get(key)
        return known is not None and not _has_ended(known)

    def lead_or_follow(self, flight: Flight) -> Flight | None:
        """Lead (None), unless somebody else leads already (return their flight). leave() must be called in any case."""
        leading = self._leading
        known = leading.get(flight.key)  # what is equal may be user's code to decide, so not under the lock
        if known is None or _has_ended(known):
            with self._lock:
                known = leading.get(flight.key)
                if known is None or _has_ended(known):
                    leading[flight.key] = flight
                    return None
        return None if known is flight else known  # it may have been left to us

    def leave(self, flight: Flight) -> None:
        """Lead no longer, and wake those who follow; harmless if one does not lead, or twice.

        If there is no answer, another leads.
        """
        with self._lock:
            if self._leading.get(flight.key) is flight:
                followers = None if flight.answered else flight.followers
                heir = None if followers is None else followers.heir()
                if followers is None or heir is None:
                    del self._leading[flight.key]
                else:
                    heir.followers, followers.flight = followers, heir
                    heir.key = flight.key  # the very one in the dict: what is equal is not to be asked under the lock
                    self._leading[flight.key] = heir
        flight.wake()


def _has_ended(flight: Flight) -> bool:
    return flight.over or (flight.home is not None and flight.home.is_closed())
