"""Decoration: from what a user says about a function to a command in a registry and a compiled wrapper.

Every decorator makes a Declaration (what is said about the function) and hands it to
guard(), which checks all of it before it changes anything: a decoration that
fails leaves no trace. A decorator over a function that is guarded already does
not wrap the wrapper: the two declarations are merged and the function is compiled anew,
so that a stack becomes one wrapper.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Final, NamedTuple

import attrs

from ..commands.command import Command, internals_of
from ..commands.command_table import CommandTable
from ..commands.dispatch import dispatcher
from ..commands.keyed_commands import KeyedCommands, keyspace_of
from ..commands.keyspace import DEFAULT_IDLE_S, DEFAULT_MAX_KEYS, Keyspace, Made
from ..core.checks import same_word
from ..drivers.workers import WorkerPool
from ..engine.call_accounting import CallAccounting
from ..engine.callables import GUARD, check_guardable, flavour_of, name_of, transparent_frame, wrap_like
from ..engine.command_runtime import CommandRuntime
from ..engine.compiler import compiled
from ..engine.error_translation import translated
from ..engine.fallback_runner import fallback_runner
from ..engine.kit import Afterwards
from ..engine.site import Site
from ..engine.wrapper_spec import Flavour
from ..errors import ConfigError
from ..policies.order import in_order
from ..registry import Registry, default_registry, table_of
from .agreement import agree
from .declaration import Declaration
from .failover_parts import FailoverParts, called_at
from .redefinition import is_redefinition, now_under
from .wrapper_stack import Guard, check_apart, guard_of, is_above, key_beneath

# Settings that cannot be in force for a function, each with the reason; commands keep these mappings as they are.
_ALL_CAN: Final[Mapping[str, str]] = {}
_IN_CONSUMERS_THREAD: Final[Mapping[str, str]] = {
    "timeout": "a generator runs in its consumer's thread, where no timeout can reach it; use timeout=None"}
_IN_CALLERS_THREAD: Final[Mapping[str, str]] = {
    "timeout": "in semaphore isolation a plain function runs in its caller's thread, where no timeout can reach it"}
_IN_ENTERING_THREAD: Final[Mapping[str, str]] = {
    "timeout": "a with block runs in the thread that enters it, where no timeout can reach it; use async with, or "
               "timeout=None with a deadline() around the block, which bounds what is called in it"}
#: Flavours that no timeout can reach, and what to use besides.
_BEYOND_REACH: Final[Mapping[Flavour, tuple[Mapping[str, str], str]]] = {
    Flavour.GENERATOR: (_IN_CONSUMERS_THREAD, ", or an async generator"), Flavour.BLOCK: (_IN_ENTERING_THREAD, "")}
_WITHOUT_TIMEOUT: Final[Mapping[str, str]] = {"timeout": "it has no timeout policy to configure"}
_DECORATED_WITHOUT: Final[Mapping[str, str]] = {
    "timeout": "it was decorated without a timeout, so it runs in its caller's thread, where none can reach it; "
               "decorate it with timeout=... or isolation='thread'"}


def guard(fn: Any, declaration: Declaration, what: str, *, instead: bool = True) -> Any:
    """Guard *fn* as the *declaration* says.

    Args:
        fn: The function, method or callable object that is decorated.
        declaration: What the decorator says.
        what: Name of the decorator, for messages.
        instead: Whether the result takes the place of *fn*. If it does not, and *fn* is guarded under another key
            already, then *fn* keeps its own guard below this one.

    Raises:
        ConfigError: The declaration contradicts itself, the function, or another function with the same key.
        TypeError: *fn* is nothing that can be called.
    """
    check_guardable(fn, what)
    if isinstance(fn, (classmethod, staticmethod)):
        return type(fn)(guard(fn.__func__, declaration, what))
    below = guard_of(fn)
    if below is not None and not instead and declaration.key is not None and not (
            same_word(declaration.key, below.command.key) or same_word(declaration.key, below.declaration.key)):
        below = None
    if below is not None:
        declaration, fn = declaration.above(below.declaration), below.fn
    in_order(declaration.policies)
    _check_keyed(declaration)
    table = table_of(default_registry if declaration.registry is None else declaration.registry)
    table.sweep()
    if callable(declaration.key) or declaration.named("failover") is not None:
        return _with_several(fn, declaration, below)
    with table.lock:  # nobody is to meet a command without its function: it looks like one whose function is gone
        entry = _enter(fn, declaration, below)
        try:
            wrapper = _wrap(fn, declaration, entry)
        except BaseException:
            if entry.is_new:
                table.dismiss(entry.command, None)
            raise
    _brought_in(entry)
    if below is not None and below.command is not entry.command:
        _forsake(below)
    if entry.is_new:
        table.announce(entry.command)
    return wrapper


def guard_alike(fn: Any, guarded: Any) -> Any:
    """Guard *fn* as what is *guarded* already, by the same command: a block has two flavours.

    Raises:
        ConfigError: A setting of the command cannot be in force for *fn*.
    """
    known: Guard = getattr(guarded, GUARD)
    internals = internals_of(known.command)
    with table_of(known.registry).lock:
        flavour, cannot = _flavour(fn, known.declaration, known.command.key)
        for name, why in cannot.items():  # said by a file, or by the handle
            if getattr(internals.settings, name) not in (None, getattr(internals.declared, name)):
                raise ConfigError(f"{known.command.key}: {why}", name)
        return _wrap(fn, known.declaration, _Entry(known.registry, known.command, False, [], (), flavour, cannot,
                                                   known.accounting, None))


class _Entry(NamedTuple):
    """A function's place in a registry."""

    registry: Registry
    command: Command
    is_new: bool
    afterwards: list[Afterwards]
    news: tuple[str, ...]
    flavour: Flavour
    cannot: Mapping[str, str]
    accounting: CallAccounting
    fall_back: Callable[..., Any] | None


