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
from typing import Any, Final, Literal

import attrs

from ..errors import BadRequestError, ConfigError, RejectedError, plain_number, seconds_text
from .budget import RetryBudget
from .callable_identity import by_identity
from .checks import (
    as_classes,
    callable_or_none,
    flag,
    number,
    one_of,
    ordinary_exceptions,
    strict,
    wrong_kind,
)
from .exception_groups import holds, matches
from .references import as_function, function_in_file, function_or_none


def budget_or_none(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """A validator."""
    if value is not None and not isinstance(value, RetryBudget):
        raise wrong_kind(attribute.name, RetryBudget, value)


#: What an attempt that nothing ends counts as, seconds.
_UNBOUNDED_S: Final = 10.0


@strict
@attrs.frozen(kw_only=True)
class Retry:
    """Retry policy: repeats a failed call after a growing, random delay, within a budget.

    Immutable: any number of commands and threads may share one.

    Attributes:
        attempts: Largest number of attempts, including the first.
        base: Delay before the second attempt, seconds, before jitter is applied.
        busy_base: The same after a call that found the target busy, as the command's failure rules say; at most
            ``busy_max_delay``.
        factor: Factor by which each further delay is longer than the one before.
        max_delay: Longest delay between two attempts, seconds.
        busy_max_delay: The same after a call that found the target busy; None: ``max_delay``.
        jitter: How the delay is randomised. "full": between 0 and the delay. "equal": between half the delay and the
            delay. "decorrelated": between ``base`` and three times the last delay. "none": exactly the delay.
        on: Classes of exceptions after which the call is repeated.
        unless: Classes of exceptions, among these, after which it is not.
        on_result: Function that is called with a result and returns whether the call is repeated; None: no result
            causes a retry.
        time_limit: Seconds after the start of the first attempt from which on no further attempt begins; None: as many
            as all attempts and all delays may take at most.
        respect_retry_after: Whether to wait at least as long as the target asks for: by ``retry_after`` (seconds or a
            timedelta) of the exception, or by a Retry-After header, in seconds, milliseconds or as a date, wherever
            the client library keeps that. If it exceeds ``max_delay``, or the target asks for no further attempt, the
            call is not repeated.
        retry_rejections: Whether to repeat calls that another policy of this library refused.
        budget: Limits the retries of the whole group in proportion to its calls; None: no limit.
        price: What a retry takes from the budget; 1 is one retry.
        busy_price: The same after a call that found the target busy.
        nested: What to do within a call that another command's retry repeats already. "once": make one attempt, and
            leave the others to that retry, so that retries inside each other do not multiply. "retry": repeat the call
            all the same.
        hold: Of a generator: how many of its first items are held back until all of them have come. Until its consumer
            has an item a stream can be tried again; 0: until the first comes.
        hold_bytes: The same in bytes: its first items are held back until they have so many, or ``hold`` have come if
            that is sooner. An item counts as one byte at least; 0: however many.
        hold_size: Function that is given an item and returns its bytes, for ``hold_bytes``; None: items are text, which
            counts as UTF-8, or bytes.
    """

    attempts: int = attrs.field(default=3, validator=number(least=2, most=1000, whole=True))
    base: float = attrs.field(default=0.1, validator=number(least=0, most=3600))
    busy_base: float = attrs.field(default=1.0, validator=number(least=0, most=3600))
    factor: float = attrs.field(default=2.0, validator=number(least=1, most=1000))
    max_delay: float = attrs.field(default=10.0, validator=number(above=0, most=86_400))
    busy_max_delay: float | None = attrs.field(default=None, validator=number(above=0, most=86_400, optional=True))
    jitter: Literal["full", "equal", "decorrelated", "none"] = attrs.field(
        default="full", validator=one_of("full", "equal", "decorrelated", "none"))
    on: tuple[type[Exception], ...] = attrs.field(
        default=(Exception,), converter=as_classes, validator=ordinary_exceptions)
    unless: tuple[type[Exception], ...] = attrs.field(default=(), converter=as_classes, validator=ordinary_exceptions)
    on_result: Callable[[Any], object] | None = attrs.field(default=None, validator=callable_or_none, eq=by_identity)
    time_limit: float | None = attrs.field(default=None, validator=number(above=0, most=86_400, optional=True))
    respect_retry_after: bool = attrs.field(default=True, validator=flag)
    retry_rejections: bool = attrs.field(default=False, validator=flag)
    budget: RetryBudget | None = attrs.field(factory=RetryBudget, validator=budget_or_none)
    price: float = attrs.field(default=1.0, validator=number(least=0, most=100))
    busy_price: float = attrs.field(default=1.0, validator=number(least=0, most=100))
    nested: Literal["once", "retry"] = attrs.field(default="once", validator=one_of("once", "retry"))
    hold: int = attrs.field(default=0, validator=number(least=0, most=100_000, whole=True))
    hold_bytes: int = attrs.field(default=0, validator=number(least=0, most=2**30, whole=True))
    hold_size: Callable[[Any], float] | None = attrs.field(
        default=None, converter=as_function, validator=function_or_none, eq=by_identity,
        metadata=function_in_file())

    def __attrs_post_init__(self) -> None:
        if self.base > self.max_delay:
            raise ConfigError(f"base must be at most max_delay ({plain_number(self.max_delay)}), not "
                              f"{plain_number(self.base)}", "base")


def most_held(policy: Retry) -> int:
    """How many first items may be held back, at most; 0: none are."""
    return min(filter(None, (policy.hold, policy.hold_bytes)), default=0)


def has_held_enough(policy: Retry, items: int, size: int) -> bool:
    """Return whether first items are passed on.

    Args:
        policy: The retry in force.
        items: How many are held back.
        size: Their bytes.
    """
    return not most_held(policy) or items >= policy.hold > 0 or size >= policy.hold_bytes > 0


def repeats(policy: Retry, error: BaseException) -> bool:
    """Return whether a call that raised *error* is repeated.

    Args:
        policy: The retry in force.
        error: What the attempt raised. Of an exception group all parts must qualify, because the next attempt may
            meet any of them again.
    """
    if not matches(error, policy.on) or holds(error, (BadRequestError, *policy.unless)):
        return False
    return policy.retry_rejections or not holds(error, RejectedError)


def longest_delay(policy: Retry, busy: bool = False) -> float:
    """Return the longest delay between two attempts, seconds.

    Args:
        policy: The retry in force.
        busy: Whether the last attempt found the target busy.
    """
    return policy.max_delay if not busy or policy.busy_max_delay is None else policy.busy_max_delay


def total_limit(policy: Retry, timeout: float | None, waits: float = 0.0) -> float:
    """Seconds after the start of the first attempt from which on no further attempt begins.

    Without a ``time_limit`` it is the time that all attempts and all delays may take at most. An attempt without a
    timeout counts as 10 s, or as the longest delay if that is longer.

    Args:
        policy: The retry in force.
        timeout: Seconds that an attempt may take; None: there is no timeout.
        waits: Seconds that an attempt may wait for its turn before that.
    """
    if policy.time_limit is not None:
        return policy.time_limit
    longest = max(longest_delay(policy), longest_delay(policy, busy=True))
    attempt = max(longest, _UNBOUNDED_S) if timeout is None else timeout
    return (policy.attempts - 1) * longest + policy.attempts * (attempt + waits)


def next_delay(policy: Retry, attempt: int, last_delay: float, elapsed: float, u: float, asked: float | None = None, *,
               busy: bool = False, timeout: float | None = None, waits: float = 0.0) -> tuple[float | None, str]:
    """Return the delay before the next attempt, and the reason if there is none.

    Args:
        policy: The retry in force.
        attempt: Number of attempts that have been made.
        last_delay: Seconds waited before the last attempt; 0 before the first.
        elapsed: Seconds since the first attempt began.
        u: A random number in [0, 1).
        asked: Seconds that the target asked to wait; None: it did not ask.
        busy: Whether the last attempt found the target busy.
        timeout: Seconds that an attempt may take; None: there is no timeout.
        waits: Seconds that an attempt may wait for its turn before that.

    Returns:
        Seconds, or None if there is no next attempt; and what prevents it. The latter is empty where all attempts
            are used up, which the caller knows.
    """
    if attempt >= policy.attempts:
        return None, ""
    delay, cap = _delay(policy, attempt, last_delay, u, busy), longest_delay(policy, busy)
    if asked is not None and policy.respect_retry_after and asked > delay:
        if asked > cap:
            name = "busy_max_delay" if busy and policy.busy_max_delay is not None else "max_delay"
            return None, (f"the target asks for a wait of {seconds_text(asked)}, longer than {name} "
                          f"({plain_number(cap)} s)")
        delay = asked
    limit = total_limit(policy, timeout, waits)
    if elapsed + delay > limit:
        name = "time_limit" if policy.time_limit is not None else "the time_limit that the other settings give"
        return None, f"{name} ({plain_number(limit)} s) leaves no time for another attempt"
    return delay, ""


def longest_pauses(policy: Retry) -> float:
    """Seconds that all pauses of a call take at most, by bad luck or because the target asks for it."""
    if policy.respect_retry_after:
        return max(longest_delay(policy), longest_delay(policy, busy=True)) * (policy.attempts - 1)
    last, total = 0.0, 0.0
    for attempt in range(1, policy.attempts):
        last = max(_delay(policy, attempt, last, 1.0), _delay(policy, attempt, last, 1.0, busy=True))
        total += last
    return total


def _delay(policy: Retry, attempt: int, last_delay: float, u: float, busy: bool = False) -> float:
    cap = longest_delay(policy, busy)
    base = min(policy.busy_base, cap) if busy else policy.base
    if policy.jitter == "decorrelated":
        return min(cap, base + u * (3.0 * max(last_delay, base) - base))
    try:
        delay = min(cap, base * policy.factor ** (attempt - 1))
    except OverflowError:
        delay = cap if base else 0.0
    if policy.jitter == "full":
        return delay * u
    return delay * (0.5 + u / 2) if policy.jitter == "equal" else delay
