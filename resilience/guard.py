"""Guard: from what a user says about a function to a command in a registry and a compiled wrapper.

Every decorator makes a Plan (what is said about the function) and hands it to
guard(), which checks all of it before it changes anything: a decoration that
fails leaves no trace. A decorator over a function that is guarded already does
not wrap the wrapper: the two plans are merged and the function is compiled anew,
so that a stack becomes one wrapper.
"""

from __future__ import annotations

import functools
import inspect
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import attrs

from .core.events import Trigger
from .drivers.workers import WorkerPool
from .errors import ConfigError
from .pipeline.binding import GUARD, check_guardable, dress, flavour_of, name_of
from .pipeline.cache_keys import CacheKeys
from .pipeline.command import Command
from .pipeline.compiler import compiled
from .pipeline.dispatch import dispatcher
from .pipeline.keyspace import DEFAULT_IDLE_S, DEFAULT_MAX_KEYS, KeyedCommands, Made
from .pipeline.ledger import EVENT_OF, Ledger
from .pipeline.machines import Machines
from .pipeline.policies import (
    AdaptiveLimit,
    Bulkhead,
    Cache,
    Chaos,
    CircuitBreaker,
    Fallback,
    Hedge,
    RateLimit,
    Retry,
    Throttle,
    Timeout,
    in_order,
)
from .pipeline.rescue import rescuer
from .pipeline.settings import Settings
from .pipeline.shape import Flavour, Shape
from .plan import Plan
from .registry import Registry, default_registry


class Guard(NamedTuple):
    """What a wrapper remembers, for a further decorator above it.

    ``wrapper`` tells it apart from a copy that functools.wraps made of it. It is
    weak, so that the lower wrappers of a stack go as soon as the stack is made.
    """

    wrapper: weakref.ref[Callable[..., Any]]
    fn: Callable[..., Any]
    plan: Plan
    command: Command
    registry: Registry
    ledger: Ledger


def guard(fn: Any, plan: Plan, what: str, *, instead: bool = True) -> Any:
    """Guard *fn* as *plan* says.

    Args:
        fn: What is decorated.
        plan: What the decorator says.
        what: The decorator's name, for messages.
        instead: Whether the result takes the place of *fn*. If not, and *fn* is guarded under another key, then it
            keeps its own guard below this one.
    """
    check_guardable(fn, what)
    if isinstance(fn, (classmethod, staticmethod)):
        return type(fn)(guard(fn.__func__, plan, what))
    below = _guard_of(fn)
    if below is not None and not instead and plan.key not in (None, below.command.key, below.plan.key):
        below = None
    if below is not None:
        plan, fn = plan.above(below.plan), below.fn
    in_order(plan.policies)
    _check_keyed(plan)
    if callable(plan.key):
        return _keyed(fn, plan, plan.key, below)
    entry = _enter(fn, plan, below)
    wrapper = _wrap(fn, plan, entry)
    _brought_in(entry)
    if below is not None and below.command is not entry.command:
        _forsake(below)
    if entry.is_new:
        entry.registry.announce(entry.command)
    return wrapper


class _Entry(NamedTuple):
    """A function's place in a registry."""

    registry: Registry
    command: Command
    is_new: bool
    switch: Trigger | None
    news: tuple[str, ...]
    flavour: Flavour
    timeless: str | None
    ledger: Ledger
    rescue: Callable[..., Any] | None


def _brought_in(entry: _Entry) -> None:
    """What the function says is in force; let the circuit and the configuration know, outside the lock."""
    entry.command.switch(entry.switch)
    if entry.registry.declared is not None:
        entry.registry.declared(entry.command, entry.news)


def _check_keyed(plan: Plan) -> None:
    for name in ("max_keys", "idle"):
        if getattr(plan, name) is not None and not callable(plan.key):
            raise ConfigError(f"{name} is for many commands of one function; give a key that is a callable, such as "
                              "key=lambda host, path: host", name)