def _brought_in(entry: _Entry) -> None:
    """What the function says is in force; let the circuit and the configuration know, outside the lock."""
    internals_of(entry.command).finish(entry.afterwards)
    declared = table_of(entry.registry).declared
    if declared is not None:
        declared(entry.command, entry.news)


def _check_keyed(declaration: Declaration) -> None:
    for name in ("max_keys", "idle"):
        if getattr(declaration, name) is not None and not callable(declaration.key):
            raise ConfigError(f"{name} is for many commands of one function; give a key that is a callable, such as "
                              "key=lambda host, path: host", name)


def _with_several(fn: Callable[..., Any], declaration: Declaration, below: Guard | None) -> Any:
    """A wrapper that runs each call under the command of its key, of one of its failover's targets, or of both.

    The commands of a key are made at its first call, and are what a rehearsal in a registry of its own finds right now.
    Those of a failover whose key is fixed are made at once.
    """
    module, qualname = name_of(fn)
    by, has_failover = declaration.key if callable(declaration.key) else None, bool(declaration.named("failover"))
    parts = FailoverParts.of(fn, declaration, f"{module}.{qualname}") if has_failover else None
    name = f"{module}.{qualname}" if parts is None else parts.name
    registry = default_registry if declaration.registry is None else declaration.registry
    table = table_of(registry)
    check_apart(fn, declaration, name, lambda found: found.declaration.named("failover") is not None if by is None
                else same_word(found.declaration.key, by))
    rehearsal = _enter(fn, attrs.evolve(declaration, key=name, registry=Registry(clock=registry.clock)), below)
    if rehearsal.flavour is Flavour.THREAD:
        table.check_pool(rehearsal.command.group, declaration.pool)
    _replaces(fn, qualname, registry, below)

    def make(key: str) -> Made:
        # Keys without a command of their own share one, which must not answer one with what it keeps of another.
        apart = by if key == keyspace.overflow else None
        if parts is not None:
            return _of_targets(parts.of_key(key), table, apart)
        return _of_key(fn, attrs.evolve(declaration, key=key, templates=(name,)), table, apart)

    max_keys, idle = (DEFAULT_MAX_KEYS, DEFAULT_IDLE_S) if by is not None else (1, inf)
    keyspace = Keyspace(rehearsal.command, table, make,
                        max_keys=max_keys if declaration.max_keys is None else declaration.max_keys,
                        idle=idle if declaration.idle is None else declaration.idle)
    if by is not None:
        guarded, accounting = dispatcher(keyspace, by, rehearsal.flavour), rehearsal.accounting
    else:
        assert parts is not None
        keyspace.names = parts.names
        guarded = _admitted(keyspace, name)
        targets = parts.failover.targets
        own = [command.key for command in keyspace.commands()[-len(targets):]]  # if the names were taken, not theirs
        keyspace.names = dict(zip(targets, own, strict=True))
        accounting = getattr(guarded, GUARD).accounting
    wrapper: Any = wrap_like(guarded, fn)
    guarded.resilience = KeyedCommands(keyspace)  # type: ignore[attr-defined]
    keyspace.wrapper = weakref.ref(wrapper)
    setattr(guarded, GUARD, Guard(weakref.ref(wrapper), fn, declaration, rehearsal.command, registry, accounting))
    return wrapper


