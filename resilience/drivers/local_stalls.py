"""Local stalls: noted by timers that come late, on the system's clock, and told to the registries that go by it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Final

from ..core.stalls import STALL_S, Stalls
from .system_clock import monotonic

#: Those of the system's clock.
system_stalls: Final = Stalls()
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
