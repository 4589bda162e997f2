"""What users put on their functions: command, one decorator per policy, and Pipeline.

Type checkers see the original signature and result, and the ``resilience``
attribute. The work is done in guard.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Any, Literal, ParamSpec, TypeVar, overload

from .core.checks import unknown_option
from .errors import ConfigError
from .guard import guard
from .pipeline.policies import (
    AdaptiveLimit,
    Bulkhead,
    CircuitBreaker,
    Fallback,
    Policy,
    Retry,
    ThreadPool,
    Throttle,
    Timeout,
    in_order,
)
from .plan import Plan
from .registry import Registry
from .signatures import Decorator, DecoratorByKey, Guarded

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")

Key = str | Callable[..., str]
Isolation = Literal["auto", "semaphore", "thread"]


class _Unset:
    def __repr__(self) -> str:
        return "its default"


_UNSET: Any = _Unset()
_DEFAULT_BREAKER, _DEFAULT_TIMEOUT = CircuitBreaker(), Timeout()  # values: one of each serves every command


@overload
def command(fn: classmethod[S, P, T], /) -> classmethod[S, P, T]: ...
@overload
def command(fn: staticmethod[P, T], /) -> staticmethod[P, T]: ...  # type: ignore[overload-overlap]
@overload
def command(fn: Callable[P, T], /) -> Guarded[P, T]: ...
@overload
def command(
    *,
    key: str | None = None,
    group: str | None = None,
    timeout: float | None = ...,
    max_concurrent: int | None = ...,
    isolation: Isolation = "auto",
    breaker: CircuitBreaker | None = ...,
    retry: Retry | None = None,
    throttle: Throttle | None = None,
    adaptive_limit: AdaptiveLimit | None = None,
    fallback: Fallback | Callable[..., Any] | None = None,
    ignore: tuple[type[Exception], ...] = (),
    pool: ThreadPool | None = None,
    registry: Registry | None = None,
) -> Decorator: ...
@overload
def command(
    *,
    key: Callable[..., str],
    group: str | None = None,
    max_keys: int = ...,
    idle: float = ...,
    timeout: float | None = ...,
    max_concurrent: int | None = ...,
    isolation: Isolation = "auto",
    breaker: CircuitBreaker | None = ...,
    retry: Retry | None = None,
    throttle: Throttle | None = None,
    adaptive_limit: AdaptiveLimit | None = None,
    fallback: Fallback | Callable[..., Any] | None = None,
    ignore: tuple[type[Exception], ...] = (),
    pool: ThreadPool | None = None,
    registry: Registry | None = None,
) -> DecoratorByKey: ...
def command(fn: Any = _UNSET, /, *, timeout: float | None = _UNSET, max_concurrent: int | None = _UNSET,
            breaker: CircuitBreaker | None = _UNSET, retry: Retry | None = None, throttle: Throttle | None = None,
            adaptive_limit: AdaptiveLimit | None = None, fallback: Fallback | Callable[..., Any] | None = None,
            **options: Any) -> Any:
    """Hystrix in one decorator: breaker, bulkhead, timeout, fallback and statistics.

    Works bare or with settings, on functions, coroutine functions, generators, async
    generators, methods, classmethods, staticmethods and callable objects.

    Args:
        fn: The function, when used bare.
        key: Name of the command; functions with one key share it. Default: module.qualname. A callable is given each
            call's arguments and returns the name: each name is a command of its own, made at its first call.
        group: Shares a dashboard section and a thread pool. Default: the module.
        timeout: Seconds; None: no timeout. Default 1.0, but none where none can reach the call: a plain function
            in semaphore isolation, a generator. For an async generator it bounds the wait for each item.
        max_concurrent: Calls at once; None: no limit. Default 10, or none with an adaptive limit.
        max_keys: With a callable key: commands at once; one more takes the place of the one that was not called for
            longest, or shares an overflow command if all are in use. Default 1000.
        idle: With a callable key: seconds without a call after which a command goes. Default 300.
        isolation: "semaphore": run where the caller is. "thread": on the group's worker threads. "auto": thread for
            a plain function with a timeout, else semaphore.
        breaker: A CircuitBreaker; None: no breaker.
        retry: A Retry; each attempt is a call of its own to the breaker and in the counts.
        throttle: A Throttle, for a target that refuses when it is overloaded.
        adaptive_limit: An AdaptiveLimit instead of ``max_concurrent``.
        fallback: A Fallback, or its function: called with the call's arguments, and with the exception if it has a
            parameter named ``error``.
        ignore: The caller's own mistakes: they pass through, no fallback, no effect on health.
        pool: The group's threads, for thread isolation.
        registry: Where the command is kept. Default: resilience.default_registry.

    Raises:
        ConfigError: A setting is out of range, unknown or contradicts another; names it.
        TypeError: What is decorated is not callable.
    """
    for name in options:
        if name not in _COMMAND_OPTIONS:
            raise unknown_option(name, (*_COMMAND_OPTIONS, *_COMMAND_POLICIES), "command")
    if breaker is not _UNSET and breaker is not None and not isinstance(breaker, CircuitBreaker):
        raise ConfigError(f"breaker must be a CircuitBreaker or None, not {breaker!r}", "breaker")
    policies: list[Policy] = []
    if fallback is not None:
        policies.append(fallback if isinstance(fallback, Fallback) else Fallback(fallback))
    if retry is not None:
        policies.append(retry)
    if breaker is not None:
        policies.append(_DEFAULT_BREAKER if breaker is _UNSET else breaker)
    policies += [each for each in (throttle, adaptive_limit) if each is not None]
    if adaptive_limit is None or max_concurrent is not _UNSET:
        policies.append(Bulkhead() if max_concurrent is _UNSET else Bulkhead(max_concurrent))
    policies.append(_DEFAULT_TIMEOUT if timeout is _UNSET else Timeout(timeout))
    plan = Plan(policies=tuple(policies), whole=True, given_timeout=timeout is not _UNSET, **options)
    if fn is not _UNSET:
        return guard(fn, plan, "@command")
    return lambda function: guard(function, plan, "@command")


_COMMAND_OPTIONS = ("key", "group", "max_keys", "idle", "isolation", "ignore", "pool", "registry")
_COMMAND_POLICIES = ("timeout", "max_concurrent", "breaker", "retry", "throttle", "adaptive_limit", "fallback")
_CALLABLES_KEPT = 128
_STACK_OPTIONS = ("key", "group", "max_keys", "idle", "registry")


@overload
def circuit_breaker(fn: classmethod[S, P, T], /) -> classmethod[S, P, T]: ...
@overload
def circuit_breaker(fn: staticmethod[P, T], /) -> staticmethod[P, T]: ...  # type: ignore[overload-overlap]
@overload
def circuit_breaker(fn: Callable[P, T], /) -> Guarded[P, T]: ...
@overload
def circuit_breaker(
    *, key: str | None = None, group: str | None = None, registry: Registry | None = None,
    ignore: tuple[type[Exception], ...] = (), failure_rate: float | None = 0.5, consecutive: int | None = None,
    min_calls: int = 20, window: float = 10.0, buckets: int = 10, window_calls: int | None = None,
    open_for: float = 5.0, open_growth: float = 1.0, open_max: float = 300.0, open_jitter: float = 0.0,
    slow_call: float | None = None, slow_rate: float = 1.0, half_open_calls: int = 1, half_open_failures: int = 0,
    half_open_for: float = 30.0, ramp: float = 0.0, ramp_shares: tuple[float, ...] = (0.1, 0.25, 0.5),
    count_rejections: bool = False,
) -> Decorator: ...
@overload
def circuit_breaker(
    *, key: Callable[..., str], group: str | None = None, max_keys: int = ..., idle: float = ...,
    registry: Registry | None = None,
    ignore: tuple[type[Exception], ...] = (), failure_rate: float | None = 0.5, consecutive: int | None = None,
    min_calls: int = 20, window: float = 10.0, buckets: int = 10, window_calls: int | None = None,
    open_for: float = 5.0, open_growth: float = 1.0, open_max: float = 300.0, open_jitter: float = 0.0,
    slow_call: float | None = None, slow_rate: float = 1.0, half_open_calls: int = 1, half_open_failures: int = 0,
    half_open_for: float = 30.0, ramp: float = 0.0, ramp_shares: tuple[float, ...] = (0.1, 0.25, 0.5),
    count_rejections: bool = False,
) -> DecoratorByKey: ...
def circuit_breaker(fn: Any = _UNSET, /, *, key: Key | None = None, group: str | None = None,
                    registry: Registry | None = None, ignore: tuple[type[Exception], ...] = (),
                    **settings: Any) -> Any:
    """Refuse calls while their target looks down.

    Args:
        fn: The function, when used bare.
        key: As for command, with group, max_keys, idle and registry.
        group: See key.
        registry: See key.
        ignore: Exceptions that say nothing about the target's health.
        **settings: Those of CircuitBreaker.
    """
    place = _place(settings, key=key, group=group, registry=registry)
    plan = Plan(policies=(CircuitBreaker(**settings),), **place, ignore=ignore)
    if fn is not _UNSET:
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
        key: As for command, with group, max_keys, idle and registry.
        group: See key.
        registry: See key.
        **settings: Those of AdaptiveLimit.
    """
    place = _place(settings, key=key, group=group, registry=registry)
    return _stacked(AdaptiveLimit(**settings), place, "@adaptive_limit")


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
def throttle(*, key: Callable[..., str], group: str | None = None, registry: Registry | None = None,
             **settings: Any) -> DecoratorByKey: ...
