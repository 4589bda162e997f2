"""Several commands of one function: one for each key of its calls, for each target of its failover, or for both."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from math import inf
from typing import Any

import attrs

from ..commands.command import internals_of
from ..commands.command_table import CommandTable
from ..commands.dispatch import dispatcher
from ..commands.keyed_commands import KeyedCommands, keyspace_of
from ..commands.keyspace import DEFAULT_IDLE_S, DEFAULT_MAX_KEYS, Keyspace, Made
from ..core.callable_identity import same_word
from ..engine.callables import GUARD, name_of, transparent_frame, wrap_like
from ..engine.site import Site
from ..engine.wrapper_spec import Flavour
from ..registry import Registry, default_registry, table_of
from .declaration import Declaration
from .entry import Entry, bring_into_force, enter, forsake, rehearse, wrap
from .failover_parts import FailoverParts
from .redefinition import now_under
from .running import Running
from .wrapper_stack import Guard, check_apart


def with_several(fn: Callable[..., Any], declaration: Declaration, below: Guard | None) -> Any:
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
    rehearsed = attrs.evolve(declaration, key=name, registry=Registry(clock=registry.clock))
    rehearsal = enter(fn, rehearsed, below)
    rehearse(fn, rehearsed, rehearsal)
    if rehearsal.running.flavour is Flavour.THREAD:
        table.check_pool(rehearsal.command.group, declaration.pool)
    _replaces(fn, qualname, registry, below)

    def make(key: str) -> Made:
        # Keys without a command of their own share one, which must not answer one with what it keeps of another.
        apart = by if key == keyspace.overflow else None
        if parts is not None:
            return _of_targets(parts.of_key(key), table, apart)
        return _of_key(fn, declaration.of_key(key, name), rehearsal.running, table, apart)

    max_keys, idle = (DEFAULT_MAX_KEYS, DEFAULT_IDLE_S) if by is not None else (1, inf)
    keyspace = Keyspace(rehearsal.command, table, make,
                        max_keys=max_keys if declaration.max_keys is None else declaration.max_keys,
                        idle=idle if declaration.idle is None else declaration.idle)
    if by is not None:
        guarded, accounting = dispatcher(keyspace, by, rehearsal.running.flavour), rehearsal.accounting
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
    internals_of(rehearsal.command).guards(guarded, rehearsal.running.cannot)
    return wrapper


def _admitted(keyspace: Keyspace, key: str) -> Callable[..., Any]:
    """The wrapper of a *key* that is there from the decoration on; a decoration that fails leaves no trace."""
    try:
        return keyspace.admit(key).call
    except BaseException:
        keyspace.clear()
        raise


def _of_key(fn: Callable[..., Any], declaration: Declaration, running: Running, table: CommandTable,
            apart: Callable[..., str] | None) -> Made:
    """The command of one key of a function, of which all keys are *running* alike."""
    entry = enter(fn, declaration, None, running)
    call = _compiled(wrap(fn, declaration, entry, apart))
    return _made(((entry, call),), call, table)


def _of_targets(parts: FailoverParts, table: CommandTable, apart: Callable[..., str] | None) -> Made:
    """The commands of all targets of one key, and of what stands above them; see commands.failover_loop."""
    made: list[tuple[Entry, Any]] = []
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
        guarded = _compiled(wrap(parts.fn, parts.first(), entry, prepare=lambda site: parts.be_first(site, targets)))
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


def _entered(fn: Callable[..., Any], declaration: Declaration, made: list[tuple[Entry, Any]],
             apart: Callable[..., str] | None, prepare: Callable[[Site], object],
             elsewhere: frozenset[str]) -> tuple[Entry, Any]:
    """One command of several, and the function that runs under it, which are noted as *made*."""
    entry = enter(fn, declaration, None)
    made.append((entry, None))
    internals_of(entry.command).elsewhere = elsewhere
    made[-1] = entry, _compiled(wrap(fn, declaration, entry, apart, prepare))
    return made[-1]


def _made(parts: tuple[tuple[Entry, Any], ...], call: Callable[..., Any], table: CommandTable) -> Made:
    """What a keyspace keeps of these *parts*, the functions of which are called by *call*."""
    def bring() -> None:
        for entry, _ in parts:
            bring_into_force(entry)

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
        forsake(below)
    former = [] if "<locals>" in qualname else list(now_under(fn, qualname))
    for each in [*former, *([] if below is None else [below.wrapper()])]:
        keyed = getattr(each, "resilience", None)
        if isinstance(keyed, KeyedCommands) and keyspace_of(keyed).home is table_of(registry):
            keyed.clear()
            with table_of(registry).lock:
                table_of(registry).keyed.discard(keyspace_of(keyed))
