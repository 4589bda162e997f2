"""What users put on their functions: command and Pipeline; single.py has one decorator per policy.

Type checkers see the original signature and result, and the ``resilience``
attribute. The work is done in guard.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable
from typing import Any, ParamSpec, TypeVar, overload

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
    in_order,
)
from .plan import Plan
from .registry import Registry
from .signatures import UNSET as _UNSET
from .signatures import Decorator, DecoratorByKey, Guarded, Isolation, Key

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")

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
    rate_limit: RateLimit | None = None,
    adaptive_limit: AdaptiveLimit | None = None,
    hedge: Hedge | None = None,
    chaos: Chaos | None = None,
    fallback: Fallback | Callable[..., Any] | None = None,
    ignore: tuple[type[Exception], ...] = (),
    pool: ThreadPool | None = None,
    shadow: bool | Iterable[str] = False,
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
    cache: Cache | None = None,
    retry: Retry | None = None,
    throttle: Throttle | None = None,
    rate_limit: RateLimit | None = None,
    adaptive_limit: AdaptiveLimit | None = None,
    hedge: Hedge | None = None,
    chaos: Chaos | None = None,
    fallback: Fallback | Callable[..., Any] | None = None,
    ignore: tuple[type[Exception], ...] = (),
    pool: ThreadPool | None = None,
    shadow: bool | Iterable[str] = False,
    registry: Registry | None = None,
) -> DecoratorByKey: ...
def command(fn: Any = _UNSET, /, *, timeout: float | None = _UNSET, max_concurrent: int | None = _UNSET,
            breaker: CircuitBreaker | None = _UNSET, cache: Cache | None = None, retry: Retry | None = None,
            throttle: Throttle | None = None, rate_limit: RateLimit | None = None,
            adaptive_limit: AdaptiveLimit | None = None, hedge: Hedge | None = None, chaos: Chaos | None = None,
            fallback: Fallback | Callable[..., Any] | None = None, **options: Any) -> Any:
    """Hystrix in one decorator: breaker, bulkhead, timeout, fallback and statistics.

    Works bare or with settings, on functions, coroutine functions, generators, async
    generators, methods, classmethods, staticmethods and callable objects.

    Args:
        fn: The function, when used bare.
        key: Name of the command; functions with one key share it. Default: module.qualname. A callable is given each
            call's arguments and returns the name: each name is a command of its own, made at its first call.
        group: Shares a dashboard section and a thread pool. Default: the module.
        timeout: Seconds; None: no timeout. Default 1.0, but none where none can reach the call: a plain function
            in its caller's thread, a generator. For an async generator it bounds the wait for each item.
        max_concurrent: Calls at once; None: no limit. Default 10, or none with an adaptive limit.
        max_keys: With a callable key: commands at once; one more takes the place of the one that was not called for
            longest, or shares an overflow command if all are in use. Default 1000.
        idle: With a callable key: seconds without a call after which a command goes. Default 300.
        isolation: "semaphore": run where the caller is. "thread": on a worker thread. "auto": thread for a plain
            function of which a timeout is stated (or a hedge or pool, which need threads), else semaphore.
        breaker: A CircuitBreaker; None: no breaker.
        cache: A Cache, which answers equal calls without executing them.
        retry: A Retry; each attempt is a call of its own to the breaker and in the counts.
        throttle: A Throttle, for a target that refuses when it is overloaded.
        rate_limit: A RateLimit: so many calls in so much time.
        adaptive_limit: An AdaptiveLimit instead of ``max_concurrent``.
        hedge: A Hedge: a second attempt beside a slow one, of a call that may be made twice.
        chaos: A Chaos, which harms calls on purpose while the registry says so.
        fallback: A Fallback, or its function: called with the call's arguments, and with the exception if it has a
            parameter named ``error``.
        ignore: The caller's own mistakes: they pass through, no fallback, no effect on health.
        pool: Threads that the group shares, for thread isolation. Default: as many as the command has slots.
        shadow: Gates that only count what they would refuse: "breaker", "throttle", "rate_limit", "max_concurrent" or
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
    policies += [each for each in (throttle, rate_limit, adaptive_limit) if each is not None]
    if adaptive_limit is None or max_concurrent is not _UNSET:
        policies.append(Bulkhead() if max_concurrent is _UNSET else Bulkhead(max_concurrent))
    policies.append(_DEFAULT_TIMEOUT if timeout is _UNSET else Timeout(timeout))
    policies += [each for each in (hedge, chaos) if each is not None]
    plan = Plan(policies=tuple(policies), whole=True, given_timeout=timeout is not _UNSET, **options)
    if fn is not _UNSET:
        return guard(fn, plan, "@command")
    return lambda function: guard(function, plan, "@command")


_COMMAND_OPTIONS = ("key", "group", "max_keys", "idle", "isolation", "ignore", "pool", "shadow", "registry")
_COMMAND_POLICIES = ("timeout", "max_concurrent", "breaker", "cache", "retry", "throttle", "rate_limit",
                     "adaptive_limit", "hedge", "chaos", "fallback")
_CALLABLES_KEPT = 128


class Pipeline:
    """Policies as a value, reusable over many functions; outermost first.

    Functions guarded by one pipeline with a ``key`` share one command; without,
    each has its own.

    Args:
        *policies: Fallback, Cache, Retry, CircuitBreaker, Throttle, RateLimit, Bulkhead or AdaptiveLimit, Timeout,
            Hedge, Chaos, in this order; any may be left out.
        key: As for command, with group, max_keys, idle, registry, isolation, pool, ignore and shadow.
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
