"""How one attempt ended (Outcome), and how a whole call is counted (Event).

Hot files bind plain ints from here: looking up an enum member costs 80-100 ns
on CPython 3.11, reading a module constant 5.
"""

from __future__ import annotations

import enum
from typing import Final


class Outcome(enum.IntEnum):
    """How one attempt ended, as every policy is told."""

    SUCCESS = 0  # returned
    FAILURE = 1  # raised something that counts
    TIMEOUT = 2  # ran past its budget
    REJECTED = 3  # never ran: an inner gate refused
    IGNORED = 4  # raised what the caller is to blame for
    CANCELLED = 5  # cancelled, closed early, or the process is going down
    CUT_SHORT = 6  # ran until its caller's deadline, sooner than its own budget
    BUSY = 7  # was answered that the target has no room for it now
    FAILED_IN_STALL = 8  # raised something that counts, while this process stood still
    TIMED_OUT_IN_STALL = 9  # ran past its budget, while this process stood still


SUCCESS: Final = 0
FAILURE: Final = 1
TIMEOUT: Final = 2
REJECTED: Final = 3
IGNORED: Final = 4
CANCELLED: Final = 5
CUT_SHORT: Final = 6
BUSY: Final = 7
FAILED_IN_STALL: Final = 8
TIMED_OUT_IN_STALL: Final = 9


class Event(enum.IntEnum):
    """What is counted about a call: Hystrix's HystrixEventType, then our own; the value indexes a counts row."""

    SUCCESS = 0
    FAILURE = 1
    TIMEOUT = 2
    SHORT_CIRCUITED = 3
    SEMAPHORE_REJECTED = 4
    THREAD_POOL_REJECTED = 5
    BAD_REQUEST = 6
    FALLBACK_SUCCESS = 7
    FALLBACK_FAILURE = 8
    FALLBACK_REJECTION = 9
    FALLBACK_MISSING = 10
    EXCEPTIONS_THROWN = 11
    CANCELLED = 12
    RESPONSES_FROM_CACHE = 13
    COLLAPSED = 14
    EMIT = 15
    FALLBACK_EMIT = 16
    THROTTLED = 17
    RETRY = 18
    SHADOW_REJECTED = 19
    CHAOS = 20
    RATE_LIMITED = 21
    NO_TIME_LEFT = 22
    HEDGE = 23
    BUSY = 24
    RETRY_LEFT_TO_CALLER = 25
    FAILOVER = 26
    STALE_RESPONSES = 27
    REFRESH = 28
    REFRESH_FAILURE = 29


_own_events: list[str] = []


def event_number(name: str) -> int:
    """The number of a user's own event, the same for each policy of this *name*; it indexes a counts row too."""
    if name not in _own_events:
        _own_events.append(name)
    return len(EVENT_NAMES) + _own_events.index(name)


def event_name(number: int) -> str:
    """What the event with this *number* is called."""
    return EVENT_NAMES[number] if number < len(EVENT_NAMES) else _own_events[number - len(EVENT_NAMES)]


EVENT_NAMES: Final = tuple(event.name.lower() for event in Event)
#: Of calls that got a RejectedError, or a fallback's answer instead of one: their function did not run.
REFUSALS: Final = ("short_circuited", "semaphore_rejected", "thread_pool_rejected", "throttled", "rate_limited",
                   "no_time_left")
