"""``command``, Hystrix in one decorator, ``block``, the same for ``with``, and ``Pipeline``, policies as a value.

Type checkers see the original signature and result, and the ``resilience``
attribute. The work is done in decoration.py.
"""

from __future__ import annotations

import inspect
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType
from typing import Any, Final, ParamSpec, TypeVar, Unpack, overload

import attrs

from ..core.callable_identity import by_identity
from ..core.setting_names import as_written, renamed, unknown_option
from ..core.sharing import shared
from ..engine.kit import Kit
from ..errors import ConfigError
from ..policies.order import in_order, kit_named, kit_of, kits
from .arguments import BlockArguments, CommandDecorator, CommandOptions, Policy
from .block import CANNOT, Block, BlockPlace
from .declaration import Declaration
from .decoration import guard
from .policy_decorators import OPTIONS, decorator, policy
from .signatures import UNSET, Descriptor, Free, Guarded, Key, Method

P = ParamSpec("P")
T = TypeVar("T")

_CALLABLES_KEPT: Final = 128
_FEW: Final = 3  # that many suggestions are read


def _command(fn: Any = UNSET, /, **settings: Any) -> Any:
    """Guard a function, as Hystrix does, with a circuit breaker, a bulkhead, a timeout, a fallback and statistics.

    Works with or without parentheses, on functions, coroutine functions, generators, async generators, methods,
    classmethods, staticmethods and callable objects.

    Args:
        fn: The function, if the decorator stands without parentheses.
        **settings: The settings below, each by its name.
        key: Name of the command; functions with the same key share it. Default: module and qualified name. A function
            as key is called with each call's arguments and returns the name of the command, which is made at its first
            call.
        group: Name of the group, which shares a section of the dashboard and a thread pool. Default: the module.
        timeout: Seconds that a call may take; None: no timeout. Default 1.0, or none where a call cannot be ended: for
            a plain function in semaphore isolation and for a generator. For an async generator it limits the wait for
            each item.
        max_concurrent: Largest number of calls that run at once, or a Bulkhead, which may let further calls wait; None:
            no limit. Default 10, or none with an adaptive limit.
        max_keys: With a function as ``key``: largest number of commands. A further one replaces the command that was
            not called for longest, or shares an overflow command if all are in use. Default 1000.
        idle: With a function as ``key``: seconds without a call after which a command is removed. Default 300.
        isolation: "semaphore": the function runs in its caller's thread. "thread": it runs on a worker thread. "auto":
            a plain function with a stated timeout runs on a worker thread, all others in their caller's.
        failover: A Failover, which names the targets that the function may call. Each has a command of its own, with
            the settings below. Fallback, cache, retry and hedge stand above all of them.
        breaker: A CircuitBreaker; None: no breaker.
        cache: A Cache, which answers equal calls without running the function.
        retry: A Retry. To the breaker and in the counts each attempt is a call.
        throttle: A Throttle, for a target that refuses calls when it is overloaded.
        rate_limit: A RateLimit, which limits the number of calls in a period.
        adaptive_limit: An AdaptiveLimit, which replaces ``max_concurrent``.
        stream_timeout: A StreamTimeout, for generators and async generators, which replaces ``timeout``.
        hedge: A Hedge, which starts a second attempt if the first is slow.
        chaos: A Chaos, which injects faults into calls while Registry.start_chaos() is in effect.
        failures: What a call amounts to: http_status(), Exception classes, a function of an Ending, several of these,
            or FailureRules. All policies act on its verdict.
        fallback: A Fallback, or its function. It is called with the call's arguments, and with the exception if it has
            a parameter named ``error``.
        policies: Further policies, such as your own; each takes its place in the order.
        ignore: Exception class, or tuple of classes, for which the caller is to blame. They reach the caller without a
            fallback and have no effect on health.
        pool: A ThreadPool: the worker threads of the group, for thread isolation.
        shadow: Policies that only count the calls that they would refuse: "breaker", "throttle", "rate_limit",
            "max_concurrent" or "adaptive_limit", one or several; True: all that the command has.
        registry: Registry that keeps the command. Default: resilience.default_registry.

    Raises:
        ConfigError: A setting is out of range, unknown, or contradicts another; the message names it.
        TypeError: What is decorated is not callable.
    """
    declaration = _declaration(settings, "command")
    if fn is not UNSET:
        return guard(fn, declaration, "@command")
    return decorator(declaration, "@command")


