"""Deadline context: the deadline that callers hand down to what they call.

``with deadline(2.0):`` notes an absolute end in a context variable, so tasks and
worker threads started inside see it too. The earliest of nested ones wins. Nothing
is cancelled by it alone: policies ask how much time is left, and a call that would
begin too late, a timeout that would end too late or a pause that would outlast it
is shortened or left out.

What is in the variable is the earliest end: a later one inside it changes nothing,
and whoever sets an earlier one puts the former back, whatever an interrupt has left
above it. A generator may be left in another context, where there is nothing to put
back; then the end is marked as left and skipped.
What was started inside and goes on after the ``with`` keeps its end, for nobody
waits for it any longer.

Each end has a clock of its own, since registries have. What policies compare with
their own clocks is a number of seconds left.

Until the first ``deadline`` of a process, ``in_use`` is empty, and a call pays for
one look at it. Compiled wrappers look at a global of theirs instead, which says the
same: that costs them 7 ns where a look at the list costs 12 (0017).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from contextvars import Context, ContextVar
from types import TracebackType
from typing import Any, ClassVar, Final, Self, TypeVar

import attrs

from ..core.callbacks import check_plain
from ..core.checks import number, strict
from ..core.exception_copy import cause_of
from ..core.exception_groups import matches, parts
from ..errors import DeadlineExceededError, NoTimeLeftError
from .system_clock import monotonic

#: What Envoy sends to upstreams, and heeds with ``respect_expected_rq_timeout``: whole milliseconds left.
DEADLINE_HEADER: Final = "x-envoy-expected-rq-timeout-ms"
_MOST_S: Final = 86_400.0
_DIGITS: Final = re.compile(r"[0-9]{1,10}", re.ASCII)  # ten digits are 115 days

_T = TypeVar("_T")
_CAUSES: Final = 10  # looked at, one raised from the other; there may be a circle
_SLACK_S: Final = 0.002  # that a loop's timer may be early: uvloop's counts milliseconds
#: Not empty once the process has used a deadline.
in_use: list[None] = []
#: The globals of compiled wrappers.
wrapper_globals: dict[str, Any] = {"IN_USE": False}


class Deadline:
    """A time at which time is up, on a clock of its own.

    It was ``seconds`` away when it was set, and it is ``left`` once it holds for nobody.
    """

    __slots__ = ("at", "clock", "left", "outer", "seconds")

    def __init__(self, at: float, clock: Callable[[], float], outer: Deadline | None, seconds: float) -> None:
        self.at, self.clock, self.outer, self.seconds = at, clock, outer, seconds
        self.left = False

    def time_left(self) -> float:
        """Seconds; less than 0 when it has passed."""
        return self.at - self.clock()

    def sooner(self, seconds: float) -> Deadline | None:
        """Put the end in *seconds* in force if it is before this one, and return it, for give_back(); else None."""
        at = self.clock() + seconds
        if at >= self.at:
            return None
        end = Deadline(at, self.clock, self, seconds)
        _current.set(end)
        return end


_current: ContextVar[Deadline | None] = ContextVar("resilience_deadline", default=None)


def current() -> Deadline | None:
    """The end that is in force here."""
    end = _current.get()
    while end is not None and end.left:
        end = end.outer
    return end


def give_back(end: Deadline) -> None:
    """Put back what was in force before *end*, and drop what was put above it and never given back."""
    above = _current.get()
    while above is not None and above is not end:
        above = above.outer
    if above is None:
        end.left = True
    else:
        _current.set(end.outer)


def detach() -> None:
    """Let no deadline be in force here: what is called from now on is not its caller's."""
    _current.set(None)


def attach(end: Deadline) -> None:
    """Put *end* in force again, after detach()."""
    _current.set(end)


def run_under(end: Deadline | None, step: Callable[..., _T], *args: Any) -> _T:
    """Call *step* with *end* in force, and with what was in force before after it; None: call it as it is.

    It is for work in steps, between which others run in the same context.
    """
    if end is None:
        return step(*args)
    before = _current.get()
    try:
        _current.set(end)
        return step(*args)
    finally:
        _current.set(before)


def spent() -> bool:
    """Whether no time is left."""
    end = current()
    return end is not None and end.time_left() <= 0.0


wrapper_globals["spent"] = spent


def deadline_expired(error: BaseException) -> bool:
    """Whether *error* says that time ran out, and the deadline in force here is why: nobody else is to blame.

    Or it was raised from one that does: clients raise errors of their own from what their transport says. For a group,
    see in_haste().
    """
    end = current()
    if end is None or end.time_left() > _SLACK_S:
        return False
    cause: BaseException | None = error
    for _ in range(_CAUSES):
        if cause is None or matches(cause, (DeadlineExceededError, NoTimeLeftError)):
            return cause is not None
        cause = cause_of(cause)
    return False


def in_haste(error: BaseException) -> bool:
    """Whether deadline_expired() holds for *error* or a part of it, so that only this caller should get it."""
    return any(map(deadline_expired, parts(error)))


def shortened(seconds: float | None) -> float | None:
    """The seconds left, at least 0, if they are fewer than *seconds* (None: for ever); else None."""
    end = current()
    if end is None:
        return None
    left = end.time_left()
    return max(0.0, left) if seconds is None or left < seconds else None