def _admitted(keyspace: Keyspace, key: str) -> Callable[..., Any]:
    """The wrapper of a *key* that is there from the decoration on; a decoration that fails leaves no trace."""
    try:
        return keyspace.admit(key).call
    except BaseException:
        keyspace.clear()
        raise


def _of_key(fn: Callable[..., Any], declaration: Declaration, table: CommandTable,
            apart: Callable[..., str] | None) -> Made:
    """The command of one key of a function."""
    entry = _enter(fn, declaration, None)
    call = _compiled(_wrap(fn, declaration, entry, apart))
    return _made(((entry, call),), call, table)


def _of_targets(parts: FailoverParts, table: CommandTable, apart: Callable[..., str] | None) -> Made:
    """The commands of all targets of one key, and of what stands above them; see commands.failover_loop."""
    made: list[tuple[_Entry, Any]] = []
    try:
        targets = []
        for name in parts.failover.targets:
            sites: list[Site] = []

            def be_target(site: Site, sites: list[Site] = sites) -> None:
                sites.append(site)  # it may be compiled again, for worker threads
                parts.be_target(site)

            entry, call = _entered(parts.fn, parts.each(name), made, None, be_target, parts.names_above)
            targets.append(parts.target(name, call, sites[0]))
        entry = made[0][0]
        guarded = _compiled(_wrap(parts.fn, parts.first(), entry, prepare=lambda site: parts.be_first(site, targets)))
        internals_of(entry.command).remove_function(guarded)  # the target has one already
        transparent_frame(guarded)
        if parts.above:
            _, guarded = _entered(guarded, parts.declaration_above(), made, apart,
                                  lambda site: parts.stand_above(site, targets), parts.names_below)
        return _made((*made[len(targets):], *made[:len(targets)]), guarded, table)
    except BaseException:
        for entry, call in made:
            if entry.is_new and table.commands.get(entry.command.key) is entry.command:
                table.drop(entry.command)
            else:
                table.dismiss(entry.command, call)
        raise


def _entered(fn: Callable[..., Any], declaration: Declaration, made: list[tuple[_Entry, Any]],
             apart: Callable[..., str] | None, prepare: Callable[[Site], object],
             elsewhere: frozenset[str]) -> tuple[_Entry, Any]:
    """One command of several, and the function that runs under it, which are noted as *made*."""
    entry = _enter(fn, declaration, None)
    made.append((entry, None))
    internals_of(entry.command).elsewhere = elsewhere
    made[-1] = entry, _compiled(_wrap(fn, declaration, entry, apart, prepare))
    return made[-1]


def _made(parts: tuple[tuple[_Entry, Any], ...], call: Callable[..., Any], table: CommandTable) -> Made:
    """What a keyspace keeps of these *parts*, the functions of which are called by *call*."""
    def bring() -> None:
        for entry, _ in parts:
            _brought_in(entry)

    def announce() -> None:
        for entry, _ in parts:
            if entry.is_new:
                table.announce(entry.command)

    return Made(tuple((entry.command, own) for entry, own in parts), call, bring, announce)


