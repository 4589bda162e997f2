"""``command``, Hystrix in one decorator, and ``Pipeline``, policies as a value.

Type checkers see the original signature and result, and the ``resilience``
attribute. The work is done in guard.py.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable
from types import FunctionType
from typing import Any, Final, ParamSpec, TypeVar, overload

from ..core.checks import by_identity, unknown_option
from ..policies.order import in_order, kit_of, kits
from .arguments import CommandDecorator, Policy
from .declaration import Declaration
from .decoration import guard
from .policy_decorators import OPTIONS
from .signatures import UNSET, Descriptor, Free, Guarded, Key, Method

P = ParamSpec("P")
T = TypeVar("T")

_CALLABLES_KEPT: Final = 128


def _command(fn: Any = UNSET, /, **settings: Any) -> Any:
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
        max_concurrent: Calls at once, or a Bulkhead, which may let further ones wait; None: no limit. Default 10, or
            none with an adaptive limit.
        max_keys: With a callable key: commands at once; one more takes the place of the one that was not called for
            longest, or shares an overflow command if all are in use. Default 1000.
        idle: With a callable key: seconds without a call after which a command goes. Default 300.
        isolation: "semaphore": run where the caller is. "thread": on the group's worker threads. "auto": thread for
            a plain function with a timeout, else semaphore.
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
        policies: Further policies, such as those of your own; each is put where it belongs in the order.
        ignore: The caller's own mistakes: they pass through, no fallback, no effect on health.
        pool: The group's threads, for thread isolation.
        shadow: Gates that only count what they would refuse: "breaker", "throttle", "rate_limit", "max_concurrent" or
            "adaptive_limit"; True: all it has.
        registry: Where the command is kept. Default: resilience.default_registry.

    Raises:
        ConfigError: A setting is out of range, unknown or contradicts another; names it.
        TypeError: What is decorated is not callable.
    """
    options = {name: settings.pop(name) for name in OPTIONS if name in settings}
    policies, usual = _policies(settings)
    declaration = Declaration(policies=policies, whole=True, usual=usual, **options)
    if fn is not UNSET:
        return guard(fn, declaration, "@command")
    return lambda function: guard(function, declaration, "@command")


def _policies(settings: dict[str, Any]) -> tuple[tuple[Any, ...], frozenset[str]]:
    """The policies that *settings* ask for, outermost first, and the names of those that are there by default."""
    further = tuple(settings.pop("policies", ()))
    known = kits()
    names = {kit.name for kit in known}
    for name in settings:
        if name not in names:
            raise unknown_option(name, (*names, "policies", *OPTIONS), "command")
    given = {kit: kit.meant(settings[kit.name]) for kit in known if kit.name in settings
             and (settings[kit.name] is not None or kit.setting)}
    given |= {kit_of(policy): policy for policy in further}
    replaced = {name for kit, policy in given.items() if policy is not None for name in kit.instead_of}
    usual = {kit: kit.usual for kit in known
             if kit.usual is not None and kit not in given and kit.name not in replaced}
    chosen = {kit: policy for kit, policy in {**usual, **given}.items() if policy is not None}
    return tuple(chosen[kit] for kit in known if kit in chosen), frozenset(kit.name for kit in usual)


def _signature() -> inspect.Signature:
    """What completion and ``help()`` show of command."""
    settings = {kit.name: kit.said(kit.usual) for kit in kits()}
    return inspect.Signature([
        inspect.Parameter("fn", inspect.Parameter.POSITIONAL_ONLY, default=UNSET),
        *(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
          for name, default in {**OPTIONS, **settings, "policies": ()}.items())])


_command.__name__ = _command.__qualname__ = "command"
_command.__signature__ = _signature()  # type: ignore[attr-defined]
command: CommandDecorator = _command


class Pipeline:
    """Policies as a value, reusable over many functions; outermost first.

    Functions guarded by one pipeline with a ``key`` share one command; without,
    each has its own.

    Args:
        *policies: Fallback, Cache, Retry, CircuitBreaker, Throttle, RateLimit, Bulkhead or AdaptiveLimit, Timeout,
            Hedge, Chaos, in this order; any may be left out. Policies of your own stand where they say.
        key: As for command, with group, max_keys, idle, registry, isolation, pool, ignore and shadow.
        **options: See key.

    Raises:
        ConfigError: The order is impossible, or an option is unknown.
        TypeError: Something is no policy.
    """

    def __init__(self, *policies: Policy, key: Key | None = None, **options: Any) -> None:
        for name in options:
            if name not in OPTIONS:
                raise unknown_option(name, OPTIONS, "Pipeline")
        in_order(policies)
        self._plan = Declaration(policies=policies, key=key, **options)
        self._kept: OrderedDict[Any, tuple[Any, Any]] = OrderedDict()  # least recently called first

    def __repr__(self) -> str:
        return f"Pipeline({', '.join(map(repr, self._plan.policies))})"

    @overload
    def __call__(self, fn: Descriptor, /) -> Descriptor: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Free[P, T], /) -> Guarded[P, T]: ...
    @overload
    def __call__(self, fn: Method, /) -> Method: ...
    @overload
    def __call__(self, fn: Callable[P, T], /) -> Guarded[P, T]: ...
    def __call__(self, fn: Any, /) -> Any:
        """Decorate a function."""
        return guard(fn, self._plan, "Pipeline")

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call *fn* once through the pipeline, and no other that is equal to it; a coroutine's result is to be awaited.

        The first call with a function compiles its wrapper, later ones use it; those of the last 128 functions
        are kept. Give call() the same function each time, and what varies as arguments.
        """
        # By identity: a callable that is equal to another need not do the same.
        key: Any = id(fn) if type(fn) is FunctionType else by_identity(fn)
        try:
            _, guarded = self._kept[key]
            self._kept.move_to_end(key)
        except KeyError:
            guarded = self._guard(key, fn)
        return guarded(*args, **kwargs)  # type: ignore[no-any-return]

    def _guard(self, key: Any, fn: Any) -> Any:
        kept, guarded = self._kept, guard(fn, self._plan, "Pipeline.call", instead=False)
        kept[key] = fn, guarded  # an id is its object's only as long as that lives, so it is kept as well
        while len(kept) > _CALLABLES_KEPT:
            try:
                kept.popitem(last=False)
            except KeyError:  # another thread was faster
                break
        return guarded