def _keyed(fn: Callable[..., Any], plan: Plan, by: Callable[..., str], below: Guard | None) -> Any:
    """A wrapper that runs each call under the command of its key, made at the key's first call.

    All of them are what a rehearsal in a registry of its own finds right now.
    """
    module, qualname = name_of(fn)
    name = f"{module}.{qualname}"
    registry = default_registry if plan.registry is None else plan.registry
    _check_apart(fn, plan, name, lambda found: found.plan.key == by)
    rehearsal = _enter(fn, attrs.evolve(plan, key=name, registry=Registry(clock=registry.clock)), below)
    if rehearsal.flavour is Flavour.THREAD:
        registry.check_pool(rehearsal.command.group, plan.pool)

    def make(key: str) -> Made:
        entry = _enter(fn, attrs.evolve(plan, key=key, template=name), None)
        # Keys without a command of their own share one, which must not answer one with what it keeps of another.
        call = _wrap(fn, plan, entry, apart=by if key == keyspace.overflow else None)

        def announce() -> None:
            if entry.is_new:
                registry.announce(entry.command)

        return Made(entry.command, getattr(call, "_self_guarded", call), functools.partial(_brought_in, entry),
                    announce)

    keyspace = KeyedCommands(
        rehearsal.command, registry, make, max_keys=DEFAULT_MAX_KEYS if plan.max_keys is None else plan.max_keys,
        idle=DEFAULT_IDLE_S if plan.idle is None else plan.idle)
    guarded: Any = dispatcher(keyspace, by, rehearsal.flavour)
    wrapper: Any = dress(guarded, fn)
    guarded.resilience = keyspace
    setattr(guarded, GUARD, Guard(weakref.ref(wrapper), fn, plan, rehearsal.command, registry, rehearsal.ledger))
    _replaces(fn, qualname, registry, below)
    return wrapper


def _replaces(fn: Callable[..., Any], qualname: str, registry: Registry, below: Guard | None) -> None:
    """Let go of the commands of what a keyed function takes the place of: a stack's lower part, a module's older self.

    These might contradict the new ones, and would do so at a call.
    """
    if below is not None:
        _forsake(below)
    former = [] if "<locals>" in qualname else list(_now_under(fn, qualname))
    for each in [*former, *([] if below is None else [below.wrapper()])]:
        keyspace = getattr(each, "resilience", None)
        if isinstance(keyspace, KeyedCommands) and keyspace.home is registry:
            keyspace.clear()


def _enter(fn: Callable[..., Any], plan: Plan, below: Guard | None) -> _Entry:
    """Check everything, then change the command, or make it."""
    module, qualname = name_of(fn)
    assert not callable(plan.key)
    key, group = plan.key or f"{module}.{qualname}", plan.group or module
    flavour, timeless = _flavour(fn, plan, key)
    registry = default_registry if plan.registry is None else plan.registry
    settings, stated = plan.settings(flavour)
    fallback = plan.find(Fallback)
    with registry.lock:
        known = registry.get(key)
        command = known if known is not None else registry.command(key, group, plan.template)
        _agree(command, plan, group, settings, stated, _is_redefinition(command, fn, plan, below))
        _check_apart(fn, plan, key, lambda found: found.command is command)
        ledger = command.ledger(fallback=fallback, ignore=plan.ignore)
        rescue = None if fallback is None else rescuer(fallback, ledger, flavour, fn)
        pool: Callable[[], WorkerPool] | None = None
        if flavour is Flavour.THREAD or plan.may_move(flavour):
            registry.check_pool(command.group, plan.pool, key)
            pool = functools.partial(registry.pool, command.group, plan.pool, key)
        if flavour is not Flavour.THREAD and pool is not None:
            command.machines.reserve, pool = pool, None
        switch, news = command.adopt(settings, stated, pool)
        if known is None:
            registry.add(command)
    return _Entry(registry, command, known is None, switch, news, flavour, timeless, ledger, rescue)


def _wrap(fn: Callable[..., Any], plan: Plan, entry: _Entry, apart: Callable[..., str] | None = None) -> Any:
    """Compile the wrapper, and make it look like *fn*; to a cache, what *apart* says of a call is one more argument."""
    command = entry.command
    guarded = _compile(fn, plan, entry, apart)
    if plan.may_move(entry.flavour):
        guarded = _movable(guarded, functools.partial(_compile_moved, fn, plan, entry, apart), command.machines)
    wrapper: Any = dress(guarded, fn)
    guarded.resilience = command  # after dress(), which may have copied another's
    setattr(guarded, GUARD, Guard(weakref.ref(wrapper), fn, plan, command, entry.registry, entry.ledger))
    with entry.registry.lock:
        command.guards(guarded, entry.timeless)
    return wrapper


def _movable(here: Any, compile_there: Callable[[], Any], machines: Machines) -> Any:
    """A wrapper that runs in its caller's thread until a file or the command's handle says a timeout."""
    there: list[Any] = []

    def guarded(*args: Any, **kwargs: Any) -> Any:
        if machines.is_moved:
            if not there:
                there.append(compile_there())  # whoever else does so as well: one is as good as the other
            return there[0](*args, **kwargs)
        return here(*args, **kwargs)

    return guarded


def _compile_moved(fn: Callable[..., Any], plan: Plan, entry: _Entry, apart: Callable[..., str] | None) -> Any:
    fallback = plan.find(Fallback)
    rescue = None if fallback is None else rescuer(fallback, entry.ledger, Flavour.THREAD, fn)
    return _compile(fn, plan, entry._replace(flavour=Flavour.THREAD, rescue=rescue), apart)


