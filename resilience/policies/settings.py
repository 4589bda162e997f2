"""Settings: what is in force for a command, whichever of decorators, files and handles said it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from ..core.adaptive import AdaptiveLimit
from ..core.breaker import CircuitBreaker
from ..core.bulkhead import Bulkhead
from ..core.cache import Cache
from ..core.chaos import Chaos
from ..core.failover import Failover
from ..core.failure_rules import FailureRules
from ..core.hedge import Hedge
from ..core.plain_numbers import bare_number, keep
from ..core.rate_limit import RateLimit
from ..core.retry import Retry
from ..core.stream_timeout import StreamTimeout
from ..core.thread_pool import ThreadPool
from ..core.throttle import Throttle
from .order import kit_named, setting_kits
from .shadow import Shadow


def _frozen(values: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted((name, value) for name, value in dict(values).items() if value is not None))


def _kept_bare(settings: Settings, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Let *settings* have the number alone of what a policy has checked; see core.checks."""
    keep(settings, attribute, value, bare_number(value))


@attrs.frozen(kw_only=True)
class Settings:
    """The settings in force for a command, whether decorators, a file or its handle gave them. Immutable.

    Attributes:
        timeout: Seconds that a call may take; None: no timeout.
        max_concurrent: Largest number of calls that run at once, or a Bulkhead if it has further settings; None: no
            limit.
        isolation: "thread" if any of the command's functions runs on worker threads, else "semaphore".
        cache: The cache policy; None: no cache.
        retry: The retry policy; None: no retries.
        failover: The failover policy; None: the function has one target.
        breaker: The circuit breaker policy; None: no breaker.
        throttle: The throttling policy; None: no throttle.
        rate_limit: The rate limit policy; None: no rate limit.
        adaptive_limit: The adaptive limit policy; None: none. With one, ``max_concurrent`` is None, and a snapshot's
            ``max_concurrent`` is the limit that it found.
        stream_timeout: The stream timeout policy; None: none. With one, ``timeout`` is None.
        hedge: The hedging policy; None: no hedge.
        chaos: The chaos policy; None: none. It does nothing before the registry starts it.
        failures: The rules that say what a call amounts to; None: every exception is a failure, and no result is.
        pool: The worker threads of the group; None: no pool was asked for.
        shadow: Names of the policies that only count the calls that they would refuse.
        has_fallback: Whether any of the command's functions has a fallback.
        fallback_max_concurrent: Largest number of fallbacks of one function that run at once.
        more: Policies of users' own, by name. Each can be read as an attribute too.
    """

    timeout: float | None = attrs.field(default=None, validator=_kept_bare)
    max_concurrent: int | Bulkhead | None = attrs.field(default=None, validator=_kept_bare)
    isolation: str = "semaphore"
    cache: Cache | None = None
    retry: Retry | None = None
    failover: Failover | None = None
    breaker: CircuitBreaker | None = None
    throttle: Throttle | None = None
    rate_limit: RateLimit | None = None
    adaptive_limit: AdaptiveLimit | None = None
    stream_timeout: StreamTimeout | None = None
    hedge: Hedge | None = None
    chaos: Chaos | None = None
    failures: FailureRules | None = None
    pool: ThreadPool | None = None
    shadow: tuple[str, ...] = ()
    has_fallback: bool = False
    fallback_max_concurrent: int = 10
    more: tuple[tuple[str, Any], ...] = attrs.field(default=(), converter=_frozen)

    def __getattr__(self, name: str) -> Any:
        for own, value in object.__getattribute__(self, "more"):
            if own == name:
                return value
        kit = kit_named(name)
        if kit is None or not kit.setting:
            raise AttributeError(f"there is no setting {name!r}")
        return None


def settings_with(settings: Settings, **changes: Any) -> Settings:
    """A copy of the *settings* with the *changes*, those of users' own policies among them."""
    known = {field.name for field in attrs.fields(Settings)}
    own = {name: changes.pop(name) for name in tuple(changes) if name not in known}
    if own:
        changes["more"] = {**dict(settings.more), **own}
    return attrs.evolve(settings, **changes)


def live_settings() -> tuple[str, ...]:
    """The names of the settings that can be changed while calls go on."""
    built_in = ("timeout", "max_concurrent", "breaker")
    others = tuple(kit.name for kit in setting_kits() if kit.live and kit.name not in built_in)
    return (*built_in, *others, "shadow")


def over(name: str, known: Any, value: Any) -> Any:
    """The *value* of the setting *name* where *known* is in force: a plain number changes its own field alone.

    What may be read but once, or be changed by who has written it, is read here.

    Raises:
        ConfigError: It is to be read, and is something else.
    """
    if name == "shadow":
        return Shadow(value).shadow
    kit = kit_named(name)
    return value if kit is None else kit.over(known, value)