def _compiled(wrapper: Any) -> Any:
    """The compiled function of a *wrapper*, which may be a proxy of it."""
    return getattr(wrapper, "_self_guarded", wrapper)


def _replaces(fn: Callable[..., Any], qualname: str, registry: Registry, below: Guard | None) -> None:
    """Let go of the commands of what a keyed function takes the place of: a stack's lower part, a module's older self.

    These might contradict the new ones, and would do so at a call.
    """
    if below is not None:
        _forsake(below)
    former = [] if "<locals>" in qualname else list(now_under(fn, qualname))
    for each in [*former, *([] if below is None else [below.wrapper()])]:
        keyed = getattr(each, "resilience", None)
        if isinstance(keyed, KeyedCommands) and keyspace_of(keyed).home is table_of(registry):
            keyed.clear()


def _enter(fn: Callable[..., Any], declaration: Declaration, below: Guard | None) -> _Entry:
    """Check everything, then change the command, or make it."""
    module, qualname = name_of(fn)
    assert not callable(declaration.key)
    name, group = f"{module}.{qualname}", declaration.group or module
    is_derived = declaration.key is None or declaration.is_derived
    if declaration.is_derived and declaration.key is not None:
        name = declaration.key
    key = declaration.key or (name if below is None or below.declaration.key is not None else below.command.key)
    flavour, cannot = _flavour(fn, declaration, key)
    registry = default_registry if declaration.registry is None else declaration.registry
    table = table_of(registry)
    settings, stated = declaration.settings(flavour)
    fallback = declaration.named("fallback")
    with table.lock:
        if declaration.key is None and below is None:
            key = key_beneath(fn, table, name)
        known = table.commands.get(key)
        if known is None and declaration.key is None and key != name:  # the lower one's was removed
            key, known = name, table.commands.get(name)
        redefined = known is not None and is_redefinition(known, fn, declaration, below)
        if known is not None and is_derived and not redefined and not is_above(fn, known):
            known, key = None, table.derive_key(name)  # nobody said that the two are to share a command
        command = known if known is not None else table.command(
            key, group, (*declaration.templates, *((name,) if is_derived and key != name else ())),
            name if is_derived else None)
        try:
            agree(command, declaration, group, settings, stated, redefined)
            check_apart(fn, declaration, key, lambda found: found.command is command)
            internals = internals_of(command)
            accounting = internals.accounting(fallback=fallback, ignore=declaration.ignore)
            fall_back = None if fallback is None else fallback_runner(fallback, accounting, flavour, fn)
            pool: Callable[[], WorkerPool] | None = None
            if flavour is Flavour.THREAD or declaration.may_move(flavour):
                table.check_pool(command.group, declaration.pool, key)
                pool = functools.partial(table.pool, command.group, declaration.pool, key)
            if flavour is not Flavour.THREAD and pool is not None:
                internals.runtime.reserve, pool = pool, None
            afterwards, news = internals.adopt(settings, stated, pool)
        except BaseException:
            if known is None:
                table.forgo(command)
            raise
        if known is None and not table.add(command):  # a signal handler or a finalizer was here too
            return _enter(fn, declaration, below)
    return _Entry(registry, command, known is None, afterwards, news, flavour, cannot, accounting, fall_back)


def _wrap(fn: Callable[..., Any], declaration: Declaration, entry: _Entry,
          apart: Callable[..., str] | None = None, prepare: Callable[[Site], object] | None = None) -> Any:
    """Compile the wrapper, and make it look like *fn*; to a cache, what *apart* says of a call is one more argument."""
    command = entry.command
    site = _site(fn, declaration, entry, apart)
    if prepare is not None:
        prepare(site)
    if declaration.may_move(entry.flavour):
        guarded = compiled(site, lambda here: _movable(
            here, functools.partial(_compile_moved, fn, declaration, entry, apart, site.fall_back, prepare),
            internals_of(command).runtime))
    else:
        guarded = compiled(site)
    if declaration.raise_as is not None:
        guarded = translated(guarded, entry.flavour, declaration.raise_as)
    wrapper: Any = wrap_like(guarded, fn)
    guarded.resilience = command  # after wrap_like(), which may have copied another's
    setattr(guarded, GUARD, Guard(weakref.ref(wrapper), fn, declaration, command, entry.registry, entry.accounting))
    with table_of(entry.registry).lock:
        internals_of(command).guards(guarded, entry.cannot)
    return wrapper


