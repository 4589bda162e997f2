"""Lines: how callers wait for their turn under a rate limit.

The machine (core.rate_limit) says when a turn comes, and calls ``wake`` when it
has come nearer, because somebody ahead has given up. Whoever is cancelled or
interrupted while he waits gives up too, and whose turn comes after his caller's
deadline does not wait at all.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from ..core.rate_limit import RateLimiter, Turn
from ..errors import RateLimitedError
from .time_left import in_use, shortened, waited_in_vain


class Line:
    """The waiting of one command's callers. Every method may be called from any thread.

    A clock with a ``sleep`` of its own (ManualClock) passes the time by that. By one that stands still while the
    caller waits (a frozen one; a real one, where the loop's is virtual) he goes on when he has waited once.
    """

    __slots__ = ("_clock", "_key", "_limiter", "_own_sleep")

    def __init__(self, limiter: RateLimiter, *, key: str, clock: Callable[[], float]) -> None:
        self._limiter, self._key, self._clock = limiter, key, clock
        self._own_sleep: Callable[[float], None] | None = getattr(clock, "sleep", None)

    def wait(self, turn: Turn) -> None:
        """Wait in the caller's thread.

        Raises:
            RateLimitedError: The turn comes after the caller's deadline.
        """
        try:
            self._check(turn)
            woken = threading.Event()
            turn.wake = woken.set
            while (left := turn.at - self._clock()) > 0:
                if self._own_sleep is not None:
                    self._own_sleep(left)
                    continue
                if not woken.wait(left) and waited_in_vain(left, turn.at - self._clock()):
                    return
                woken.clear()
        except BaseException:
            self._limiter.withdraw(turn, self._clock())
            raise

    async def wait_async(self, turn: Turn) -> None:
        """Wait in the running task.

        Raises:
            RateLimitedError: The turn comes after the caller's deadline.
        """
        loop = asyncio.get_running_loop()
        try:
            self._check(turn)
            woken = asyncio.Event()
            turn.wake = lambda: _wake(loop, woken)
            while (left := turn.at - self._clock()) > 0:
                if self._own_sleep is not None:
                    self._own_sleep(left)
                    await asyncio.sleep(0)
                    continue
                over: list[None] = []
                timer = loop.call_later(left, _end, over, woken)
                try:
                    await woken.wait()
                finally:
                    timer.cancel()
                if over and waited_in_vain(left, turn.at - self._clock()):
                    return
                woken.clear()
        except BaseException:
            self._limiter.withdraw(turn, self._clock())
            raise

    def _check(self, turn: Turn) -> None:
        if in_use:
            wait = turn.at - self._clock()
            if shortened(wait) is not None:
                raise RateLimitedError(self._key, wait)


def _end(over: list[None], woken: asyncio.Event) -> None:
    over.append(None)
    woken.set()


def _wake(loop: asyncio.AbstractEventLoop, woken: asyncio.Event) -> None:
    try:
        loop.call_soon_threadsafe(woken.set)
    except RuntimeError:  # its loop is closed: nobody waits
        return
