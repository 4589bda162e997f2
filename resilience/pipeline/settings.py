"""Settings: what is in force for a command, whichever of decorators, files and handles said it."""

from __future__ import annotations

from typing import Any, Final

import attrs

from .policies import AdaptiveLimit, Cache, Chaos, CircuitBreaker, Hedge, RateLimit, Retry, ThreadPool, Throttle

#: Settings whose value is a policy that cannot be switched off while calls go on, and the policy's type.
KINDS: Final[dict[str, type[Any]]] = {
    "throttle": Throttle, "rate_limit": RateLimit, "adaptive_limit": AdaptiveLimit, "retry": Retry, "hedge": Hedge,
    "cache": Cache, "chaos": Chaos}
#: Settings that can be changed while calls go on.
LIVE: Final = ("timeout", "max_concurrent", "breaker", *KINDS, "shadow")


@attrs.frozen(kw_only=True)
class Settings:
    """What is in force for a command.

    Attributes:
        timeout: Seconds; None: no timeout.
        max_concurrent: Calls at once; None: no limit.
        isolation: "thread" if any of its functions runs on worker threads, else "semaphore".
        cache: None: no cache.
        retry: None: no retry.
        breaker: None: no breaker.
        throttle: None: no throttle.
        rate_limit: None: no rate limit.
        adaptive_limit: None: none; with one, ``max_concurrent`` is None, and a snapshot's tells what it found.
        hedge: None: no hedge.
        chaos: None: no chaos. With one there is chaos only while the registry says so.
        pool: The group's threads; None: in their default number.
        shadow: Gates that only count what they would refuse, by the names of their settings.
        has_fallback: Whether any of its functions has one.
        fallback_max_concurrent: How many fallbacks of one function may run at once.
    """

    timeout: float | None = None
    max_concurrent: int | None = None
    isolation: str = "semaphore"
    cache: Cache | None = None
    retry: Retry | None = None
    breaker: CircuitBreaker | None = None
    throttle: Throttle | None = None
    rate_limit: RateLimit | None = None
    adaptive_limit: AdaptiveLimit | None = None
    hedge: Hedge | None = None
    chaos: Chaos | None = None
    pool: ThreadPool | None = None
    shadow: tuple[str, ...] = ()
    has_fallback: bool = False
    fallback_max_concurrent: int = 10
