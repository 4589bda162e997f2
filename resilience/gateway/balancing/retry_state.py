"""RetryState: one request's way over the endpoints of a service, after a first attempt has failed. Pure.

| an attempt | and then |
|---|---|
| was refused by the endpoint's own command | the next endpoint at once, for nothing |
| was not sent: there was no connection | the next endpoint at once, for nothing, whatever the method |
| was not answered in time | the next at once |
| broke off, or was answered with nonsense or a status to retry | the same after a delay, then the next |
| had an answer that a rule wants from the same again | the same after a delay, or what it asks for (``max_delay``) |
| found the endpoint busy | the next at once; if there is none, the same after what it asks for, up to ``max_delay`` |

The same endpoint is asked ``per_endpoint`` times, or as often as a rule says. What was sent, as all but the first two
rows say, is repeated only if that does no harm (the method is idempotent, or the service is ``repeatable``),
``attempts`` times at most, and each takes a token of the budget. A token that was taken for an attempt which was then
not sent serves for the one after it, and goes back if there is none. Once the attempt was sent, the token is spent,
however that ends.

A hedged request has two ways at the same time, each with a state of its own. They never meet at an endpoint, and
``attempts`` is for both together.
"""

from __future__ import annotations

import enum
from typing import Final

import attrs

from ...core.budget import Budget, RetryBudget
from ...core.checks import flag, number
from ...core.http_status import as_codes, codes_checked, codes_of
from ...core.retry import Retry, budget_or_none, next_delay
from ...errors import ConfigError
from .endpoint_state import EndpointState

#: Methods that may be sent twice (RFC 9110, section 9.2.2).
IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})


@attrs.frozen(kw_only=True)
class Repetition:
    """The ``[services.NAME.retry]`` table: what becomes of a request that was sent, and failed.

    Attributes:
        attempts: How often one request is sent, at most; 1: never again.
        per_endpoint: How often to the same endpoint before the next.
        statuses: Answers after which it is sent again.
        repeatable: Whether requests with methods that are not idempotent may be sent twice.
        base: Delay before the same endpoint is asked again, seconds, before jitter; it doubles each time.
        max_delay: The longest delay, and the longest that a busy endpoint's Retry-After is waited for, seconds.
        budget: Limits them in proportion to all requests of the service; None (``false``): no limit.
        replay_body: Bytes of a request's body that are kept so that it can be sent again.
    """

    attempts: int = attrs.field(default=3, validator=number(least=1, most=100, whole=True))
    per_endpoint: int = attrs.field(default=1, validator=number(least=1, most=100, whole=True))
    statuses: tuple[int | str, ...] = attrs.field(default=(502, 503, 504), converter=as_codes, validator=codes_checked)
    repeatable: bool = attrs.field(default=False, validator=flag)
    base: float = attrs.field(default=0.05, validator=number(least=0, most=3600))
    max_delay: float = attrs.field(default=1.0, validator=number(above=0, most=3600))
    budget: RetryBudget | None = attrs.field(factory=RetryBudget, validator=budget_or_none)
    replay_body: int = attrs.field(default=64 * 1024, validator=number(least=0, most=1 << 30, whole=True))

    def __attrs_post_init__(self) -> None:
        if self.base > self.max_delay:
            raise ConfigError(f"base must be at most max_delay ({self.max_delay:g}), not {self.base:g}", "base")

    @property
    def codes(self) -> frozenset[int]:
        """The statuses as numbers."""
        return codes_of("statuses", self.statuses)

    @property
    def delays(self) -> Retry:
        """What says how long to wait before the same endpoint is asked again."""
        return Retry(attempts=1000, base=self.base, max_delay=self.max_delay, time_limit=86_400.0, budget=None)


class Ending(enum.Enum):
    """How an attempt has failed."""

    REFUSED = "refused"
    UNSENT = "unsent"
    LATE = "late"
    BROKEN = "broken"
    STATUS = "status"
    BUSY = "busy"
    AGAIN = "again"


class RetryDecision(enum.Enum):
    """What follows."""

    NEXT = "next"
    SAME = "same"
    STOP = "stop"


@attrs.define(eq=False)
class AttemptsSoFar:
    """Where one request was, on all of its ways.

    Attributes:
        tried: The endpoints that are not asked again.
        sent: How many attempts were sent and have failed.
        ways: How many ways are not over.
    """

    tried: set[EndpointState] = attrs.field(factory=set)
    sent: int = 0
    ways: int = 1


