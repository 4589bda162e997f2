"""Rate limit waiter: how callers wait for their turn under a rate limit.

The machine (core.rate_limiter) says how long to sleep, and calls ``wake`` when that has changed:
somebody ahead has given up, or the limit was changed. Whoever is cancelled or
interrupted while waiting gives up too, and whoever's turn comes after the caller's
deadline does not wait, or waits no longer.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from ..core.rate_limit_queue import Reservation
from ..core.rate_limiter import RateLimiter
from ..errors import RateLimitedError
from .deadline_context import in_use, shortened, waited_in_vain
from .timed_event import set_within


class RateLimitWaiter:
    """The waiting of one command's callers. Every method may be called from any thread.

    A clock with a ``sleep`` of its own (ManualClock) passes the time by that. If the clock stands
    still while a caller waits (it is frozen, or it is real and the loop's is virtual), they go on after one wait.
    """

    __slots__ = ("_clock", "_key", "_limiter")

    def __init__(self, limiter: RateLimiter, *, key: str, clock: Callable[[], float]) -> None:
        self._limiter, self._key, self._clock = limiter, key, clock

    def wait(self, turn: Reservation) -> None:
        """Wait in the caller's thread.

        Raises:
            RateLimitedError: The turn comes after the caller's deadline, or, since the limit was changed, too late.
        """
        try:
            woken = threading.Event()
            turn.wake = woken.set
            own_sleep: Callable[[float], None] | None = getattr(self._clock, "sleep", None)
            while (left := self._left(turn)) > 0:
                if own_sleep is not None:
                    own_sleep(left)
                    continue
                if not woken.wait(left) and waited_in_vain(left, self._left(turn)):
                    return
                woken.clear()
        except BaseException:
            self._limiter.withdraw(turn, self._clock())
            raise

    async def wait_async(self, turn: Reservation) -> None:
        """Wait in the running task.

        Raises:
            RateLimitedError: The turn comes after the caller's deadline, or, since the limit was changed, too late.
        """
        loop = asyncio.get_running_loop()
        try:
            woken = asyncio.Event()
            turn.wake = lambda: loop.call_soon_threadsafe(woken.set)
            own_sleep: Callable[[float], None] | None = getattr(self._clock, "sleep", None)
            while (left := self._left(turn)) > 0:
                if own_sleep is not None:
                    own_sleep(left)
                    await asyncio.sleep(0)
                    continue
                if not await set_within(woken, left) and waited_in_vain(left, self._left(turn)):
                    return
                woken.clear()
        except BaseException:
            self._limiter.withdraw(turn, self._clock())
            raise

    def _left(self, turn: Reservation) -> float:
        now = self._clock()
        left = self._limiter.look(turn, now)
        if left > 0 and in_use and shortened(turn.at - now) is not None:
            raise RateLimitedError(self._key, turn.at - now)
        return left
