"""Stalls: times in which this process, or its event loop, did not run, and what they mean for the calls under way.

A coroutine that blocks its loop for two seconds lets every other call of that loop time out, while the answers lie
in the sockets. A stopped container or a long garbage collection does so to threads too. None of that is the target's
doing: a call that lost a good part of its time to a stall says nothing to breaker, throttle and limits, if it failed,
and was not slow by the time that it lost, if it succeeded. What callers get, and what is counted, stays the same.

A stall is noticed by a timer that comes late: that of a timeout (drivers.async_timeouts, drivers.workers), or one that
is there for nothing else while calls of a closed circuit begin on an event loop (drivers.local_stalls). So a plain
function in its caller's thread, for which there is no timer, has none.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

from .reentrance import ReentryGuard

#: How late a timer comes if something has held up its loop or thread: asyncio's own slow_callback_duration.
STALL_S: Final = 0.1
#: The share of a call's time from which on what it lost decides.
_DECIDES: Final = 0.25
_KEPT: Final = 16


def _nobody() -> None:
    """Looks for no stall."""


class Stalls:
    """The last stalls, on one clock. Every method may be called from any thread.

    Attributes:
        until: When the last one ended; calls that began later have lost nothing.
        look_every: After how many seconds of calls that begin look_out() is to be called again.
        look_out: To be called when a call begins, outside of locks: stalls of its event loop are looked for from now
            on. Notes what there was, too.
        due: When there is a stall that nobody has noted, unless look_out() is called before: that is made good by
            lost() and excuses(). Set by who looks.
    """

    __slots__ = ("_guard", "_spans", "due", "look_every", "look_out", "until")

    def __init__(self, look_out: Callable[[], object] = _nobody, look_every: float = inf) -> None:
        """There was none.

        Args:
            look_out: See there; by default nobody does.
            look_every: See there.
        """
        self.look_out, self.look_every, self.due = look_out, look_every, inf
        self._guard = ReentryGuard()
        self._spans: tuple[tuple[float, float], ...] = ()  # apart from each other, oldest first; replaced as a whole
        self.until = -inf

    def note(self, start: float, end: float) -> None:
        """Nothing ran from *start* to *end*; several threads may note one and the same stall."""
        self._guard.do(self._note, start, end)

    def renew(self) -> None:
        """Start over in a forked child; what the parent lost was lost to it as well."""
        self._guard.renew()
        self.due = inf

    def _note(self, start: float, end: float) -> None:
        apart = [span for span in self._spans if span[1] < start or span[0] > end]
        met = [span for span in self._spans if span not in apart]
        whole = (min([start, *(span[0] for span in met)]), max([end, *(span[1] for span in met)]))
        self._spans = tuple(sorted([*apart, whole])[-_KEPT:])
        self.until = max(end, self.until)

    def lost(self, started: float, now: float) -> float:
        """How many of the seconds from *started* to *now*, the present, were lost."""
        if now >= self.due:
            self.look_out()
        if started >= self.until:
            return 0.0
        return sum(max(0.0, min(end, now) - max(start, started)) for start, end in self._spans)

    def excuses(self, started: float, now: float) -> bool:
        """Whether a call that ran from *started* to *now* lost so much time that its end says nothing of its target."""
        lost = self.lost(started, now)
        return lost > 0.0 and lost >= _DECIDES * (now - started)


#: Of a registry whose clock is none that a timer goes by: there is never a stall.
NO_STALLS: Final = Stalls()