def _compile(fn: Callable[..., Any], plan: Plan, entry: _Entry, apart: Callable[..., str] | None) -> Any:
    flavour, command, ledger = entry.flavour, entry.command, entry.ledger
    limit, retry, cache = plan.find(AdaptiveLimit), plan.find(Retry), plan.find(Cache)
    shape = Shape(flavour=flavour, breaker=plan.find(CircuitBreaker) is not None,
                  bulkhead=plan.find(Bulkhead) is not None or limit is not None,
                  retry=retry is not None, retry_results=retry is not None and retry.on_result is not None,
                  throttle=plan.find(Throttle) is not None, rate=plan.find(RateLimit) is not None,
                  adaptive=limit is not None,
                  deadline=flavour.is_async and (plan.whole or plan.find(Timeout) is not None),
                  fallback=entry.rescue is not None)
    machines = command.machines.bound()
    if shape.breaker and not shape.fallback and not shape.retry:
        machines["admit"] = ledger.admission(machines["circuit"])
    if retry is not None:
        machines |= command.machines.retrying(ledger, flavour)
    if limit is not None:
        machines |= command.machines.turns(limit, flavour)
    if shape.rate:
        machines |= command.machines.line(flavour)
    machines["belated"] = ledger.belated if shape.fallback or shape.retry else ledger.refused_belated
    called = fn if plan.find(Chaos) is None else command.machines.in_chaos(fn, flavour)
    if plan.find(Hedge) is not None:
        hedging = command.machines.hedging(deposits=retry is None)
        if flavour is Flavour.THREAD:
            machines["wait"] = hedging.wait
        else:
            called = hedging.over(called)
    caching = None if cache is None else command.machines.caching(CacheKeys(fn, cache.by, apart), entry.rescue, flavour)
    guarded: Any = compiled(shape, fn=called, classify=ledger.classify, rescuable=ledger.rescuable,
                            rescue=entry.rescue if caching is None else caching.rescue,
                            refusal=ledger.refusal, emitted=ledger.emitted, EVENT_OF=EVENT_OF, **machines)
    return guarded if caching is None else caching.over(guarded)


def _guard_of(fn: Any) -> Guard | None:
    """The Guard of *fn* if it is one of our wrappers, and not somebody's wrapper around one."""
    found = getattr(fn, GUARD, None)
    if found is None and hasattr(fn, "_self_guarded"):
        found = getattr(fn._self_guarded, GUARD, None)
    return found if isinstance(found, Guard) and found.wrapper() is fn else None


def registry_of(fn: Any) -> Registry:
    """Where the command of *fn* is kept; the default registry if it is none of our wrappers."""
    found = _guard_of(fn)
    return default_registry if found is None else found.registry


def _flavour(fn: Callable[..., Any], plan: Plan, key: str) -> tuple[Flavour, str | None]:
    """How *fn* is to be run, and why no timeout can reach it (None if one can)."""
    flavour, timeout = flavour_of(fn), plan.find(Timeout)
    wants_timeout = timeout is not None and timeout.timeout is not None and plan.given_timeout
    if plan.isolation == "thread" and flavour is not Flavour.SYNC:
        raise ConfigError(f"{key}: isolation='thread' is for plain functions; {flavour.value} functions run where "
                          "they are awaited or iterated", "isolation")
    _check_suited(plan, flavour, key)
    if flavour is Flavour.GENERATOR:
        reason = "a generator runs in its consumer's thread, where no timeout can reach it; use timeout=None"
        if wants_timeout:
            raise ConfigError(f"{key}: {reason}, or an async generator", "timeout")
        return flavour, reason
    if flavour is not Flavour.SYNC:
        return flavour, None if plan.whole or timeout is not None else "it has no timeout policy to configure"
    if plan.isolation == "semaphore":
        reason = "in semaphore isolation a plain function runs in its caller's thread, where no timeout can reach it"
        if wants_timeout:
            raise ConfigError(f"{key}: {reason}; use isolation='thread' or timeout=None", "timeout")
        return flavour, reason
    if plan.isolates(flavour):
        return Flavour.THREAD, None
    if plan.may_move(flavour):
        return flavour, None
    if plan.pool is not None:
        raise ConfigError(f"{key}: a pool means nothing without thread isolation; add a timeout or isolation='thread'",
                          "pool")
    return flavour, ("it was decorated without a timeout, so it runs in its caller's thread, where none can reach it; "
                     "decorate it with timeout=... or isolation='thread'")