@overload
def throttle(*, key: str | None = None, group: str | None = None, registry: Registry | None = None,
             **settings: Any) -> Decorator: ...
def throttle(*, key: Key | None = None, group: str | None = None, registry: Registry | None = None,
             **settings: Any) -> Any:
    """Refuse at home, with ThrottledError, a share of the calls that the target would not accept anyway.

    Args:
        key: As for command, with group, max_keys, idle and registry.
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

    Takes key, group, max_keys, idle and registry, as command does.
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
def fallback(function: Callable[..., Any] | Fallback, /, *, on: Any = _UNSET, max_concurrent: int = _UNSET,
             **options: Any) -> Any:
    """Answer with *function* instead of an error; see Fallback for ``on`` and ``max_concurrent``.

    Takes key, group, max_keys, idle and registry, as command does.
    """
    given = {name: value for name, value in (("on", on), ("max_concurrent", max_concurrent)) if value is not _UNSET}
    if isinstance(function, Fallback) and given:
        raise ConfigError(f"{', '.join(given)}: said twice; put it into the Fallback", next(iter(given)))
    return _stacked(function if isinstance(function, Fallback) else Fallback(function, **given), options, "@fallback")


def _place(settings: dict[str, Any], **place: Any) -> dict[str, Any]:
    """Where a command is kept; what *settings* say about that is taken out of them."""
    return {**place, **{name: settings.pop(name) for name in ("max_keys", "idle") if name in settings}}


def _stacked(policy: Policy, options: dict[str, Any], what: str, **more: Any) -> Decorator:
    for name in options:
        if name not in _STACK_OPTIONS:
            raise unknown_option(name, _STACK_OPTIONS, what)
    plan = Plan(policies=(policy,), **options, **more)
    return lambda fn: guard(fn, plan, what)


class Pipeline:
    """Policies as a value, reusable over many functions; outermost first.

    Functions guarded by one pipeline with a ``key`` share one command; without,
    each has its own.

    Args:
        *policies: Fallback, Retry, CircuitBreaker, Throttle, Bulkhead or AdaptiveLimit, Timeout, in this order; any
            may be left out.
        key: As for command, with group, max_keys, idle, registry, isolation, pool and ignore.
        **options: See key.

    Raises:
        ConfigError: The order is impossible, or an option is unknown.
    """

    def __init__(self, *policies: Policy, key: Key | None = None, **options: Any) -> None:
        for name in options:
            if name not in _COMMAND_OPTIONS:
                raise unknown_option(name, _COMMAND_OPTIONS, "Pipeline")
        in_order(policies)
        self._plan = Plan(policies=policies, key=key, **options)
        self._guarded = functools.lru_cache(maxsize=_CALLABLES_KEPT)(self._guard)

    def __repr__(self) -> str:
        return f"Pipeline({', '.join(map(repr, self._plan.policies))})"

    @overload
    def __call__(self, fn: classmethod[S, P, T], /) -> classmethod[S, P, T]: ...
    @overload
    def __call__(self, fn: staticmethod[P, T], /) -> staticmethod[P, T]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Callable[P, T], /) -> Guarded[P, T]: ...
    def __call__(self, fn: Any, /) -> Any:
        """Decorate a function."""
        return guard(fn, self._plan, "Pipeline")

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call *fn* once through the pipeline; a coroutine function's result is to be awaited.

        The first call with a function compiles its wrapper, later ones use it; those of the last 128 functions
        are kept. Give call() the same function each time, and what varies as arguments.
        """
        guarded = self._guarded(fn) if isinstance(fn, Hashable) else self._guard(fn)
        return guarded(*args, **kwargs)  # type: ignore[no-any-return]

    def _guard(self, fn: Any) -> Any:
        return guard(fn, self._plan, "Pipeline.call", instead=False)


