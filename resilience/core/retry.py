"""Retry: whether to try again, and after how long.

A call that failed by bad luck works the second time; one that failed because the
target is overloaded makes it worse. So delays grow (``factor``), are spread at
random (``jitter``, after the AWS architecture blog's "Exponential backoff and
jitter"), end (``attempts``, ``time_limit``), heed what the target asks for
(Retry-After), and are rationed over a group (budget.py).

What is never tried again: what the caller is to blame for, a cancellation, and,
unless told otherwise, the refusal of one of our own policies, since the next
attempt would meet the same circuit.

The machine keeps nothing between calls: who retries tells it the attempt, the
delay before it and the time since the first began, and draws the random number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import attrs

from ..errors import BadRequestError, ConfigError, RejectedError, plain_number, seconds_text
from .budget import RetryBudget
from .checks import as_classes, by_identity, callable_or_none, flag, number, ordinary_exceptions, strict, wrong_kind
from .exception_groups import holds, is_group, matches, parts

_JITTERS = ("full", "equal", "decorrelated", "none")


def _jitter(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value not in _JITTERS:
        raise ConfigError(f"{attribute.name} must be one of {', '.join(_JITTERS)}, not {value!r}", attribute.name)


def budget_or_none(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """A validator."""
    if value is not None and not isinstance(value, RetryBudget):
        raise wrong_kind(attribute.name, RetryBudget, value)


@strict
@attrs.frozen(kw_only=True)
class Retry:
    """Retry policy: repeats a failed call after a growing, random delay, within a budget.

    Immutable: any number of commands and threads may share one.

    Attributes:
        attempts: Largest number of attempts, including the first.
        base: Delay before the second attempt, seconds, before jitter is applied.
        factor: Factor by which each further delay is longer than the one before.
        max_delay: Longest delay between two attempts, seconds.
        jitter: How the delay is randomised. "full": between 0 and the delay. "equal": between half the delay and the
            delay. "decorrelated": between ``base`` and three times the last delay. "none": exactly the delay.
        on: Classes of exceptions after which the call is repeated.
        unless: Classes of exceptions, among these, after which it is not.
        on_result: Function that is called with a result and returns whether the call is repeated; None: no result
            causes a retry.
        time_limit: Seconds after the start of the first attempt from which on no further attempt begins; None: no
            limit.
        respect_retry_after: Whether to wait at least as long as the exception's ``retry_after`` (seconds) or the
            Retry-After header of its response asks for. If that exceeds ``max_delay``, the call is not repeated.
        retry_rejections: Whether to repeat calls that another policy of this library refused.
        budget: Limits the retries of the whole group in proportion to its calls; None: no limit.
    """

    attempts: int = attrs.field(default=3, validator=number(least=2, most=1000, whole=True))
    base: float = attrs.field(default=0.1, validator=number(least=0, most=3600))
    factor: float = attrs.field(default=2.0, validator=number(least=1, most=1000))
    max_delay: float = attrs.field(default=10.0, validator=number(above=0, most=86_400))
    jitter: Literal["full", "equal", "decorrelated", "none"] = attrs.field(default="full", validator=_jitter)
    on: tuple[type[Exception], ...] = attrs.field(
        default=(Exception,), converter=as_classes, validator=ordinary_exceptions)
    unless: tuple[type[Exception], ...] = attrs.field(default=(), converter=as_classes, validator=ordinary_exceptions)
    on_result: Callable[[Any], object] | None = attrs.field(default=None, validator=callable_or_none, eq=by_identity)
    time_limit: float | None = attrs.field(default=None, validator=number(above=0, most=86_400, optional=True))
    respect_retry_after: bool = attrs.field(default=True, validator=flag)
    retry_rejections: bool = attrs.field(default=False, validator=flag)
    budget: RetryBudget | None = attrs.field(factory=RetryBudget, validator=budget_or_none)

    def __attrs_post_init__(self) -> None:
        if self.base > self.max_delay:
            raise ConfigError(f"base must be at most max_delay ({plain_number(self.max_delay)}), not "
                              f"{plain_number(self.base)}", "base")

    def wanted(self, error: BaseException) -> bool:
        """Return whether a call that raised *error* is repeated.

        Args:
            error: What the attempt raised. Of an exception group all parts must qualify, because the next attempt may
                meet any of them again.
        """
        if not matches(error, self.on) or holds(error, (BadRequestError, *self.unless)):
            return False
        return self.retry_rejections or not holds(error, RejectedError)

    def after(self, attempt: int, last_delay: float, elapsed: float, u: float,
              asked: float | None = None) -> float | None:
        """Return the delay before the next attempt.

        Args:
            attempt: Number of attempts that have been made.
            last_delay: Seconds waited before the last attempt; 0 before the first.
            elapsed: Seconds since the first attempt began.
            u: A random number in [0, 1).
            asked: Seconds that the target asked to wait; None: it did not ask.

        Returns:
            Seconds, or None if there is no next attempt.
        """
        return self.next(attempt, last_delay, elapsed, u, asked)[0]

    def next(self, attempt: int, last_delay: float, elapsed: float, u: float,
             asked: float | None = None) -> tuple[float | None, str]:
        """Return the delay before the next attempt, as after() does, and the reason if there is none.

        Args:
            attempt: Number of attempts that have been made.
            last_delay: Seconds waited before the last attempt; 0 before the first.
            elapsed: Seconds since the first attempt began.
            u: A random number in [0, 1).
            asked: Seconds that the target asked to wait; None: it did not ask.

        Returns:
            Seconds, or None if there is no next attempt; and what prevents it. The latter is empty where all attempts
                are used up, which the caller knows.
        """
        if attempt >= self.attempts:
            return None, ""
        delay = self._delay(attempt, last_delay, u)
        if asked is not None and self.respect_retry_after and asked > delay:
            if asked > self.max_delay:
                return None, (f"the target asks for a wait of {seconds_text(asked)}, longer than max_delay "
                              f"({plain_number(self.max_delay)} s)")
            delay = asked
        if self.time_limit is not None and elapsed + delay > self.time_limit:
            return None, f"time_limit ({plain_number(self.time_limit)} s) leaves no time for another attempt"
        return delay, ""

    def longest_pauses(self) -> float:
        """Seconds that all pauses of a call take at most, by bad luck or because the target asks for it."""
        if self.respect_retry_after:
            return self.max_delay * (self.attempts - 1)
        last, total = 0.0, 0.0
        for attempt in range(1, self.attempts):
            last = self._delay(attempt, last, 1.0)
            total += last
        return total

    def _delay(self, attempt: int, last_delay: float, u: float) -> float:
        if self.jitter == "decorrelated":
            return min(self.max_delay, self.base + u * (3.0 * max(last_delay, self.base) - self.base))
        try:
            delay = min(self.max_delay, self.base * self.factor ** (attempt - 1))
        except OverflowError:
            delay = self.max_delay
        if self.jitter == "full":
            return delay * u
        return delay * (0.5 + u / 2) if self.jitter == "equal" else delay


def asked_for(error: BaseException) -> float | None:
    """Seconds that *error* asks to wait: its ``retry_after``, or its response's Retry-After header in seconds.

    Of a group the longest that a part asks for. An HTTP date is not read: it means the other machine's clock.
    """
    if is_group(error):
        return max((asked for part in parts(error) if (asked := _asked_for(part)) is not None), default=None)
    return _asked_for(error)


def _asked_for(error: BaseException) -> float | None:
    try:
        asked: Any = getattr(error, "retry_after", None)
        if asked is None:
            headers = getattr(getattr(error, "response", None), "headers", None)
            asked = headers.get("Retry-After") if headers is not None else None
        if asked is None:
            return None
        seconds = float(asked)
    except Exception:  # noqa: BLE001 - somebody else's object: its properties may raise, and be anything
        return None
    return seconds if 0 <= seconds < float("inf") else None
