"""Plan: what the decorators of one function say, checked by itself and merged along a stack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs

from .core.checks import number, ordinary_exceptions, text
from .errors import ConfigError
from .pipeline.binding import flavour_of
from .pipeline.policies import (
    AdaptiveLimit,
    Bulkhead,
    Cache,
    CircuitBreaker,
    Fallback,
    Hedge,
    Policy,
    Shadow,
    ThreadPool,
    Timeout,
)
from .pipeline.settings import KINDS, Settings
from .pipeline.shape import Flavour
from .registry import Registry

ISOLATIONS: Final = ("auto", "semaphore", "thread")


def _registry(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not isinstance(value, Registry):
        raise ConfigError(f"registry must be a Registry, not {value!r}", attribute.name)


def _pool(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not isinstance(value, ThreadPool):
        raise ConfigError(f"pool must be a ThreadPool, not {value!r}", attribute.name)


def _isolation(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value not in ISOLATIONS:
        raise ConfigError(f"isolation must be one of {', '.join(ISOLATIONS)}, not {value!r}", attribute.name)


def _key(plan: Plan, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not callable(value):
        text(optional=True)(plan, attribute, value)
    elif flavour_of(value) is not Flavour.SYNC:
        raise ConfigError(f"key must be a plain function, for nobody would await what {value!r} returns",
                          attribute.name)


@attrs.frozen(kw_only=True)
class Plan:
    """What the decorators of one function say.

    Attributes:
        policies: Outermost first.
        key: None: the function's module and qualified name. A callable: each of its results is a command of its own.
        group: None: the function's module.
        registry: None: the default one.
        max_keys: Of a callable key: commands at once; None: the default number.
        idle: Of a callable key: seconds after which one that is not called goes; None: the default.
        shadow: Gates that only count what they would refuse; True: all there are.
        template: Of one of a callable's results: the function's own name.
        whole: Made by ``command``, which says something about every setting.
        given_timeout: Whether the timeout was asked for, not just the default.
    """

    policies: tuple[Policy, ...]
    key: str | Callable[..., str] | None = attrs.field(default=None, validator=_key)
    group: str | None = attrs.field(default=None, validator=text(optional=True))
    registry: Registry | None = attrs.field(default=None, validator=_registry)
    isolation: str = attrs.field(default="auto", validator=_isolation)
    pool: ThreadPool | None = attrs.field(default=None, validator=_pool)
    ignore: tuple[type[Exception], ...] = attrs.field(default=(), validator=ordinary_exceptions)
    max_keys: int | None = attrs.field(default=None, validator=number(least=1, most=1_000_000, whole=True,
                                                                      optional=True))
    idle: float | None = attrs.field(default=None, validator=number(above=0, most=31_536_000.0, optional=True))
    shadow: Any = ()
    template: str | None = None
    whole: bool = False
    given_timeout: bool = True

    def __attrs_post_init__(self) -> None:
        cache = self.find(Cache)
        if cache is not None and cache.by is not None and flavour_of(cache.by) is not Flavour.SYNC:
            raise ConfigError(f"by must be a plain function, for nobody would await what {cache.by!r} returns", "by")
        named = self.shadow is not True
        object.__setattr__(self, "shadow", Shadow(self.shadow).of(self.policies, named=named))

    def find(self, kind: type[Any]) -> Any:
        """The policy of this kind, or None."""
        return next((policy for policy in self.policies if isinstance(policy, kind)), None)

    def isolates(self, flavour: Flavour) -> bool:
        """Whether a function of this *flavour* runs on a worker thread.

        The default timeout alone does not move it: what its caller's thread has, such as a transaction, is not there.
        """
        timeout = self.find(Timeout)
        asked = self.given_timeout or self.pool is not None or self.find(Hedge) is not None
        return flavour is Flavour.SYNC and self.isolation != "semaphore" and (
            self.isolation == "thread" or (asked and timeout is not None and timeout.timeout is not None))

    def may_move(self, flavour: Flavour) -> bool:
        """Whether a function of this *flavour* runs on a worker thread once a file or its handle says a timeout."""
        timeout, limit = self.find(Timeout), self.find(AdaptiveLimit)
        return (flavour is Flavour.SYNC and self.isolation == "auto" and not self.isolates(flavour)
                and timeout is not None and timeout.timeout is not None
                and (limit is None or not (limit.priorities or limit.max_queue)))  # these are for calls that stay

    def above(self, inner: Plan) -> Plan:
        """This plan put on top of *inner*, as one."""
        merged = {}
        for name in ("key", "group", "registry", "pool", "max_keys", "idle"):
            ours, theirs = getattr(self, name), getattr(inner, name)
            if ours is not None and theirs is not None and ours != theirs:
                raise ConfigError(f"{name}: one stack has both {ours!r} and {theirs!r}", name)
            merged[name] = ours if ours is not None else theirs
        if self.isolation != "auto" and inner.isolation not in ("auto", self.isolation):
            raise ConfigError(f"isolation: one stack has both {self.isolation!r} and {inner.isolation!r}", "isolation")
        return Plan(
            policies=(*self.policies, *inner.policies), **merged,
            isolation=self.isolation if self.isolation != "auto" else inner.isolation,
            ignore=(*self.ignore, *inner.ignore), shadow=(*self.shadow, *inner.shadow), whole=self.whole or inner.whole,
            given_timeout=inner.given_timeout if inner.find(Timeout) else self.given_timeout)

    def settings(self, flavour: Flavour) -> tuple[Settings, frozenset[str]]:
        """What this means for a function of this *flavour*: settings, and the names of those it says anything about."""
        breaker, bulkhead, timeout = self.find(CircuitBreaker), self.find(Bulkhead), self.find(Timeout)
        fallback = self.find(Fallback)
        reachable = flavour.is_async or flavour is Flavour.THREAD
        settings = Settings(
            timeout=timeout.timeout if timeout is not None and reachable else None,
            max_concurrent=None if bulkhead is None else bulkhead.max_concurrent,
            isolation="thread" if flavour is Flavour.THREAD else "semaphore",
            breaker=breaker,
            pool=self.pool,
            shadow=self.shadow,
            has_fallback=fallback is not None,
            **{name: self.find(kind) for name, kind in KINDS.items()},
            **({} if fallback is None else {"fallback_max_concurrent": fallback.max_concurrent}),
        )
        present = {"breaker": breaker, "max_concurrent": bulkhead, "timeout": timeout, "pool": self.pool,
                   **{name: getattr(settings, name) for name in KINDS}, "shadow": settings.shadow or None}
        stated = {name for name, value in present.items() if value is not None or (self.whole and name != "pool")}
        if settings.adaptive_limit is not None:
            stated.discard("max_concurrent")
        if not reachable and not self.given_timeout:
            stated.discard("timeout")  # the default says nothing where no timeout could be
        return settings, frozenset(stated)
