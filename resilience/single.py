"""One decorator per policy, to be stacked; a stack becomes one wrapper.

What is said about the command itself (key, group, registry, ...) may be said by any
of them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, Literal, ParamSpec, TypeVar, overload

from .core.checks import unknown_option
from .errors import ConfigError
from .guard import guard
from .pipeline.policies import (
    AdaptiveLimit,
    Bulkhead,
    Cache,
    Chaos,
    CircuitBreaker,
    Fallback,
    Hedge,
    Policy,
    RateLimit,
    Retry,
    ThreadPool,
    Throttle,
    Timeout,
)
from .plan import Plan
from .registry import Registry
from .signatures import UNSET, Decorator, DecoratorByKey, Guarded, Isolation, Key

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")

_STACK_OPTIONS = ("key", "group", "max_keys", "idle", "shadow", "registry")


@overload
def circuit_breaker(fn: classmethod[S, P, T], /) -> classmethod[S, P, T]: ...
@overload
def circuit_breaker(fn: staticmethod[P, T], /) -> staticmethod[P, T]: ...  # type: ignore[overload-overlap]
@overload
def circuit_breaker(fn: Callable[P, T], /) -> Guarded[P, T]: ...
@overload
def circuit_breaker(
    *, key: str | None = None, group: str | None = None, registry: Registry | None = None,
    shadow: bool | Iterable[str] = False,
    ignore: tuple[type[Exception], ...] = (), failure_rate: float | None = 0.5, consecutive: int | None = None,
    sustained_failures: int | None = 5,
    min_calls: int = 20, window: float = 10.0, buckets: int = 10, window_calls: int | None = None,
    open_for: float = 5.0, open_growth: float = 1.0, open_max: float = 300.0, open_jitter: float = 0.0,
    slow_call: float | None = None, slow_rate: float = 1.0, slow_in_flight: bool = True, half_open_calls: int = 1,
    half_open_failures: int = 0, half_open_for: float = 30.0, ramp: float = 0.0,
    ramp_shares: tuple[float, ...] = (0.1, 0.25, 0.5), count_rejections: bool = False,
) -> Decorator: ...
@overload
def circuit_breaker(
    *, key: Callable[..., str], group: str | None = None, max_keys: int = ..., idle: float = ...,
    registry: Registry | None = None, shadow: bool | Iterable[str] = False,
    ignore: tuple[type[Exception], ...] = (), failure_rate: float | None = 0.5, consecutive: int | None = None,
    sustained_failures: int | None = 5,
    min_calls: int = 20, window: float = 10.0, buckets: int = 10, window_calls: int | None = None,
    open_for: float = 5.0, open_growth: float = 1.0, open_max: float = 300.0, open_jitter: float = 0.0,
    slow_call: float | None = None, slow_rate: float = 1.0, slow_in_flight: bool = True, half_open_calls: int = 1,
    half_open_failures: int = 0, half_open_for: float = 30.0, ramp: float = 0.0,
    ramp_shares: tuple[float, ...] = (0.1, 0.25, 0.5), count_rejections: bool = False,
) -> DecoratorByKey: ...
def circuit_breaker(fn: Any = UNSET, /, *, key: Key | None = None, group: str | None = None,
                    registry: Registry | None = None, ignore: tuple[type[Exception], ...] = (),
                    **settings: Any) -> Any:
    """Refuse calls while their target looks down.

    Args:
        fn: The function, when used bare.
        key: As for command, with group, max_keys, idle, shadow and registry.
        group: See key.
        registry: See key.
        ignore: Exceptions that say nothing about the target's health.
        **settings: Those of CircuitBreaker.
    """
    place = _place(settings, key=key, group=group, registry=registry)
    plan = Plan(policies=(CircuitBreaker(**settings),), **place, ignore=ignore)
    if fn is not UNSET:
        return guard(fn, plan, "@circuit_breaker")
    return lambda function: guard(function, plan, "@circuit_breaker")


@overload
def adaptive_limit(*, key: Callable[..., str], group: str | None = None, registry: Registry | None = None,
                   **settings: Any) -> DecoratorByKey: ...
@overload
def adaptive_limit(*, key: str | None = None, group: str | None = None, registry: Registry | None = None,
                   **settings: Any) -> Decorator: ...
def adaptive_limit(*, key: Key | None = None, group: str | None = None, registry: Registry | None = None,
                   **settings: Any) -> Any:
    """A bulkhead that finds its own size; more calls are refused with BulkheadFullError.

    Args:
        key: As for command, with group, max_keys, idle, shadow and registry.
        group: See key.
        registry: See key.
        **settings: Those of AdaptiveLimit.
    """
    place = _place(settings, key=key, group=group, registry=registry)
    return _stacked(AdaptiveLimit(**settings), place, "@adaptive_limit")


@overload
def cache(fn: classmethod[S, P, T], /) -> classmethod[S, P, T]: ...
@overload
def cache(fn: staticmethod[P, T], /) -> staticmethod[P, T]: ...  # type: ignore[overload-overlap]
@overload
def cache(fn: Callable[P, T], /) -> Guarded[P, T]: ...
@overload
def cache(
    *, key: str | None = None, group: str | None = None, registry: Registry | None = None,
    ttl: float | None = 60.0, max_size: int = 1024, scope: Literal["shared", "request"] = "shared",
    by: Callable[..., Hashable] | None = None, cache_none: bool = False,
    cache_exceptions: type[Exception] | tuple[type[Exception], ...] = (),
) -> Decorator: ...
@overload
def cache(
    *, key: Callable[..., str], group: str | None = None, max_keys: int = ..., idle: float = ...,
    registry: Registry | None = None,
    ttl: float | None = 60.0, max_size: int = 1024, scope: Literal["shared", "request"] = "shared",
    by: Callable[..., Hashable] | None = None, cache_none: bool = False,
    cache_exceptions: type[Exception] | tuple[type[Exception], ...] = (),
) -> DecoratorByKey: ...
def cache(fn: Any = UNSET, /, *, key: Key | None = None, group: str | None = None, registry: Registry | None = None,
          **settings: Any) -> Any:
    """Answer equal calls without executing them: those at once by one execution, later ones from a store.

    Args:
        fn: The function, when used bare.
        key: As for command, with group, max_keys, idle and registry. What makes calls equal is ``by``.
        group: See key.
        registry: See key.
        **settings: Those of Cache.
    """
    place = _place(settings, key=key, group=group, registry=registry)
    plan = Plan(policies=(Cache(**settings),), **place)
    if fn is not UNSET:
        return guard(fn, plan, "@cache")
    return lambda function: guard(function, plan, "@cache")


@overload
def retry(*, key: Callable[..., str], group: str | None = None, registry: Registry | None = None,
          **settings: Any) -> DecoratorByKey: ...
@overload
def retry(*, key: str | None = None, group: str | None = None, registry: Registry | None = None,
          **settings: Any) -> Decorator: ...
def retry(*, key: Key | None = None, group: str | None = None, registry: Registry | None = None,
          **settings: Any) -> Any:
    """Try again what failed, after a growing and random delay, within the group's budget.

    Args:
        key: As for command, with group, max_keys, idle and registry.
        group: See key.
        registry: See key.
        **settings: Those of Retry.
    """
    place = _place(settings, key=key, group=group, registry=registry)
    return _stacked(Retry(**settings), place, "@retry")


@overload
def rate_limit(calls: int, /, *, key: Callable[..., str], group: str | None = None, registry: Registry | None = None,
               **settings: Any) -> DecoratorByKey: ...
@overload
def rate_limit(calls: int, /, *, key: str | None = None, group: str | None = None, registry: Registry | None = None,
               **settings: Any) -> Decorator: ...
def rate_limit(calls: int, /, *, key: Key | None = None, group: str | None = None, registry: Registry | None = None,
               **settings: Any) -> Any:
    """At most *calls* in ``per`` seconds; more wait up to ``max_wait``, and are refused with RateLimitedError.

    Args:
        calls: How many.
        key: As for command, with group, max_keys, idle, shadow and registry.
        group: See key.
        registry: See key.
        **settings: The others of RateLimit.
    """
    place = _place(settings, key=key, group=group, registry=registry)
    return _stacked(RateLimit(calls, **settings), place, "@rate_limit")


@overload
def hedge(*, key: Callable[..., str], group: str | None = None, registry: Registry | None = None,
          **settings: Any) -> DecoratorByKey: ...
@overload
def hedge(*, key: str | None = None, group: str | None = None, registry: Registry | None = None,
          **settings: Any) -> Decorator: ...
def hedge(*, key: Key | None = None, group: str | None = None, registry: Registry | None = None,
          **settings: Any) -> Any:
    """Begin a second attempt beside one that is slow; the first to succeed is the answer.

    For coroutine functions, and for plain ones on worker threads, that may be called twice without harm.

    Args:
        key: As for command, with group, max_keys, idle and registry.
        group: See key.
        registry: See key.
        **settings: Those of Hedge; ``idempotent=True`` is one of them.
    """
    place = _place(settings, key=key, group=group, registry=registry)
    return _stacked(Hedge(**settings), place, "@hedge")


@overload
def chaos(*, key: Callable[..., str], group: str | None = None, registry: Registry | None = None,
          **settings: Any) -> DecoratorByKey: ...
@overload
def chaos(*, key: str | None = None, group: str | None = None, registry: Registry | None = None,
          **settings: Any) -> Decorator: ...
def chaos(*, key: Key | None = None, group: str | None = None, registry: Registry | None = None,
          **settings: Any) -> Any:
    """Harm calls on purpose, while the registry says so; see Registry.start_chaos.

    Args:
        key: As for command, with group, max_keys, idle and registry.
        group: See key.
        registry: See key.
        **settings: Those of Chaos.
    """
    place = _place(settings, key=key, group=group, registry=registry)
    return _stacked(Chaos(**settings), place, "@chaos")


@overload
def throttle(*, key: Callable[..., str], group: str | None = None, registry: Registry | None = None,
             **settings: Any) -> DecoratorByKey: ...
@overload
def throttle(*, key: str | None = None, group: str | None = None, registry: Registry | None = None,
             **settings: Any) -> Decorator: ...
def throttle(*, key: Key | None = None, group: str | None = None, registry: Registry | None = None,
             **settings: Any) -> Any:
    """Refuse at home, with ThrottledError, a share of the calls that the target would not accept anyway.

    Args:
        key: As for command, with group, max_keys, idle, shadow and registry.
        group: See key.
        registry: See key.
        **settings: Those of Throttle.
    """
    place = _place(settings, key=key, group=group, registry=registry)
    return _stacked(Throttle(**settings), place, "@throttle")


@overload
def bulkhead(max_concurrent: int, /, *, key: Callable[..., str], **options: Any) -> DecoratorByKey: ...
@overload
def bulkhead(max_concurrent: int, /, *, key: str | None = None, **options: Any) -> Decorator: ...
def bulkhead(max_concurrent: int, /, **options: Any) -> Any:
    """At most *max_concurrent* calls at once; more are refused with BulkheadFullError.

    Takes key, group, max_keys, idle, shadow and registry, as command does.
    """
    return _stacked(Bulkhead(max_concurrent), options, "@bulkhead")


@overload
def timeout(seconds: float, /, *, key: Callable[..., str], isolation: Isolation = "auto",
            pool: ThreadPool | None = None, **options: Any) -> DecoratorByKey: ...
@overload
def timeout(seconds: float, /, *, key: str | None = None, isolation: Isolation = "auto",
            pool: ThreadPool | None = None, **options: Any) -> Decorator: ...
def timeout(seconds: float, /, *, isolation: Isolation = "auto", pool: ThreadPool | None = None,
            **options: Any) -> Any:
    """Give up after *seconds* with CallTimeoutError: a coroutine is cancelled, a plain function's caller walks away.

    Takes key, group, max_keys, idle, registry, isolation and pool, as command does.
    """
    return _stacked(Timeout(seconds), options, "@timeout", isolation=isolation, pool=pool)


@overload
def fallback(function: Callable[..., Any] | Fallback, /, *, key: Callable[..., str], on: Any = ...,
             max_concurrent: int = ..., **options: Any) -> DecoratorByKey: ...
@overload
def fallback(function: Callable[..., Any] | Fallback, /, *, key: str | None = None, on: Any = ...,
             max_concurrent: int = ..., **options: Any) -> Decorator: ...
def fallback(function: Callable[..., Any] | Fallback, /, *, on: Any = UNSET, max_concurrent: int = UNSET,
             **options: Any) -> Any:
    """Answer with *function* instead of an error; see Fallback for ``on`` and ``max_concurrent``.

    Takes key, group, max_keys, idle and registry, as command does.
    """
    given = {name: value for name, value in (("on", on), ("max_concurrent", max_concurrent)) if value is not UNSET}
    if isinstance(function, Fallback) and given:
        raise ConfigError(f"{', '.join(given)}: said twice; put it into the Fallback", next(iter(given)))
    return _stacked(function if isinstance(function, Fallback) else Fallback(function, **given), options, "@fallback")


def _place(settings: dict[str, Any], **place: Any) -> dict[str, Any]:
    """What is said about a command besides its policy; of *settings*, it is taken out of them."""
    return {**place, **{name: settings.pop(name) for name in ("max_keys", "idle", "shadow") if name in settings}}


def _stacked(policy: Policy, options: dict[str, Any], what: str, **more: Any) -> Decorator:
    for name in options:
        if name not in _STACK_OPTIONS:
            raise unknown_option(name, _STACK_OPTIONS, what)
    plan = Plan(policies=(policy,), **options, **more)
    return lambda fn: guard(fn, plan, what)
