"""Waiting for one's turn: the driver of an adaptive limit's short queue and a bulkhead's, for callers and for tasks.

The machine (core.adaptive, core.queued_slots) decides who is next and calls the
ticket's ``wake``; here is what sleeps until then, or until the ticket's time is
up. A permit is in the caller's list ``taken`` as soon as it is granted, so whatever
ends the wait, a cancellation or an interrupt, the caller finds it there and gives it
back. A ticket may also be woken because its time was changed; then it sleeps on.

A function that calls itself may hold all slots of its bulkhead, and would wait for itself. Its wrappers stand on the
stack then, with the slots that they hold; on a worker thread, so does the job (as in drivers.retry_layers, this costs
nothing but who has to wait). What is held elsewhere is not found, and waited for as long as may be: by a generator
between two items, by a block, or by the jobs of other threads that wait for this one.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Hashable, Mapping
from sys import is_finalizing
from types import CodeType, FrameType
from typing import Any, Final, Protocol

from ..core.admission_queue import AdmissionQueue, Ticket
from ..core.callbacks import call_back, check_hashable
from ..errors import BulkheadFullError
from .deadline_context import in_use, shortened, waited_in_vain
from .timed_event import set_within

#: Of the function that runs a job on a worker thread, which holds its slot meanwhile.
runs_jobs: Final[set[CodeType]] = set()


class Limiter(Protocol):
    """A machine whose callers may wait."""

    @property
    def limit(self) -> float | None: ...
    @property
    def queue(self) -> AdmissionQueue: ...
    def take(self, taken: list[list[None]], priority: int | None = None) -> None: ...
    def enqueue(self, ticket: Ticket, now: float) -> None: ...
    def withdraw(self, ticket: Ticket) -> None: ...
    def hand_on(self, now: float) -> None: ...
    def full(self) -> BulkheadFullError: ...


class AdmissionWaiter:
    """Takes permits of one command's limit for one of its functions."""

    __slots__ = ("_clock", "_fair_by", "_key", "_limiter", "_priorities")

    def __init__(self, limiter: Limiter, *, key: str, clock: Callable[[], float],
                 priorities: Callable[..., int] | None = None,
                 fair_by: Callable[..., Hashable] | None = None) -> None:
        self._limiter, self._key, self._clock = limiter, key, clock
        self._priorities, self._fair_by = priorities, fair_by

    def take(self, taken: list[list[None]], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        """Take a permit, noted in *taken*; False: there is none, but one may wait.

        Raises:
            BulkheadFullError: There is none, and no queue.
            TypeError: ``priorities`` returned no whole number.
        """
        try:
            self._limiter.take(taken, None if self._priorities is None else self.level(args, kwargs))
        except BulkheadFullError:
            if not self._limiter.queue.size:
                raise
            return False
        return True

    def admit(self, taken: list[list[None]], args: tuple[Any, ...], kwargs: Mapping[str, Any], now: float) -> float:
        """Take a permit, noted in *taken*, or wait for one in the caller's thread.

        Returns:
            When the caller had it: *now*, unless they had to wait.

        Raises:
            BulkheadFullError: The queue is full, or none came in time.
        """
        if self.take(taken, args, kwargs):
            return now
        self.wait(taken, args, kwargs)
        return self._clock()

    def wait(self, taken: list[list[None]], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Wait in the caller's thread for a permit.

        Raises:
            BulkheadFullError: The queue is full, or none came in time, or will come: the caller's own stack holds all,
                or the interpreter is shutting down, in which the threads that have one do not run any more.
            TypeError: ``fair_by`` returned what cannot be hashed.
        """
        if is_finalizing() or self._waits_for_itself(None):
            raise self._limiter.full()
        woken = threading.Event()
        ticket = Ticket(taken, self.level(args, kwargs), woken.set, self.tenant(args, kwargs))
        try:
            self._limiter.enqueue(ticket, self._clock())
            while ticket.waiting and (left := self._patience(ticket)) > 0:
                if not woken.wait(left) and waited_in_vain(left, self._patience(ticket)):
                    break
                woken.clear()
        finally:
            self._limiter.withdraw(ticket)
        if not taken:
            raise self._limiter.full()

    async def wait_async(self, taken: list[list[None]], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Wait in the running task for a permit.

        Raises:
            BulkheadFullError: The queue is full, or none came in time, or will come: the task holds all itself.
            TypeError: ``fair_by`` returned what cannot be hashed.
        """
        loop = asyncio.get_running_loop()
        if self._waits_for_itself(asyncio.current_task()):
            raise self._limiter.full()
        woken = asyncio.Event()
        ticket = Ticket(taken, self.level(args, kwargs), lambda: loop.call_soon_threadsafe(woken.set),
                        self.tenant(args, kwargs))
        try:
            self._limiter.enqueue(ticket, self._clock())
            while ticket.waiting and (left := self._patience(ticket)) > 0:
                if not await set_within(woken, left) and waited_in_vain(left, self._patience(ticket)):
                    break
                woken.clear()
        finally:
            self._limiter.withdraw(ticket)
        if not taken:
            raise self._limiter.full()

    def hand_on(self) -> None:
        """Give a permit that has come back to those who wait."""
        if self._limiter.queue.crowd:
            self._limiter.hand_on(self._clock())

    def _waits_for_itself(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether the calls on this stack, or in this *task*, hold all slots that there are."""
        limit, limiter, held = self._limiter.limit, self._limiter, 0
        first = None if task is None else getattr(task.get_coro(), "cr_frame", None)  # a task may begin on another's
        frame: FrameType | None = sys._getframe(2)
        while frame is not None and limit is not None:
            code = frame.f_code
            if code.co_name == "guarded" and "queue" in code.co_freevars:
                names = frame.f_locals  # with ``now``, the slot has been given back
                held += names.get("slots") is limiter and names.get("held") is not None and "now" not in names
            elif code in runs_jobs:
                waiter = frame.f_locals["self"].home.waiter
                held += waiter is not None and waiter._limiter is limiter
            frame = None if frame is first else frame.f_back
        return limit is not None and held >= limit

    def _patience(self, ticket: Ticket) -> float:
        """Seconds to wait: until the ticket's time is up, or the caller's deadline."""
        seconds = ticket.until - self._clock()
        left = shortened(seconds) if in_use else None
        return seconds if left is None else left

    def level(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
        """How important a call is.

        Raises:
            TypeError: ``priorities`` returned no whole number.
        """
        if self._priorities is None:
            return 0
        level = call_back(self._priorities, args, kwargs)
        if not isinstance(level, int):
            raise TypeError(f"{self._key}: priorities must return a whole number, 0 for the most important, "
                            f"not {level!r}")
        return level

    def tenant(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Hashable:
        """Whose call it is, where tenants take turns.

        Raises:
            TypeError: ``fair_by`` returned what cannot be hashed.
        """
        if self._fair_by is None:
            return None
        key = call_back(self._fair_by, args, kwargs)
        check_hashable(key, "fair_by", self._key)
        return key