def _site(fn: Callable[..., Any], declaration: Declaration, entry: _Entry,
          apart: Callable[..., str] | None) -> Site:
    return Site(fn=fn, flavour=entry.flavour, chain=declaration.chain(), runtime=internals_of(entry.command).runtime,
                accounting=entry.accounting, fall_back=entry.fall_back, apart=apart,
                called=called_at(fn, declaration))


def _movable(here: Any, compile_there: Callable[[], Any], runtime: CommandRuntime) -> Any:
    """A wrapper that runs in its caller's thread until a file or the command's handle says a timeout."""
    there: list[Any] = []

    def guarded(*args: Any, **kwargs: Any) -> Any:
        if runtime.is_moved:
            if not there:
                there.append(compile_there())  # whoever else does so as well: one is as good as the other
            return there[0](*args, **kwargs)
        return here(*args, **kwargs)

    return guarded


def _compile_moved(fn: Callable[..., Any], declaration: Declaration, entry: _Entry,
                   apart: Callable[..., str] | None, fall_back: Callable[..., Any] | None,
                   prepare: Callable[[Site], object] | None) -> Any:
    """The wrapper for worker threads, below the layers of the other: what a cache keeps is kept wherever calls run."""
    site = _site(fn, declaration, entry._replace(flavour=Flavour.THREAD, fall_back=fall_back), apart)
    if prepare is not None:
        prepare(site)
    site.is_beneath_layers = site.is_beneath_layers or site.has("cache")
    site.chain = {kit: policy for kit, policy in site.chain.items() if kit.name != "cache"}
    return compiled(site)


def registry_of(fn: Any) -> Registry:
    """Where the command of *fn* is kept; the default registry if it is none of our wrappers."""
    found = guard_of(fn)
    return default_registry if found is None else found.registry


def _flavour(fn: Callable[..., Any], declaration: Declaration, key: str) -> tuple[Flavour, Mapping[str, str]]:
    """How *fn* is to be run, and the settings that cannot be in force for it, each with the reason."""
    own = flavour_of(fn)
    flavour, timeout = declaration.runs(own), declaration.named("timeout")
    if declaration.isolation == "thread" and own is not Flavour.SYNC:
        raise ConfigError(f"{key}: isolation='thread' is for plain functions; {own.value} functions run where "
                          "they are awaited or iterated", "isolation")
    declaration.check_suited(flavour, key)
    if flavour in _BEYOND_REACH:
        cannot, instead = _BEYOND_REACH[flavour]
        if declaration.asks_for_timeout():
            raise ConfigError(f"{key}: {cannot['timeout']}{instead}", "timeout")
        return flavour, cannot
    if flavour.is_async:
        return flavour, _ALL_CAN if timeout is not None else _WITHOUT_TIMEOUT
    if flavour is Flavour.THREAD:
        return flavour, _ALL_CAN
    if declaration.isolation == "semaphore":
        if declaration.asks_for_timeout():
            raise ConfigError(f"{key}: {_IN_CALLERS_THREAD['timeout']}; use isolation='thread' or timeout=None",
                              "timeout")
        return flavour, _IN_CALLERS_THREAD
    if declaration.may_move(own):
        return flavour, _ALL_CAN
    if declaration.pool is not None:
        raise ConfigError(f"{key}: a pool means nothing without thread isolation; add a timeout or isolation='thread'",
                          "pool")
    return flavour, _DECORATED_WITHOUT


def _forsake(below: Guard) -> None:
    """The command that a lower decorator of this stack made, before a higher one gave another key or registry."""
    if len(internals_of(below.command).functions) <= 1 and below.registry.get(below.command.key) is below.command:
        below.registry.remove(below.command.key)