class RetryState:
    """One request's way. Of one task.

    Attributes:
        so_far: Of this way, and of those beside it.
    """

    __slots__ = ("_budget", "_delays", "_here", "_is_over", "_is_paid", "_repetition", "may_repeat", "so_far")

    def __init__(self, repetition: Repetition | None, delays: Retry | None, budget: Budget | None,
                 may_repeat: bool, so_far: AttemptsSoFar | None = None) -> None:
        """Nothing has happened yet.

        Args:
            repetition: None: what was sent is never sent again.
            delays: Of the repetition.
            budget: Of the service; None: no limit.
            may_repeat: Whether sending it twice does no harm.
            so_far: Of the request; None: this is its first way.
        """
        self._repetition, self._delays, self._budget = repetition, delays, budget
        self.may_repeat = may_repeat and repetition is not None
        self.so_far = AttemptsSoFar() if so_far is None else so_far
        self._here = 0
        self._is_paid = self._is_over = False

    @property
    def tried(self) -> set[EndpointState]:
        """The endpoints that are not asked again."""
        return self.so_far.tried

    def could_repeat(self) -> bool:
        """Whether an attempt that was sent may be followed by another, as far as is known before its end."""
        so_far = self.so_far
        return self.may_repeat and self._repetition is not None and (
            so_far.sent + so_far.ways < self._repetition.attempts)

    def hedge(self, now: float) -> RetryState | None:
        """The state of a second way beside this one; None: the attempts are used up, or there is no token.

        The first hedge is allowed whatever ``attempts`` says, since it was asked for.
        """
        so_far = self.so_far
        if (so_far.sent and not self.could_repeat()) or (self._budget is not None and not self._budget.withdraw(now)):
            return None
        so_far.ways += 1
        other = RetryState(self._repetition, self._delays, self._budget, self.may_repeat, so_far)
        other._is_paid = True
        return other

    def after(self, ending: Ending, state: EndpointState, asked: float | None, has_other: bool, now: float,
              u: float) -> tuple[RetryDecision, float]:
        """What follows an attempt that failed, and after how many seconds.

        Args:
            ending: How it failed.
            state: Of its endpoint.
            asked: Seconds for which the endpoint asks to be left alone; None: it does not ask.
            has_other: Whether there are endpoints that were not asked yet.
            now: The time, seconds.
            u: A random number in [0, 1).
        """
        if ending in (Ending.REFUSED, Ending.UNSENT):
            return self._next(state, has_other)
        so_far, repetition = self.so_far, self._repetition
        so_far.sent += 1
        self._here += 1
        self._is_paid = False
        if repetition is None or not self.may_repeat or so_far.sent + so_far.ways > repetition.attempts:
            return RetryDecision.STOP, 0.0
        delay = self._delay_here(ending, asked, has_other, u)
        if delay is None and not has_other:
            return RetryDecision.STOP, 0.0
        if self._budget is not None:
            if not self._budget.withdraw(now):
                return RetryDecision.STOP, 0.0
            self._is_paid = True
        return self._next(state, has_other) if delay is None else (RetryDecision.SAME, delay)

    def stop(self, *, was_sent: bool = False) -> None:
        """There will be no further attempt: what was paid for one goes back, unless that *was_sent*. May come twice."""
        if not self._is_over:
            self._is_over = True
            self.so_far.ways -= 1
        if self._is_paid and not was_sent and self._budget is not None:
            self._budget.refund()
        self._is_paid = False

    def _next(self, state: EndpointState, has_other: bool) -> tuple[RetryDecision, float]:
        self.tried.add(state)
        self._here = 0
        return (RetryDecision.NEXT if has_other else RetryDecision.STOP), 0.0

    def _delay_here(self, ending: Ending, asked: float | None, has_other: bool, u: float) -> float | None:
        """Seconds after which the same endpoint is asked again; None: it is not."""
        repetition, delays = self._repetition, self._delays
        assert repetition is not None
        assert delays is not None
        if ending is Ending.BUSY:
            return None if has_other or asked is None or asked > repetition.max_delay else asked
        if ending is Ending.AGAIN:
            if asked is not None:
                return asked if asked <= repetition.max_delay else None
        elif self._here >= repetition.per_endpoint or ending is Ending.LATE:
            return None
        return next_delay(delays, self._here, 0.0, 0.0, u)[0]
