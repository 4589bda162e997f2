"""Loop lag: how late the running event loop comes round, measured by a timer that costs next to nothing.

The timer runs while requests come, and ends by itself soon after the last: an idle gateway is not woken, and a gateway
that is dropped leaves nothing behind in the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

#: Seconds between two looks.
INTERVAL_S: Final = 0.02
#: Looks without a request, after which the timer ends.
_IDLE: Final = 50


class LoopLag:
    """Tells *sample* the lag of the loop in which touch() is called. For one event loop."""

    __slots__ = ("_clock", "_idle", "_sample", "_timer")

    def __init__(self, sample: Callable[[float, float], object], clock: Callable[[], float]) -> None:
        self._sample, self._clock = sample, clock
        self._timer: asyncio.TimerHandle | None = None
        self._idle = 0

    def touch(self) -> None:
        """A request came."""
        self._idle = 0
        if self._timer is None:
            self._arm()

    def stop(self) -> None:
        """Look no more, until there is a request."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(INTERVAL_S, self._look, self._clock() + INTERVAL_S)

    def _look(self, due: float) -> None:
        now = self._clock()
        self._sample(max(0.0, now - due), now)
        self._idle += 1
        if self._idle < _IDLE:
            self._arm()
        else:
            self._timer = None