def shorten(context: Context, seconds: float | None) -> None:
    """In *context*, a copy of this one, put the end in *seconds* in force if the present end is later."""
    end = current()
    if end is not None and seconds is not None:
        context.run(end.sooner, seconds)


def deadline_error(key: str, waited: float) -> DeadlineExceededError:
    """The error for a caller that had *waited* so many seconds when the deadline in force here passed."""
    end = current()
    return DeadlineExceededError(key, waited, None if end is None else end.seconds)


def waited_in_vain(waited: float, left: float) -> bool:
    """Whether a clock stands still while waits pass: it shows *left* seconds after a full wait for *waited*.

    Such a clock is frozen, or the wait was on an event loop with virtual time. A caller that relied on it would wait
    for ever, or spin. What is left must be more than a timer is ever early, and more than half of the wait, so that a
    clock that is merely slow is waited for.
    """
    return left > _SLACK_S and left > waited / 2


def remaining() -> float | None:
    """Seconds until the deadline in force, 0 or less when it has passed; None without one."""
    end = current()
    return None if end is None else end.time_left()


class Patience:
    """How long a caller with a deadline may wait. A caller without one has ``None`` in its place.

    Attributes:
        given: Seconds that the caller had at first.
    """

    __slots__ = ("_end", "_key", "given")

    def __init__(self, key: str, end: Deadline) -> None:
        """Begin to wait for what is called *key*.

        Raises:
            NoTimeLeftError: The deadline has passed.
        """
        self._key, self._end, self.given = key, end, end.time_left()
        if self.given <= 0.0:
            raise NoTimeLeftError(key)

    @classmethod
    def of(cls, key: str) -> Self | None:
        """The patience of a caller who waits for *key*: the deadline in force here; None if there is none."""
        end = current()
        return None if end is None else cls(key, end)

    def left(self) -> float:
        """Return the seconds that are left, more than 0.

        Raises:
            DeadlineExceededError: No time is left.
        """
        left = self._end.time_left()
        if left <= 0.0:
            raise self.lost()
        return left

    def lost(self) -> DeadlineExceededError:
        """The error to raise when no time is left."""
        return DeadlineExceededError(self._key, self.given, self._end.seconds)


def deadline_headers() -> dict[str, str]:
    """The header that tells the next service how many whole milliseconds are left; none without a deadline."""
    left = remaining()
    return {} if left is None else {DEADLINE_HEADER: str(max(0, math.floor(left * 1000)))}


def _clock(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    check_plain(value, attribute.name)


@strict
@attrs.define(eq=False)
class deadline:  # noqa: N801 - reads as a statement: with deadline(2.0)
    """Bounds all that is called inside ``with``, in tasks and worker threads too; the earliest of nested ones wins.

    One at a time; of use again after it has been left. Not for a ``with`` that a generator yields in: its consumer
    would be bounded too.

    Attributes:
        HEADER: The name of the header that tells the next service.
        seconds: From when it is entered; 0 or less: the time is up already; None: no bound.
        clock: Monotonic seconds; a registry's, if that has one of its own.
    """

    HEADER: ClassVar[str] = DEADLINE_HEADER

    seconds: float | None = attrs.field(validator=number(least=-_MOST_S, most=_MOST_S, optional=True))
    clock: Callable[[], float] = attrs.field(default=monotonic, kw_only=True, validator=_clock, repr=False)
    _entered: bool = attrs.field(default=False, init=False, repr=False)
    _end: Deadline | None = attrs.field(default=None, init=False, repr=False)

    @classmethod
    def from_header(cls, value: str | bytes | None, *, most: float | None = None,
                    clock: Callable[[], float] = monotonic) -> Self:
        """The deadline that a caller sent in DEADLINE_HEADER.

        Args:
            value: The header's, or None. What is no whole number of at most ten digits is as good as none.
            most: Seconds, if there is no header or it allows for more; None: no bound then.
            clock: Monotonic seconds.

        Raises:
            ConfigError: *most* is out of range.
        """
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        text = text.strip(" \t") if isinstance(text, str) else ""
        sent = min(int(text) / 1000, _MOST_S) if _DIGITS.fullmatch(text) else None
        own = cls(most, clock=clock)
        return own if sent is None or (most is not None and most <= sent) else cls(sent, clock=clock)

    def __enter__(self) -> Self:
        if self._entered:
            raise RuntimeError("this deadline has been entered already; make another")
        if not in_use:
            in_use.append(None)
            wrapper_globals["IN_USE"] = True
        outer, seconds = current(), self.seconds
        if seconds is not None and (outer is None or seconds < outer.time_left()):
            end = Deadline(self.clock() + seconds, self.clock, outer, seconds)
            try:
                _current.set(end)
            except BaseException:  # a signal handler's, and nobody would give the end back
                give_back(end)
                raise
            self._end = end
        self._entered = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        end, self._end, self._entered = self._end, None, False
        if end is not None:
            give_back(end)


def cease(entered: deadline) -> None:
    """Let a deadline that was entered hold for nobody any more, in whatever task or thread."""
    if entered._end is not None:
        entered._end.left = True