def _check_suited(plan: Plan, flavour: Flavour, key: str) -> None:
    """Raise ConfigError if a policy of *plan* is not for functions of this *flavour*."""
    if flavour.is_generator and plan.find(Retry) is not None:
        raise ConfigError(f"{key}: a generator cannot be tried again once it has yielded; retry what it calls", "retry")
    if plan.find(Hedge) is not None and not plan.isolates(flavour) and flavour is not Flavour.ASYNC:
        why = "what a generator has yielded cannot be taken back" if flavour.is_generator else \
            "two attempts at once of a plain function take two threads; add isolation='thread' or a timeout"
        raise ConfigError(f"{key}: a hedge is for coroutine functions and isolated ones: {why}", "hedge")
    if flavour.is_generator and plan.find(Cache) is not None:
        raise ConfigError(f"{key}: a generator has no result to keep; cache what it calls, or return a list", "cache")
    chaos = plan.find(Chaos)
    if flavour.is_generator and chaos is not None and chaos.wrong is not None:
        raise ConfigError(f"{key}: a generator has no result to spoil; leave wrong out", "wrong")
    limit = plan.find(AdaptiveLimit)
    if limit is not None and (limit.priorities or limit.max_queue) and plan.isolates(flavour):
        name = "priorities" if limit.priorities else "max_queue"
        raise ConfigError(f"{key}: {name} of an adaptive limit is for calls that run where their caller is; use "
                          "timeout=None or isolation='semaphore'", name)


def _agree(command: Command, plan: Plan, group: str, settings: Settings, stated: frozenset[str],
           redefined: bool) -> None:
    """Raise ConfigError if another function says otherwise about the same key."""
    if command.group != group and plan.group is not None:
        raise ConfigError(f"group: {command.key!r} is in group {command.group!r} already, not {group!r}; "
                          "registry.remove(key) would let it begin anew", "group")
    name = None if redefined else command.conflict(settings, stated)
    if name is not None:
        raise ConfigError(
            f"{name}: {command.key!r} exists with {command.declared(name)!r}, and functions that share a key "
            f"must agree; not {getattr(settings, name)!r}", name)


def _is_redefinition(command: Command, fn: Callable[..., Any], plan: Plan, below: Guard | None) -> bool:
    """Whether *fn* takes the place of the command's only function: a reloaded module, a notebook's cell run anew.

    It may say something new, then. Two lambdas, or a property's getter and setter, have one name too, but
    neither stands under it when the other is made.
    """
    name = name_of(fn)
    if "<locals>" in name[1]:
        return False
    others = [each for each in command.functions if below is None or each is not _function_of(below)]
    if not others:
        return plan.key is None
    if any(name_of(each) != name or each.__wrapped__ is fn for each in others):  # type: ignore[attr-defined]
        return False
    return any(getattr(each, "_self_guarded", each) in others for each in _now_under(fn, name[1]))


def _now_under(fn: Callable[..., Any], qualname: str) -> Iterator[Any]:
    """What stands under *qualname* in the module of *fn* until *fn* does, and all that it wraps."""
    first, *rest = qualname.split(".")
    found = getattr(inspect.unwrap(fn), "__globals__", {}).get(first)
    for name in rest:
        found = inspect.getattr_static(found, name, None)
    found = found.fget if isinstance(found, property) else found
    while found is not None:
        yield found
        found = getattr(found, "__wrapped__", None)


def _check_apart(fn: Callable[..., Any], plan: Plan, key: str, same: Callable[[Guard], bool]) -> None:
    """Raise ConfigError if *fn* wraps, with somebody's decorator between, a guard that does the *same* for this key."""
    inner: Any = fn
    while inner is not None:
        found = _guard_of(inner)
        if found is not None and same(found):
            for policy in plan.policies:
                if found.plan.find(type(policy)) is not None:
                    raise ConfigError(
                        f"{key}: {type(policy).__name__} stands above and below another decorator, so that "
                        "each call would pass it twice; keep one of them, or give one a key of its own", "key")
        inner = _beneath(inner)


def _beneath(fn: Any) -> Any:
    """What a wrapper, a partial or a bound method calls; None if that is all."""
    if isinstance(fn, functools.partial):
        return fn.func
    return fn.__func__ if isinstance(fn, types.MethodType) else getattr(fn, "__wrapped__", None)


def _function_of(below: Guard) -> Callable[..., Any] | None:
    wrapper: Any = below.wrapper()
    function: Callable[..., Any] | None = getattr(wrapper, "_self_guarded", wrapper)
    return function  # under a proxy, the compiled one


def _forsake(below: Guard) -> None:
    """The command that a lower decorator of this stack made, before a higher one gave another key or registry."""
    if len(below.command.functions) <= 1 and below.registry.get(below.command.key) is below.command:
        below.registry.remove(below.command.key)
