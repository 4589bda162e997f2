"""What users put on their functions: command, one decorator per policy, and Pipeline.

Type checkers see the original signature and result, and the ``resilience``
attribute. The work is done in guard.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, overload

from .core.checks import unknown_option
from .errors import ConfigError
from .guard import Plan, guard
from .pipeline.command import Command
from .pipeline.policies import (
    AdaptiveLimit,
    Bulkhead,
    Cache,
    Chaos,
    CircuitBreaker,
    Fallback,
    Policy,
    Retry,
    ThreadPool,
    Throttle,
    Timeout,
    in_order,
)
from .registry import Registry

P = ParamSpec("P")
Q = ParamSpec("Q")
S = TypeVar("S")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")

Isolation = Literal["auto", "semaphore", "thread"]


class Guarded(Protocol[P, R_co]):
    """A guarded function: called as before, and carrying its command."""

    @property
    def resilience(self) -> Command:
        """Look at the command, and steer it."""
        ...

    __name__: str
    __qualname__: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function through its policies."""
        ...

    @overload
    def __get__(self, instance: None, owner: Any = None, /) -> Guarded[P, R_co]: ...
    @overload
    def __get__(self: Guarded[Concatenate[S, Q], T], instance: S, owner: Any = None, /) -> Guarded[Q, T]: ...
    @overload  # of a class method
    def __get__(self: Guarded[Concatenate[type[S], Q], T], instance: S, owner: Any = None, /) -> Guarded[Q, T]: ...
    @overload  # of a static method
    def __get__(self, instance: object, owner: Any = None, /) -> Guarded[P, R_co]: ...