def block(key: str, **settings: Unpack[BlockArguments]) -> Block:
    """Guard the code in ``with`` and ``async with`` statements, which is no function, as ``command`` guards functions.

    The defaults are those of ``command``: a breaker, ten calls at once, and one second for an ``async with``. The code
    in a ``with`` cannot be interrupted and has no timeout. Functions and blocks with the same key share one command.

    Args:
        key: Name of the command.
        **settings: As for resilience.command: group, timeout, max_concurrent, breaker, throttle, rate_limit,
            adaptive_limit, chaos, failures, policies, ignore, shadow and registry. Policies that run code again,
            elsewhere or not at all (retry, hedge, failover, fallback, cache) and thread isolation are for functions.

    Returns:
        A Block: one value, to be entered as often as wanted, from any thread or task.

    Raises:
        ConfigError: A setting is out of range, unknown, contradicts another, or is none for a block; the message names
            it.
    """
    return Block(_declaration({"key": key, **settings}, "block"), BlockPlace.of(sys._getframe(1)))


def _declaration(settings: dict[str, Any], where: str) -> Declaration:
    """What *settings* of ``command`` or ``block`` say; *where* is which of the two."""
    options = {name: settings.pop(name) for name in OPTIONS if name in settings}
    policies, usual = _policies(settings, where)
    return Declaration(policies=policies, whole=True, usual=usual, **options)


def _policies(settings: dict[str, Any], where: str) -> tuple[tuple[Any, ...], frozenset[str]]:
    """The policies that *settings* ask for, outermost first, and the names of those that are there by default."""
    further = settings.pop("policies", ())
    if not isinstance(further, Iterable):
        raise ConfigError(f"policies must be a list of policies, not a value of type {type(further).__name__}; "
                          "write policies=[...]", "policies")
    further = tuple(further)
    known = kits()
    names = {kit.name for kit in known}
    for name, value in settings.items():
        if name not in names:
            raise _unknown_setting(name, value, known, where)
    said = {kit: settings[kit.name] for kit in known if kit.name in settings}
    listed = {kit_of(policy): policy for policy in further}
    for kit in listed:
        name = kit.policy.__name__
        if said.get(kit) is not None or (kit in said and kit.usual is not None):  # None is none, or the default
            raise ConfigError(f"{kit.name}= is given, and policies has a {name} too; keep one of them", kit.name)
        if sum(kit_of(policy) is kit for policy in further) > 1:
            raise ConfigError(f"policies has more than one {name}; keep one of them", kit.name)
    replaced = {name for kit, value in {**said, **listed}.items() if value is not None for name in kit.instead_of}
    given = {kit: kit.meant(value) for kit, value in said.items()
             if value is not None or (kit.setting and kit.name not in replaced)} | listed
    usual = {kit: kit.usual for kit in known
             if kit.usual is not None and kit not in given and kit.name not in replaced}
    chosen = {kit: policy for kit, policy in {**usual, **given}.items() if policy is not None}
    return tuple(chosen[kit] for kit in known if kit in chosen), shared(frozenset(kit.name for kit in usual))


def _unknown_setting(name: str, value: Any, known: tuple[Kit, ...], where: str) -> ConfigError:
    """The error for a setting that ``command`` or ``block`` does not have.

    It may be the field of a policy, or what another library calls a setting.

    Args:
        name: What was written.
        value: What it was given.
        known: The kits of all policies.
        where: "command" or "block".
    """
    names = (*(kit.name for kit in known), "policies", *OPTIONS)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    meant = renamed(name, names)
    found = []
    for kit in known if meant is None or is_number else ():
        fields = [field.name for field in attrs.fields(kit.policy) if field.init] if attrs.has(kit.policy) else []
        field = name if name in fields else renamed(name, fields)
        if field is not None and kit.principal is None and meant in (None, kit.name):
            inner = as_written(name, field, fields, value) if field != name else \
                f"{name}={f'{value:.12g}' if is_number else '...'}"
            found.append(f"{kit.name}={kit.policy.__name__}({inner})")
    if not 0 < len(found) <= _FEW:
        return unknown_option(name, names, where)
    return ConfigError(f"{where} has no setting {name!r}; did you mean {' or '.join(found)}?", name)


