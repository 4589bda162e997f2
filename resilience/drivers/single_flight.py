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
somebody who would wait for us (a function that calls itself, by whatever way), or
for a thread that we hold; see drivers.wait_for_graph.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable, Collection, Hashable, Iterator
from sys import is_finalizing
from typing import Any

from ..core.exception_copy import traceback_of
from ..core.locks import Lock
from .wait_for_graph import Awaited, WaitScope, can_end, scopes


class Followers(Awaited):
    """Those who wait for one answer, whoever executes it.

    Attributes:
        flight: The execution; another, if its leader has left without an answer.
        gates: What wakes each of them, by a flight of its own, which may have to lead; in order of arrival.
    """

    __slots__ = ("flight", "gates")

    def __init__(self, flight: Flight) -> None:
        self.flight = flight
        self.gates: dict[Flight, Callable[[], object]] = {}

    def waits_for(self) -> Collection[Awaited]:
        """See Awaited."""
        return (self.flight.scope,)

    def successor(self) -> Flight | None:
        """The follower that has waited longest."""
        while self.gates:
            try:
                return next(iter(self.gates))
            except RuntimeError:  # somebody came or went between the two steps
                continue
        return None


class Flight:
    """One execution, and those who wait for it. As a context manager: what is called within belongs to it.

    Attributes:
        key: What equal calls have in common.
        home: The leader's event loop; None: it blocks a thread.
        over: Nobody needs to wait any more.
        answered: It ended with ``answer``, or, if that is not None, with ``error``.
        trace: The traceback of ``error`` where it left the execution.
        scope: What its calls wait for.
        followers: Who wait for it; None: nobody so far, or not any more.
        left_to_retry: Its answer came without the attempts that a retry within would have made, had not another one
            further out repeated the leader's call.
    """

    __slots__ = ("_token", "answer", "answered", "error", "followers", "home", "key", "left_to_retry", "over", "scope",
                 "trace")

    def __init__(self, key: Hashable, home: Any = None) -> None:
        self.key, self.home = key, home
        self.over = self.answered = self.left_to_retry = False
        self.answer: Any = None
        self.error: Exception | None = None
        self.trace: Any = None
        self.scope = WaitScope()
        self.followers: Followers | None = None
        self._token: Any = None

    def __enter__(self) -> None:
        self._token = scopes.set((*scopes.get(), self.scope))

    def __exit__(self, *_: object) -> None:
        try:
            scopes.reset(self._token)
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
        self.over = self.scope.is_over = True  # first, so that a caller that joins later sees it
        followers = self.followers
        if followers is None:
            return
        successor = followers.flight
        gates = list(followers.gates.values()) if successor is self else [followers.gates.get(successor)]
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
            The execution that was waited for at the end; None: there are no *seconds*, or it would be for ever, as
            in an interpreter that is shutting down, in which the other threads do not run any more.
        """
        if is_finalizing():
            return None
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
        mine, mark, followers = scopes.get(), object(), self.group()
        try:
            for scope in mine:
                scope.awaited[mark] = followers
            if (seconds is not None and seconds <= 0.0) or not can_end(followers, mine):
                yield None
            else:
                followers.gates[own] = wake
                yield followers
        finally:
            followers.gates.pop(own, None)
            for scope in mine:
                scope.awaited.pop(mark, None)


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
        self._lock = Lock()
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
                successor = None if followers is None else followers.successor()
                if followers is None or successor is None:
                    del self._leading[flight.key]
                else:
                    successor.followers, followers.flight = followers, successor
                    successor.key = flight.key  # the one in the dict: what is equal is not to be asked under the lock
                    self._leading[flight.key] = successor
        flight.wake()


def _has_ended(flight: Flight) -> bool:
    return flight.over or (flight.home is not None and flight.home.is_closed())
