"""Local stalls: noted by timers that come late, on the system's clock, and told to the registries that go by it.

The timer of a timeout comes too late to tell of a stall that is over before the timeout, and many calls have none. So
while calls of closed circuits begin on an event loop, and for some seconds after, a timer of that loop comes each
tenth of a second, and tells whether it was late. What it tells is there before a call ends that it excuses: an event
loop runs due timers before the tasks that what it has read wakes up; and a call that was to go on already asks before
it is weighed. An idle program has no such timer.

The loop's own clock must say, too, that the timer is late: that of a test may be frozen. Of several loops, in threads
of their own, each has a timer, and a call asks if any of them is late.
"""

from __future__ import annotations

import asyncio
import weakref
from asyncio import AbstractEventLoop
from collections.abc import Callable
from math import inf
from typing import Any, Final

from ..core.stalls import STALL_S, Stalls
from .system_clock import monotonic

#: After so many seconds a circuit's next call says again that its loop is to be watched.
_LOOK_EVERY_S: Final = 1.0
#: For so many seconds it is watched then.
_WATCH_S: Final = 10.0


class _Watch:
    """The timer of one loop.

    Attributes:
        until: When it comes for the last time.
        until_there: The same on the loop's clock, which may be virtual, and be a day later at once.
        due: When it comes next; infinite: it does not.
        due_there: The same on the loop's clock.
    """

    __slots__ = ("due", "due_there", "until", "until_there")

    def __init__(self) -> None:
        self.until, self.until_there, self.due, self.due_there = inf, inf, inf, inf

    def set(self, loop: AbstractEventLoop, now: float) -> None:
        """Come again."""
        self.due, self.due_there = now + STALL_S, loop.time() + STALL_S
        system_stalls.due = _first_late()
        loop.call_later(STALL_S, self.come, loop)

    def tell(self, loop: AbstractEventLoop, now: float) -> None:
        """Note the stall, if it should have come long ago. Nobody need ask again at once."""
        now_there = loop.time()
        came_late(min(now - self.due, now_there - self.due_there), lambda: now)
        self.due, self.due_there = max(self.due, now), max(self.due_there, now_there)
        system_stalls.due = _first_late()

    def come(self, loop: AbstractEventLoop, _clock: Callable[[], float] = monotonic) -> None:
        """It comes."""
        now = _clock()
        self.tell(loop, now)
        self.due = inf
        if now < self.until and loop.time() < self.until_there:
            self.set(loop, now)
        else:
            system_stalls.due = _first_late()

    def is_lost(self, loop: AbstractEventLoop) -> bool:
        """Whether it will not come: it is not set, or the loop's clock has gone back, as at the end of a freeze."""
        return self.due == inf or self.due_there > loop.time() + STALL_S


def _first_late() -> float:
    """From when on the first of the timers is late, of loops that run: a loop may be stopped, and run no more."""
    dues = [inf]
    for reference in _watches.keyrefs():
        loop = reference()
        if loop is not None and loop.is_running():
            dues.append(_watches[loop].due)
    return min(dues) + STALL_S


_watches: Final[weakref.WeakKeyDictionary[AbstractEventLoop, _Watch]] = weakref.WeakKeyDictionary()


def _look_out(_clock: Callable[[], float] = monotonic) -> None:
    """Watch the event loop that runs here, if one does."""
    loop = asyncio._get_running_loop()
    if loop is None:
        return
    now, watch = _clock(), _watches.get(loop)
    if watch is None:
        watch = _watches[loop] = _Watch()
    watch.until, watch.until_there = now + _WATCH_S, loop.time() + _WATCH_S
    if watch.is_lost(loop):
        watch.set(loop, now)
    else:
        watch.tell(loop, now)


#: Those of the system's clock.
system_stalls: Final = Stalls(_look_out, _LOOK_EVERY_S)
#: A dict is copied in one step, whatever other threads add; a WeakSet is not.
_told: Final[dict[weakref.ref[Callable[[float, float], object]], None]] = {}
_forget: Final[Callable[[Any], object]] = _told.pop


def tell_of_stalls(tell: Callable[[float, float], object]) -> None:
    """Call *tell* with the seconds and the end of each stall, as long as somebody keeps it. It must not raise."""
    _told[weakref.ref(tell, _forget)] = None


def came_late(seconds: float, _clock: Callable[[], float] = monotonic) -> bool:
    """A timer came so many *seconds* late: whether that was a stall, which is noted then."""
    if seconds < STALL_S:
        return False
    end = _clock()
    if end - seconds < system_stalls.until:  # a timer of another thread or loop was first to say so
        seconds = end - system_stalls.until
        if seconds < STALL_S:
            return True
    system_stalls.note(end - seconds, end)
    for reference in list(_told):
        tell = reference()
        if tell is not None:
            tell(seconds, end)
    return True