def _signature() -> inspect.Signature:
    """What completion and ``help()`` show of command."""
    settings = {kit.name: kit.said(kit.usual) for kit in kits()}
    return inspect.Signature([
        inspect.Parameter("fn", inspect.Parameter.POSITIONAL_ONLY, default=UNSET),
        *(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
          for name, default in {**OPTIONS, **settings, "policies": ()}.items())])


def _shown(function: Any, settings: Mapping[str, Any], *but: str) -> None:
    """Let completion and ``help()`` show *settings* of a *function* that takes them by name, *but* for some."""
    own = [each for each in inspect.signature(function).parameters.values() if each.kind is not each.VAR_KEYWORD]
    function.__signature__ = inspect.Signature([*own, *(
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
        for name, default in settings.items() if name not in {*but, *(each.name for each in own)})])


_shown(block, {**OPTIONS, **{kit.name: kit.said(kit.usual) for kit in kits() if not kit.no_block}, "policies": ()},
       *CANNOT)
_shown(policy, OPTIONS)
_command.__name__ = _command.__qualname__ = "command"
_command.__signature__ = _signature()  # type: ignore[attr-defined]
command: CommandDecorator = _command


class Pipeline:
    """A chain of policies as a value, which may guard any number of functions.

    Functions that are guarded by one pipeline with a ``key`` share one command. Without a key each has a command of its
    own. It may be used from any thread.

    Args:
        *policies: Fallback, Cache, Retry, CircuitBreaker, Throttle, RateLimit, Bulkhead or AdaptiveLimit, Timeout
            or StreamTimeout, Hedge, FailureRules, Chaos, outermost first and in this order; any may be left out.
            Policies of your own stand where they say.
        key: Name of the command, or a function that names the command of each call; see resilience.command.
        **options: group, max_keys, idle, registry, isolation, pool, ignore and shadow, as for resilience.command.

    Raises:
        ConfigError: The order is impossible, or an option is unknown or out of range.
        TypeError: One of *policies* is no policy.
    """

    def __init__(self, *policies: Policy, key: Key | None = None, **options: Unpack[CommandOptions]) -> None:
        for name in options:
            kit = kit_named(name)
            if kit is not None:
                raise ConfigError(f"Pipeline has no setting {name!r}; pass the policy itself, as in "
                                  f"Pipeline({kit.policy.__name__}(...))", name)
            if name not in OPTIONS:
                raise unknown_option(name, OPTIONS, "Pipeline")
        in_order(policies)
        self._plan = Declaration(policies=policies, key=key, **options)
        self._kept: OrderedDict[Any, tuple[Any, Any]] = OrderedDict()  # least recently called first

    def __repr__(self) -> str:
        key = () if self._plan.key is None else (f"key={self._plan.key!r}",)
        return f"Pipeline({', '.join((*map(repr, self._plan.policies), *key))})"

    @overload
    def __call__(self, fn: Descriptor, /) -> Descriptor: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Free[P, T], /) -> Guarded[P, T]: ...
    @overload
    def __call__(self, fn: Method, /) -> Method: ...
    @overload
    def __call__(self, fn: Callable[P, T], /) -> Guarded[P, T]: ...
    def __call__(self, fn: Any, /) -> Any:
        """Decorate a function, method or callable object.

        Args:
            fn: What to guard.

        Raises:
            ConfigError: The policies contradict the function, or another function with the same key.
            TypeError: *fn* is nothing that can be called.
        """
        return guard(fn, self._plan, "Pipeline")

    def block(self, key: str | None = None) -> Block:
        """The pipeline for the code in ``with`` and ``async with`` statements; see resilience.block.

        Args:
            key: Name of the command, if the pipeline has no key.

        Raises:
            ConfigError: There is no key, or there are two; or a policy is none for a block.
        """
        if key is not None and self._plan.key is not None:
            raise ConfigError(f"key: the pipeline has {self._plan.key!r}, and the block asks for {key!r}", "key")
        plan = self._plan if key is None else attrs.evolve(self._plan, key=key)
        return Block(plan, BlockPlace.of(sys._getframe(1)))

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call *fn* once through the pipeline. The result of a coroutine function is to be awaited.

        The first call with a function compiles its wrapper, and later calls use it. The wrappers of the last 128
        functions are kept, each for the very object that was given: pass the same function each time, and what varies
        as arguments.

        Args:
            fn: The function to call.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.
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


_shown(Pipeline.__init__, OPTIONS)
