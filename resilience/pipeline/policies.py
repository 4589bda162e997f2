"""Policy values: what a user says about a command, and the one order they stand in.

A value is frozen and reusable; its machine is made per command. Outermost
first: fallback, cache, retry, breaker, throttle, rate limit, bulkhead or adaptive limit,
timeout, hedge, chaos. Each neighbour has its reason:

- a fallback answers for everything below it, so nothing may stand above it;
- a cache below the fallback keeps none of its answers, and above the rest answers while
  the circuit is open, and without taking a slot;
- a retry above the breaker makes each attempt a call that the breaker sees, and
  stops when the circuit opens; below it, three failures would count as one;
- a breaker above the bulkhead refuses without taking a slot, and a full
  bulkhead, which says something about us, is no failure of the target;
- a throttle below the breaker is not asked while the circuit is open, and what
  it refuses takes no slot;
- a rate limit is met by each attempt, spends nothing on what breaker and throttle
  refuse, and holds no slot while a call waits for its turn;
- an adaptive limit is a bulkhead that finds its own size, and stands in its place;
- a timeout below all of them is seen by the breaker as a failure, and ends a call while
  its slot is held; above them it would cancel them, which tells them nothing;
- a hedge below the timeout shares one time among its attempts, and looks like one call
  to all above it;
- chaos at the bottom is to all of them the target's own doing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from ..core.adaptive import AdaptiveLimit
from ..core.breaker import CircuitBreaker
from ..core.bulkhead import Bulkhead
from ..core.cache import Cache
from ..core.chaos import Chaos
from ..core.checks import nearest, number, ordinary_exceptions, strict
from ..core.hedge import Hedge
from ..core.rate_limit import RateLimit
from ..core.retry import Retry
from ..core.throttle import Throttle
from ..errors import ConfigError

__all__ = ["GATES", "ORDER", "REASONS", "AdaptiveLimit", "Bulkhead", "Cache", "Chaos", "CircuitBreaker", "Fallback",
           "Hedge", "Policy", "RateLimit", "Retry", "Shadow", "ThreadPool", "Throttle", "Timeout", "in_order"]

DEFAULT_FALLBACK_CONCURRENCY: Final = 10  # Hystrix: fallback.isolation.semaphore.maxConcurrentRequests


@strict
@attrs.frozen
class Timeout:
    """Give up after ``timeout`` seconds; None: never."""

    timeout: float | None = attrs.field(default=1.0, validator=number(above=0, most=86_400.0, optional=True))


def takes_error(function: Callable[..., Any]) -> bool:
    """Whether a keyword argument ``error`` would go to a parameter of that name."""
    try:
        parameter = inspect.signature(function).parameters.get("error")
    except (TypeError, ValueError):  # some builtins have no signature
        return False
    return parameter is not None and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)


def _fallback_types(value: Any) -> Any:
    return (value,) if isinstance(value, type) else value


def _callable(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not callable(value):
        raise TypeError(f"{attribute.name} of a fallback must be callable, not {value!r}")


@strict
@attrs.frozen
class Fallback:
    """What to answer instead of an error.

    Attributes:
        function: Called with the call's own arguments; a parameter named ``error`` gets the exception.
        on: Exceptions it answers for; every other passes through.
        max_concurrent: How many may run at once; one more is refused with FallbackRejectedError.
    """

    function: Callable[..., Any] = attrs.field(validator=_callable)
    on: tuple[type[Exception], ...] = attrs.field(
        default=(Exception,), kw_only=True, converter=_fallback_types, validator=ordinary_exceptions
    )
    max_concurrent: int = attrs.field(
        default=DEFAULT_FALLBACK_CONCURRENCY, kw_only=True, validator=number(least=1, most=1_000_000, whole=True)
    )

    def wants_error(self) -> bool:
        """Whether the function has a parameter named ``error``."""
        return takes_error(self.function)


@strict
@attrs.frozen(kw_only=True)
class ThreadPool:
    """The threads that a group's isolated calls share.

    Attributes:
        size: Threads at most.
        max_queue: Calls that may wait for a thread; what has expired while waiting never starts.
    """

    size: int = attrs.field(default=10, validator=number(least=1, most=10_000, whole=True))
    max_queue: int = attrs.field(default=0, validator=number(least=0, most=1_000_000, whole=True))


#: Policies that may refuse a call, and so may be in shadow mode; by the names of their settings.
GATES: Final[dict[str, type[Any]]] = {
    "breaker": CircuitBreaker, "throttle": Throttle, "rate_limit": RateLimit, "max_concurrent": Bulkhead,
    "adaptive_limit": AdaptiveLimit}


def _gates(value: Any) -> Any:
    if isinstance(value, bool):
        return tuple(GATES) if value else ()
    if not isinstance(value, (tuple, list, set, frozenset)):
        return value
    known = tuple(gate for gate in GATES if gate in value)
    return known if len(known) == len(set(value)) else tuple(value)


def _gate(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, tuple) or any(each not in GATES for each in value):
        near = [nearest(each, GATES) for each in value if isinstance(each, str)] if isinstance(value, tuple) else []
        hint = f"; did you mean {', '.join(map(str, near))}?" if near and None not in near else ""
        raise ConfigError(f"{attribute.name} must be True, False or some of {', '.join(GATES)}, not {value!r}{hint}",
                          attribute.name)


_gate.json_schema = {"items": {"enum": list(GATES)}}  # type: ignore[attr-defined]


@strict
@attrs.frozen
class Shadow:
    """Gates that only count what they would refuse: names of settings; True: all of them."""

    shadow: tuple[str, ...] = attrs.field(default=(), converter=_gates, validator=_gate)

    def of(self, policies: Sequence[Any], *, named: bool) -> tuple[str, ...]:
        """Those that are among *policies*.

        Raises:
            ConfigError: One that was *named* is not.
        """
        present = {type(policy) for policy in policies}
        missing = [name for name in self.shadow if GATES[name] not in present]
        if missing and named:
            raise ConfigError(f"shadow: there is no {GATES[missing[0]].__name__} here that could be in shadow mode",
                              "shadow")
        return tuple(name for name in self.shadow if name not in missing)


Policy = (Fallback | Cache | Retry | CircuitBreaker | Throttle | RateLimit | Bulkhead | AdaptiveLimit | Timeout | Hedge
          | Chaos)

ORDER: Final[tuple[type[Policy], ...]] = (
    Fallback, Cache, Retry, CircuitBreaker, Throttle, RateLimit, Bulkhead, AdaptiveLimit, Timeout, Hedge, Chaos)

#: Why the first may not stand below the second.
REASONS: Final[dict[tuple[type[Policy], type[Policy]], str]] = {
    (Fallback, CircuitBreaker): "the breaker would count the fallback's answers and never see a failure",
    (Fallback, Bulkhead): "the fallback could not answer for a full bulkhead",
    (Fallback, Timeout): "the fallback could not answer for a timeout, and would itself be cut off by it",
    (Fallback, Cache): "the cache would keep the fallback's answers",
    **{(Cache, policy): "an answer that is there already would have to pass it"
       for policy in (Retry, CircuitBreaker, Throttle, RateLimit, Bulkhead, AdaptiveLimit, Timeout, Hedge)},
    (Fallback, Retry): "the retry would see the fallback's answers and never a failure",
    (Retry, CircuitBreaker): "the breaker would see one failure for all attempts, and the retry would go on against "
                             "an open circuit",
    (Retry, Throttle): "the throttle would see one call for all attempts",
    (Retry, Bulkhead): "a slot would be held while the retry pauses",
    (Retry, AdaptiveLimit): "a slot would be held while the retry pauses, and the limit would learn from the pauses",
    (Retry, Timeout): "one timeout would cover all attempts and their pauses; that is the retry's time_limit",
    (Fallback, Throttle): "the fallback could not answer for what the throttle refuses",
    (Fallback, AdaptiveLimit): "the fallback could not answer for what the limit refuses",
    (CircuitBreaker, Throttle): "the throttle would count what the open circuit refuses as not accepted",
    (CircuitBreaker, AdaptiveLimit): "a call that the open circuit refuses would take a slot from one that could run",
    (Throttle, Bulkhead): "a call that the throttle refuses would take a slot from one that could run",
    (Throttle, AdaptiveLimit): "a call that the throttle refuses would take a slot from one that could run",
    (Throttle, Timeout): "a timeout above the throttle is a cancellation to it: it would never count one",
    (AdaptiveLimit, Timeout): "a timeout above the limit is a cancellation to it: it would learn nothing from one",
    (CircuitBreaker, Bulkhead): "a call that the open circuit refuses would take a slot from one that could run",
    (CircuitBreaker, Timeout): "a timeout above the breaker is a cancellation to it: it would never count one",
    (Bulkhead, Timeout): "the timeout would end before the slot is given back, and give up calls that never began",
    (Fallback, RateLimit): "the fallback could not answer for what the rate limit refuses",
    (Retry, RateLimit): "only the first attempt would be counted against the rate",
    (CircuitBreaker, RateLimit): "a call that the open circuit refuses would use up the rate of one that could run",
    (Throttle, RateLimit): "a call that the throttle refuses would use up the rate of one that could run",
    (RateLimit, Bulkhead): "a slot would be held while a call waits for its turn",
    (RateLimit, AdaptiveLimit): "a slot would be held while a call waits for its turn, and the limit would learn from "
                                "the waits",
    (RateLimit, Timeout): "the wait for a turn would use up the timeout; max_wait bounds it",
    (Fallback, Hedge): "a fallback's answer would win over an attempt that is still out",
    (Retry, Hedge): "an attempt would be hedged that is being retried already; of a hedge that failed the whole is "
                    "tried again",
    (CircuitBreaker, Hedge): "the breaker would see two calls of one, and the loser's cancellation",
    (Throttle, Hedge): "the throttle would see two calls of one",
    (RateLimit, Hedge): "a second attempt would wait in line behind the calls that came after the first",
    (Bulkhead, Hedge): "a second attempt would be refused by a bulkhead that the first still fills, and fail the call",
    (AdaptiveLimit, Hedge): "the limit would learn from losers that were cancelled",
    (Timeout, Hedge): "each attempt would have the whole timeout, and the call up to twice of it",
    **{(policy, Chaos): "chaos is to look like the target's own faults, which it would not see"
       for policy in (Fallback, Cache, Retry, CircuitBreaker, Throttle, RateLimit, Bulkhead, AdaptiveLimit, Timeout,
                      Hedge)},
}


def in_order(policies: Sequence[Policy]) -> None:
    """Check that *policies*, outermost first, stand in the one order, each kind at most once.

    Raises:
        ConfigError: With the reason and the right order.
        TypeError: Something in it is no policy.
    """
    for policy in policies:
        if not isinstance(policy, ORDER):
            raise TypeError(f"a pipeline is made of policies such as Timeout(0.5), not {policy!r}")
    for i, outer in enumerate(policies):
        for inner in policies[i + 1 :]:
            if {type(outer), type(inner)} == {Bulkhead, AdaptiveLimit}:
                raise ConfigError("Bulkhead and AdaptiveLimit both say how many calls may run at once; keep one of "
                                  "them", "adaptive_limit")
            if type(outer) is type(inner):
                raise ConfigError(f"{type(outer).__name__} stands twice in one stack; keep one of them")
            if ORDER.index(type(outer)) > ORDER.index(type(inner)):
                right = sorted(policies, key=lambda policy: ORDER.index(type(policy)))
                raise ConfigError(
                    f"{type(inner).__name__} must stand above {type(outer).__name__}: "
                    f"{REASONS[type(inner), type(outer)]}. "
                    f"The right order, outermost first: {', '.join(type(policy).__name__ for policy in right)}")