class Decorator(Protocol):
    """What a decorator called with settings returns."""

    @overload
    def __call__(self, fn: classmethod[S, P, T], /) -> classmethod[S, P, T]: ...
    @overload
    def __call__(self, fn: staticmethod[P, T], /) -> staticmethod[P, T]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Callable[P, T], /) -> Guarded[P, T]: ...


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
    cache: Cache | None = None,
    retry: Retry | None = None,
    throttle: Throttle | None = None,
    adaptive_limit: AdaptiveLimit | None = None,
    chaos: Chaos | None = None,
    fallback: Fallback | Callable[..., Any] | None = None,
    ignore: tuple[type[Exception], ...] = (),
    pool: ThreadPool | None = None,
    shadow: bool | Iterable[str] = False,
    registry: Registry | None = None,
) -> Decorator: ...
def command(fn: Any = _UNSET, /, *, timeout: float | None = _UNSET, max_concurrent: int | None = _UNSET,
            breaker: CircuitBreaker | None = _UNSET, cache: Cache | None = None, retry: Retry | None = None,
            throttle: Throttle | None = None, adaptive_limit: AdaptiveLimit | None = None, chaos: Chaos | None = None,
            fallback: Fallback | Callable[..., Any] | None = None, **options: Any) -> Any:
    """Hystrix in one decorator: breaker, bulkhead, timeout, fallback and statistics.

    Works bare or with settings, on functions, coroutine functions, generators, async
    generators, methods, classmethods, staticmethods and callable objects.

    Args:
        fn: The function, when used bare.
        key: Name of the command; functions with one key share it. Default: module.qualname.
        group: Shares a dashboard section and a thread pool. Default: the module.
        timeout: Seconds; None: no timeout. Default 1.0, but none where none can reach the call: a plain function
            in semaphore isolation, a generator. For an async generator it bounds the wait for each item.
        max_concurrent: Calls at once; None: no limit. Default 10, or none with an adaptive limit.
        isolation: "semaphore": run where the caller is. "thread": on the group's worker threads. "auto": thread for
            a plain function with a timeout, else semaphore.
        breaker: A CircuitBreaker; None: no breaker.
        cache: A Cache, which answers equal calls without executing them.
        retry: A Retry; each attempt is a call of its own to the breaker and in the counts.
        throttle: A Throttle, for a target that refuses when it is overloaded.
        adaptive_limit: An AdaptiveLimit instead of ``max_concurrent``.
        chaos: A Chaos, which harms calls on purpose while the registry says so.
        fallback: A Fallback, or its function: called with the call's arguments, and with the exception if it has a
            parameter named ``error``.
        ignore: The caller's own mistakes: they pass through, no fallback, no effect on health.
        pool: The group's threads, for thread isolation.
        shadow: Gates that only count what they would refuse: "breaker", "throttle", "max_concurrent" or
            "adaptive_limit"; True: all it has.
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
    policies += [each for each in (cache, retry) if each is not None]
    if breaker is not None:
        policies.append(_DEFAULT_BREAKER if breaker is _UNSET else breaker)
    policies += [each for each in (throttle, adaptive_limit) if each is not None]
    if adaptive_limit is None or max_concurrent is not _UNSET:
        policies.append(Bulkhead() if max_concurrent is _UNSET else Bulkhead(max_concurrent))
    policies.append(_DEFAULT_TIMEOUT if timeout is _UNSET else Timeout(timeout))
    if chaos is not None:
        policies.append(chaos)
    plan = Plan(policies=tuple(policies), whole=True, given_timeout=timeout is not _UNSET, **options)
    if fn is not _UNSET:
        return guard(fn, plan, "@command")
    return lambda function: guard(function, plan, "@command")


_COMMAND_OPTIONS = ("key", "group", "isolation", "ignore", "pool", "shadow", "registry")
_COMMAND_POLICIES = ("timeout", "max_concurrent", "breaker", "cache", "retry", "throttle", "adaptive_limit",
                     "chaos", "fallback")
_CALLABLES_KEPT = 128
_STACK_OPTIONS = ("key", "group", "registry")


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
    min_calls: int = 20, window: float = 10.0, buckets: int = 10, window_calls: int | None = None,
    open_for: float = 5.0, open_growth: float = 1.0, open_max: float = 300.0, open_jitter: float = 0.0,
    slow_call: float | None = None, slow_rate: float = 1.0, slow_in_flight: bool = True, half_open_calls: int = 1,
    half_open_failures: int = 0, half_open_for: float = 30.0, ramp: float = 0.0,
    ramp_shares: tuple[float, ...] = (0.1, 0.25, 0.5), count_rejections: bool = False,
) -> Decorator: ...
def circuit_breaker(fn: Any = _UNSET, /, *, key: str | None = None, group: str | None = None,
                    registry: Registry | None = None, ignore: tuple[type[Exception], ...] = (),
                    shadow: bool | Iterable[str] = False, **settings: Any) -> Any:
    """Refuse calls while their target looks down.

    Args:
        fn: The function, when used bare.
        key: As for command, with group and registry.
        group: See key.
        registry: See key.
        ignore: Exceptions that say nothing about the target's health.
        shadow: Whether to go through the states only, and admit what would be refused.
        **settings: Those of CircuitBreaker.
    """
    plan = Plan(policies=(CircuitBreaker(**settings),), key=key, group=group, registry=registry, ignore=ignore,
                shadow=shadow)
    if fn is not _UNSET:
        return guard(fn, plan, "@circuit_breaker")
    return lambda function: guard(function, plan, "@circuit_breaker")


def adaptive_limit(*, key: str | None = None, group: str | None = None, registry: Registry | None = None,
                   shadow: bool | Iterable[str] = False,
                   **settings: Any) -> Decorator:
    """A bulkhead that finds its own size; more calls are refused with BulkheadFullError.

    Args:
        key: As for command, with group and registry.
        group: See key.
        registry: See key.
        shadow: Whether only to count what would be refused.
        **settings: Those of AdaptiveLimit.
    """
    return _stacked(AdaptiveLimit(**settings), {"key": key, "group": group, "registry": registry}, "@adaptive_limit",
                    shadow=shadow)


@overload
def cache(fn: classmethod[S, P, T], /) -> classmethod[S, P, T]: ...
@overload
def cache(fn: staticmethod[P, T], /) -> staticmethod[P, T]: ...  # type: ignore[overload-overlap]
@overload
def cache(fn: Cache, /, *, key: str | None = None, group: str | None = None,
          registry: Registry | None = None) -> Decorator: ...
@overload
def cache(fn: Callable[P, T], /) -> Guarded[P, T]: ...
@overload
def cache(
    *, key: str | Callable[..., Hashable] | None = None, group: str | None = None, registry: Registry | None = None,
    ttl: float | None = 60.0, max_size: int = 1024, scope: Literal["shared", "request"] = "shared",
    cache_none: bool = False, cache_exceptions: type[Exception] | tuple[type[Exception], ...] = (),
) -> Decorator: ...
def cache(fn: Any = _UNSET, /, *, key: Any = None, group: str | None = None, registry: Registry | None = None,
          **settings: Any) -> Any:
    """Answer equal calls without executing them: those at once by one execution, later ones from a store.

    Args:
        fn: The function, when used bare; or a Cache instead of its settings.
        key: A string is the command's, as everywhere; a callable is the Cache's. Who needs both hands over a Cache.
        group: As for command, with registry.
        registry: See group.
        **settings: Those of Cache.
    """
    if isinstance(fn, Cache):
        if settings or callable(key):
            name = next(iter(settings), "key")
            raise ConfigError(f"{name}: said twice; put it into the Cache", name)
        policy, fn = fn, _UNSET
    elif callable(key):
        policy, key = Cache(key=key, **settings), None
    else:
        policy = Cache(**settings)
    plan = Plan(policies=(policy,), key=key, group=group, registry=registry)
    if fn is not _UNSET:
        return guard(fn, plan, "@cache")
    return lambda function: guard(function, plan, "@cache")


def retry(*, key: str | None = None, group: str | None = None, registry: Registry | None = None,
          **settings: Any) -> Decorator:
    """Try again what failed, after a growing and random delay, within the group's budget.

    Args:
        key: As for command, with group and registry.
        group: See key.
        registry: See key.
        **settings: Those of Retry.
    """
    return _stacked(Retry(**settings), {"key": key, "group": group, "registry": registry}, "@retry")


def chaos(*, key: str | None = None, group: str | None = None, registry: Registry | None = None,
          **settings: Any) -> Decorator:
    """Harm calls on purpose, while the registry says so; see Registry.start_chaos.

    Args:
        key: As for command, with group and registry.
        group: See key.
        registry: See key.
        **settings: Those of Chaos.
    """
    return _stacked(Chaos(**settings), {"key": key, "group": group, "registry": registry}, "@chaos")


def throttle(*, key: str | None = None, group: str | None = None, registry: Registry | None = None,
             shadow: bool | Iterable[str] = False,
             **settings: Any) -> Decorator:
    """Refuse at home, with ThrottledError, a share of the calls that the target would not accept anyway.

    Args:
        key: As for command, with group and registry.
        group: See key.
        registry: See key.
        shadow: Whether only to count what would be refused.
        **settings: Those of Throttle.
    """
    return _stacked(Throttle(**settings), {"key": key, "group": group, "registry": registry}, "@throttle",
                    shadow=shadow)


def bulkhead(max_concurrent: int, /, *, shadow: bool | Iterable[str] = False, **options: Any) -> Decorator:
    """At most *max_concurrent* calls at once; more are refused with BulkheadFullError.

    Takes key, group, registry and shadow, as command does.
    """
    return _stacked(Bulkhead(max_concurrent), options, "@bulkhead", shadow=shadow)


def timeout(seconds: float, /, *, isolation: Isolation = "auto", pool: ThreadPool | None = None,
            **options: Any) -> Decorator:
    """Give up after *seconds* with CallTimeoutError: a coroutine is cancelled, a plain function's caller walks away.

    Takes key, group, registry, isolation and pool, as command does.
    """
    return _stacked(Timeout(seconds), options, "@timeout", isolation=isolation, pool=pool)


def fallback(function: Callable[..., Any] | Fallback, /, *, on: Any = _UNSET, max_concurrent: int = _UNSET,
             **options: Any) -> Decorator:
    """Answer with *function* instead of an error; see Fallback for ``on`` and ``max_concurrent``.

    Takes key, group and registry, as command does.
    """
    given = {name: value for name, value in (("on", on), ("max_concurrent", max_concurrent)) if value is not _UNSET}
    if isinstance(function, Fallback) and given:
        raise ConfigError(f"{', '.join(given)}: said twice; put it into the Fallback", next(iter(given)))
    return _stacked(function if isinstance(function, Fallback) else Fallback(function, **given), options, "@fallback")


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
        *policies: Fallback, Cache, Retry, CircuitBreaker, Throttle, Bulkhead or AdaptiveLimit, Timeout, Chaos, in
            this order; any may be left out.
        key: As for command, with group, registry, isolation, pool, ignore and shadow.
        **options: See key.

    Raises:
        ConfigError: The order is impossible, or an option is unknown.
    """

    def __init__(self, *policies: Policy, key: str | None = None, **options: Any) -> None:
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


