"""Local stalls: noted by timers that come late, on the system's clock, and told to the registries that go by it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Final

from ..core.stalls import STALL_S, Stalls
from .system_clock import monotonic

#: Those of the system's clock.
system_stalls: Final = Stalls()
_told: weakref.WeakSet[_Told] = weakref.WeakSet()


class _Told:
    """Somebody who wants to know of stalls; hears of them as long as it lives."""

    __slots__ = ("__weakref__", "tell")

    def __init__(self, tell: Callable[[float, float], object]) -> None:
        self.tell = tell


def tell_of_stalls(tell: Callable[[float, float], object]) -> object:
    """Call *tell* with the seconds and the end of each stall, as long as the result is kept. It must not raise."""
    told = _Told(tell)
    _told.add(told)
    return told


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
    for each in tuple(_told):
        each.tell(seconds, end)
    return True
