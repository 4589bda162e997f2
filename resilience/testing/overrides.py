"""Overrides: policies forced or disabled for the length of a block, and registries put back as they were.

All of it works on live commands, through what their handles offer, and holds for
the whole process: other threads and tasks see it too. Blocks may nest; they end
in the reverse order of their beginnings, as with-statements do.

What cannot be put back is the past of a circuit: one that was open or half open
when a block began is closed, with an empty window, when it ends. A circuit that
somebody had forced stays forced.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from ..commands.command import Command, internals_of
from ..commands.keyspace import NO_SHARED_SETTINGS
from ..config.applied_source import AppliedSource
from ..config.layers import Tables
from ..config.overlay import overlay_of
from ..core.context_managers import context_manager
from ..core.events import CommandAdded, State
from ..engine.callables import name_of
from ..policies.order import setting_kits
from ..policies.settings import live_settings
from ..registry import Registry, default_registry, table_of
from .handles import Target, handle_of

#: Taken out of their registries by restored(), but perhaps still called by somebody.
_orphans: weakref.WeakKeyDictionary[Command, Registry] = weakref.WeakKeyDictionary()


@context_manager
def forced_open(target: Target) -> Iterator[Command]:
    """Refuse every call of a command within the block.

    Args:
        target: A guarded function or its handle.

    Raises:
        ConfigError: The command has no breaker.
    """
    yield from _forced(target, Command.force_open)


@context_manager
def forced_closed(target: Target) -> Iterator[Command]:
    """Let every call of a command through its breaker within the block, whatever its result.

    Args:
        target: A guarded function or its handle.

    Raises:
        ConfigError: The command has no breaker.
    """
    yield from _forced(target, Command.force_closed)


def _forced(target: Target, force: Callable[[Command], object]) -> Iterator[Command]:
    handle = handle_of(target)
    before = handle.state
    force(handle)
    try:
        yield handle
    finally:
        _settle_into(handle, before)


@context_manager
def disabled(target: Target | Registry = default_registry) -> Iterator[None]:
    """Let calls pass their policies untouched within the block.

    No breaker, no timeout, no bulkhead; no second attempt, no answer from a cache, and
    no limit that refuses (what throttle, rate limit and adaptive limit would refuse is
    counted, as in shadow mode). Calls are still counted, a fallback still answers for errors of the function
    itself, and what runs on worker threads goes on doing so.

    Args:
        target: A guarded function or its handle; or a registry: all its commands, those added meanwhile included.
    """
    touched: dict[Command, _Settings] = {}

    def switch_off(handle: Command) -> None:
        touched[handle] = _Settings.of(handle)
        handle.configure(**touched[handle].off())

    end = None
    if isinstance(target, Registry):
        registry = target

        def added(event: CommandAdded) -> None:
            handle = registry.get(event.key)
            if handle is not None:
                switch_off(handle)

        end = registry.subscribe(CommandAdded, added)
    try:
        for handle in target if isinstance(target, Registry) else [handle_of(target)]:
            if handle not in touched:
                switch_off(handle)
        yield
    finally:
        if end is not None:
            end()
        for handle, before in touched.items():
            before.restore(handle)


@context_manager
def restored(registry: Registry = default_registry) -> Iterator[None]:
    """Put a registry back when the block ends, so that what happened in it leaks into no other test.

    Circuits are closed; statistics, caches, lines and budgets are empty, limits as
    before the first call. Live settings, forced states, chaos and the configuration
    are those of the block's beginning again; a command made meanwhile by a module
    that was imported gets the settings it was declared with, one made inside a
    function, or for a key, is removed, and one removed meanwhile is there again.
    Subscriptions made meanwhile end. Calls under way go on.

    Args:
        registry: What to put back.
    """
    table = table_of(registry)
    before = {handle: _Settings.of(handle) for handle in registry}
    listeners = table.emitter.listeners
    orders = {keyspace: keyspace.orders for keyspace in table.living_keyspaces()}
    put_back = _Environment.of(registry).restore
    try:
        yield
    finally:
        put_back(registry)
        for keyspace in {**orders, **dict.fromkeys(table.living_keyspaces())}:
            keyspace.orders = orders.get(keyspace, NO_SHARED_SETTINGS)
        table.emitter.put_back(listeners)
        for handle in registry:
            if handle not in before and (_is_local(handle) or _is_of_key(handle)):
                registry.remove(handle.key)
                _orphans[handle] = registry
        with table.lock:
            for handle in before:
                if handle.key not in registry and not _is_of_key(handle) and not _is_over(handle):
                    table.put_back(handle)
        for handle in (*registry, *(each for each, home in _orphans.items() if home is registry)):
            (before.get(handle) or _Settings.declared(handle)).restore(handle)
            _empty(handle, before[handle].state if handle in before else State.CLOSED)


@attrs.frozen
class _Environment:
    """What a registry holds beside its commands, at one moment."""

    configuration: AppliedSource | None
    tables: Tables
    active_until: dict[str | None, float]

    @classmethod
    def of(cls, registry: Registry) -> _Environment:
        overlay = overlay_of(registry)
        return cls(overlay.owner, overlay.tables, dict(table_of(registry).services.active_until))

    def restore(self, registry: Registry) -> None:
        services, now, owner = table_of(registry).services, registry.clock(), overlay_of(registry).owner
        services.active_until.clear()
        services.active_until.update(self.active_until)
        for budget in services.budgets.values():
            budget.clear(now)
        for collapses in registry.collapsers().values():
            collapses.clear(now)
        if self.configuration is None:
            if owner is not None:
                owner.close()
        elif owner is not self.configuration:
            self.configuration.resume(self.tables)


@attrs.frozen
class _Settings:
    """The live settings of a command, and the state of its circuit, at one moment."""

    state: State
    values: dict[str, Any]

    @classmethod
    def of(cls, handle: Command) -> _Settings:
        return cls(handle.state, {name: getattr(handle.settings, name) for name in live_settings()})

    @classmethod
    def declared(cls, handle: Command) -> _Settings:
        return cls(State.CLOSED, {name: getattr(internals_of(handle).declared, name) for name in live_settings()})

    def off(self) -> dict[str, Any]:
        """Settings with which all calls pass. What a limit would refuse is counted."""
        known = [kit for kit in setting_kits() if self.values.get(kit.name) is not None]
        changes: dict[str, Any] = {kit.name: None for kit in known if kit.can_be_off and not kit.passes_when_off}
        passed = [kit.name for kit in known if kit.passes_when_off]
        return {**changes, "shadow": (*self.values["shadow"], *passed)} if passed else changes

    def restore(self, handle: Command) -> None:
        changes = {name: value for name, value in self.values.items() if getattr(handle.settings, name) != value}
        if changes:
            handle.configure(**changes)
        if handle.settings.breaker is not None:
            _settle_into(handle, self.state)


def _settle_into(handle: Command, before: State) -> None:
    """Bring a circuit back to what it was *before*: a forced state, or else to deciding for itself."""
    if handle.state is before:
        return
    if before is State.FORCED_OPEN:
        handle.force_open()
    elif before is State.FORCED_CLOSED:
        handle.force_closed()
    elif before is not State.DISABLED:
        handle.release()


def _empty(handle: Command, before: State) -> None:
    """Let a command know of no call so far; its circuit is closed, or forced or disabled if it was so *before*."""
    if handle.state is State.DISABLED:
        internals_of(handle).runtime.recorder.clear()
    else:
        handle.reset()
        _settle_into(handle, before)
    internals_of(handle).forget()


def _is_of_key(handle: Command) -> bool:
    """Whether a command is one of those of a function with a callable for a key, which come by themselves."""
    internals = internals_of(handle)
    is_target = handle.settings.failover is not None and len(internals.templates) == 1  # of a fixed key: there for good
    return internals.derived_from is None and internals.templates != () and not is_target


def _is_over(handle: Command) -> bool:
    """Whether a command that nobody named has lost its functions."""
    return internals_of(handle).derived_from is not None and not internals_of(handle).functions


def _is_local(handle: Command) -> bool:
    """Whether every function of a command was defined inside another, as a test's own are."""
    return all("<locals>" in name_of(function)[1] for function in internals_of(handle).functions)
