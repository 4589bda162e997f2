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

from ..errors import BadRequestError, ConfigError, RejectedError
from .budget import RetryBudget
from .checks import by_identity, callable_or_none, flag, number, ordinary_exceptions, strict
from .exception_groups import holds, is_group, matches, parts

_JITTERS = ("full", "equal", "decorrelated", "none")


def _jitter(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value not in _JITTERS:
        raise ConfigError(f"{attribute.name} must be one of {', '.join(_JITTERS)}, not {value!r}", attribute.name)


def budget_or_none(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """A validator."""
    if value is not None and not isinstance(value, RetryBudget):
        raise ConfigError(f"{attribute.name} must be a RetryBudget or None, not {value!r}", attribute.name)


def _types(value: Any) -> Any:
    return (value,) if isinstance(value, type) else value


@strict
@attrs.frozen(kw_only=True)
class Retry:
    """What to try again, how often and after how long.

    Attributes:
        attempts: In all, the first included.
        base: Delay before the second attempt, seconds, before jitter.
        factor: What each further delay is multiplied by.
        max_delay: Where that growth ends, seconds.
        jitter: "full": anything up to the delay. "equal": half of it, and anything up to the other half.
            "decorrelated": from base to three times the last delay. "none": the delay itself.
        on: Exceptions to try again after.
        unless: Of these, those not to.
        on_result: Called with a result, says whether to try again; None: a result is an answer.
        time_limit: No attempt begins later than so many seconds after the first; None: no limit.
        respect_retry_after: Wait at least as long as an exception's ``retry_after`` (seconds) or its response's
            Retry-After header asks for; longer than max_delay is too long to wait, and the error comes through.
        retry_rejections: Try again after refusals of our own policies too.
        budget: Rations the retries of the whole group; None: no ration.
    """

    attempts: int = attrs.field(default=3, validator=number(least=2, most=1000, whole=True))
    base: float = attrs.field(default=0.1, validator=number(least=0, most=3600))
    factor: float = attrs.field(default=2.0, validator=number(least=1, most=1000))
    max_delay: float = attrs.field(default=10.0, validator=number(above=0, most=86_400))
    jitter: Literal["full", "equal", "decorrelated", "none"] = attrs.field(default="full", validator=_jitter)
    on: tuple[type[Exception], ...] = attrs.field(
        default=(Exception,), converter=_types, validator=ordinary_exceptions)
    unless: tuple[type[Exception], ...] = attrs.field(default=(), converter=_types, validator=ordinary_exceptions)
    on_result: Callable[[Any], object] | None = attrs.field(default=None, validator=callable_or_none, eq=by_identity)
    time_limit: float | None = attrs.field(default=None, validator=number(above=0, most=86_400, optional=True))
    respect_retry_after: bool = attrs.field(default=True, validator=flag)
    retry_rejections: bool = attrs.field(default=False, validator=flag)
    budget: RetryBudget | None = attrs.field(factory=RetryBudget, validator=budget_or_none)

    def __attrs_post_init__(self) -> None:
        if self.base > self.max_delay:
            raise ConfigError(f"base must be at most max_delay ({self.max_delay:g}), not {self.base:g}", "base")

    def wanted(self, error: BaseException) -> bool:
        """Whether *error* is one to try again after.

        Of a group all parts must be, for the next attempt meets the others again.
        """
        if not matches(error, self.on) or holds(error, (BadRequestError, *self.unless)):
            return False
        return self.retry_rejections or not holds(error, RejectedError)

    def after(self, attempt: int, last_delay: float, elapsed: float, u: float,
              asked: float | None = None) -> float | None:
        """How long to wait before the next attempt.

        Args:
            attempt: How many have been made.
            last_delay: Seconds waited before the last one; 0 before the first.
            elapsed: Seconds since the first began.
            u: A random number in [0, 1).
            asked: Seconds that the target asked for; None: it did not.

        Returns:
            Seconds, or None: there is no next attempt.
        """
        return self.next(attempt, last_delay, elapsed, u, asked)[0]

    def next(self, attempt: int, last_delay: float, elapsed: float, u: float,
             asked: float | None = None) -> tuple[float | None, str]:
        """How long to wait before the next attempt, as after() says; and if there is none, what is in its way.

        That is empty for the number of attempts, which whoever counts them knows.
        """
        if attempt >= self.attempts:
            return None, ""
        delay = self._delay(attempt, last_delay, u)
        if asked is not None and self.respect_retry_after and asked > delay:
            if asked > self.max_delay:
                return None, (f"the target asks for a wait of {asked:.3g} s, longer than max_delay "
                              f"({self.max_delay:g} s)")
            delay = asked
        if self.time_limit is not None and elapsed + delay > self.time_limit:
            return None, f"time_limit ({self.time_limit:g} s) leaves no time for another attempt"
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
            return min(self.max_delay, self.base + u * max(0.0, 3.0 * max(last_delay, self.base) - self.base))
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
