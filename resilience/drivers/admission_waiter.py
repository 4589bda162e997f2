"""Waiting for one's turn: the driver of an adaptive limit's short queue, for callers that block and for tasks.

The machine (core.adaptive) decides who is next and calls the ticket's ``wake``;
here is what sleeps until then, or until the ticket's time is up. A permit is in
the caller's taken as soon as it is granted, so whatever ends the wait, a
cancellation or an interrupt, the caller finds it there and gives it back.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any

from ..core.adaptive import AdaptiveLimiter
from ..core.admission_queue import Ticket
from ..core.callbacks import call_back
from ..errors import BulkheadFullError
from .deadline_context import in_use, shortened


class AdmissionWaiter:
    """Takes permits of one command's adaptive limit for one of its functions."""

    __slots__ = ("_clock", "_key", "_limiter", "_priorities")

    def __init__(self, limiter: AdaptiveLimiter, *, key: str, clock: Callable[[], float],
                 priorities: Callable[..., int] | None) -> None:
        self._limiter, self._key, self._clock, self._priorities = limiter, key, clock, priorities

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

    def wait(self, taken: list[list[None]], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Wait in the caller's thread for a permit.

        Raises:
            BulkheadFullError: The queue is full, or none came in time.
        """
        woken = threading.Event()
        ticket = Ticket(taken, self.level(args, kwargs), woken.set)
        try:
            self._limiter.enqueue(ticket, self._clock())
            woken.wait(self._patience(ticket))
        finally:
            self._limiter.withdraw(ticket)
        if not taken:
            raise BulkheadFullError(self._key)

    async def wait_async(self, taken: list[list[None]], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Wait in the running task for a permit.

        Raises:
            BulkheadFullError: The queue is full, or none came in time.
        """
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()
        ticket = Ticket(taken, self.level(args, kwargs), lambda: loop.call_soon_threadsafe(woken.set))
        timer = None
        try:
            self._limiter.enqueue(ticket, self._clock())
            timer = loop.call_later(self._patience(ticket), woken.set)
            await woken.wait()
        finally:
            if timer is not None:
                timer.cancel()
            self._limiter.withdraw(ticket)
        if not taken:
            raise BulkheadFullError(self._key)

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
