"""Live changes: what type checkers see of the arguments of configure(), of one command and of all keys.

At run time they come from the policies' kits; a test holds the two together. A misspelt name is an error to a type
checker, too: beside the settings only policies of users' own have names, and no other value is one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from ..core.adaptive import AdaptiveLimit
from ..core.breaker import CircuitBreaker
from ..core.bulkhead import Bulkhead
from ..core.cache import Cache
from ..core.chaos import Chaos
from ..core.failover import Failover
from ..core.failure_rules import FailureRules, Rule
from ..core.hedge import Hedge
from ..core.rate_limit import RateLimit
from ..core.retry import Retry
from ..core.stream_timeout import StreamTimeout
from ..core.throttle import Throttle
from ..core.timeout import Timeout
from ..policies.custom import CustomPolicy

P = ParamSpec("P")
S = TypeVar("S")
#: The default of what a change may leave out: what is in force already.
GIVEN: Final[Any] = ...


def live_changes(
    *, timeout: float | Timeout | None = GIVEN, max_concurrent: int | Bulkhead | None = GIVEN,
    breaker: CircuitBreaker | None = GIVEN, cache: Cache | None = GIVEN, retry: Retry | None = GIVEN,
    failover: Failover | None = GIVEN, throttle: Throttle | None = GIVEN, rate_limit: RateLimit | None = GIVEN,
    adaptive_limit: AdaptiveLimit | None = GIVEN, stream_timeout: StreamTimeout | None = GIVEN,
    hedge: Hedge | None = GIVEN, failures: FailureRules | Rule | Iterable[Rule] | None = GIVEN,
    chaos: Chaos | None = GIVEN, shadow: bool | str | Iterable[str] = GIVEN, **own: CustomPolicy | None,
) -> None:
    """The arguments; it is never called."""


def takes(arguments: Callable[P, None]) -> Callable[[Callable[[S], None]], Callable[Concatenate[S, P], None]]:
    """Let type checkers, completion and help() see these *arguments* of a method that takes anything by name."""
    first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    shown = inspect.Signature([first, *inspect.signature(arguments).parameters.values()])

    def as_it_is(method: Any) -> Any:
        method.__signature__ = shown
        return method

    return as_it_is
