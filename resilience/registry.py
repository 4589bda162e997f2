"""Registry: the commands that share a clock, listeners and thread pools, by key.

Reading takes no lock; iterating goes over a copy, which a dict makes in one step.
Where functions have a callable for a key, who iterates takes the lock for a moment, to let
the keys go that have been idle (commands.keyed_commands).
After a fork the child's registries start over: fresh locks, pools and statistics.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import random as _random
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

from .commands.command import Command
from .commands.derived_keys import DerivedKeys
from .commands.keyed_commands import KeyedCommands
from .core.events import CommandAdded, CommandRemoved
from .core.thread_pool import ThreadPool
from .drivers.system_clock import monotonic
from .drivers.workers import WorkerPool
from .engine.emitter import Emitter
from .engine.registry_services import RegistryServices
from .errors import ConfigError
from .metrics.batch_statistics import BatchStatistics

_Event = TypeVar("_Event")
_log = logging.getLogger("resilience")
_CHAOS_MOST_S = 86_400

_registries: weakref.WeakSet[Registry] = weakref.WeakSet()


class Registry:
    """An isolated set of commands. Every method may be called from any thread.

    Args:
        clock: Monotonic seconds; every policy of every command here is told this time.
        random: Numbers in [0, 1), for jitter.

    Attributes:
        keyspaces: The functions with a callable for a key that have commands here; changes under the lock.
        declared: Called after each decoration with the command and the names of the settings that it said anew,
            outside the lock and before the command is announced; None: nobody wants to know.
    """

    def __init__(self, *, clock: Callable[[], float] = monotonic,
                 random: Callable[[], float] = _random.random) -> None:
        if not callable(clock):
            raise TypeError(f"clock must be callable, not {clock!r}")
        self._lock = threading.RLock()
        self._commands: dict[str, Command] = {}
        self.keyspaces: OrderedDict[KeyedCommands, None] = OrderedDict()
        self._pools: dict[str, WorkerPool] = {}
        self._pool_settings: dict[str, ThreadPool] = {}
        self._cleanups: list[Callable[[], object]] = []
        self._is_closed = False
        self._collapses: weakref.WeakValueDictionary[str, BatchStatistics] = weakref.WeakValueDictionary()
        self.declared: Callable[[Command, Collection[str]], None] | None = None
        self._derived = DerivedKeys()
        self._saved: tuple[dict[str, Mapping[str, Any]], float, float] = ({}, 0.0, 0.0)  # see restore()
        self._emitter = Emitter()
        self._services = RegistryServices(clock, random, self._emitter, self._lock)
        _registries.add(self)

    @property
    def clock(self) -> Callable[[], float]:
        """The clock that every command here is told."""
        return self._services.clock

    @property
    def lock(self) -> threading.RLock:
        """Held while commands are declared and configured; never while calls run or listeners listen."""
        return self._lock

    def __iter__(self) -> Iterator[Command]:
        self.sweep()
        return iter(self._commands.copy().values())

    def __len__(self) -> int:
        self.sweep()
        return len(self._commands)

    def __contains__(self, key: object) -> bool:
        return key in self._commands

    def __getitem__(self, key: str) -> Command:
        return self._commands[key]

    def get(self, key: str) -> Command | None:
        """The command with this key, or None."""
        return self._commands.get(key)

    def subscribe(self, kind: type[_Event], listener: Callable[[_Event], object]) -> Callable[[], None]:
        """Call *listener* with every event of this *kind*, in the thread that causes it.

        No lock is held meanwhile; a listener that raises is logged once and harms nobody.

        Args:
            kind: StateChanged, CallFailed, CallRejected, CallRetried, ShadowRejected, ChaosInjected, CommandAdded,
                CommandRemoved or CommandConfigured.
            listener: Called with the event.

        Returns:
            A function that ends the subscription.
        """
        return self._emitter.subscribe(kind, listener)

    def after_isolated_calls(self, clean_up: Callable[[], object]) -> Callable[[], None]:
        """Call *clean_up* on the worker thread after each isolated call of a command here, whoever waits for it.

        It is for what a library keeps for each thread, such as Django's ``close_old_connections`` or the ``remove`` of
        SQLAlchemy's ``scoped_session``. The call's slot is free, and its caller gets the result, when it has ended.
        What it raises is logged and changes nothing. Calls that run in their caller's thread are none of its concern.

        Args:
            clean_up: Called without arguments, in the context of the call.

        Returns:
            A function that ends this.
        """
        if not callable(clean_up):
            raise TypeError(f"clean_up must be callable, not {clean_up!r}")
        own = functools.partial(clean_up)  # the same one may be asked for twice
        self._cleanups.append(own)

        def end() -> None:
            with contextlib.suppress(ValueError):
                self._cleanups.remove(own)

        return end

    def remove(self, key: str) -> bool:
        """Forget a command, so that streams and exporters do; functions that have it go on working."""
        with self._lock:
            command = self._commands.get(key)
            if command is not None:
                self._drop(command)
                for keyspace in tuple(self.keyspaces):
                    keyspace.forget(command)
        if command is None:
            return False
        self.removed([command])
        return True

    def start_chaos(self, seconds: float, *keys: str) -> None:
        """Let commands suffer what their Chaos says; nothing else can, no policy and no file. Logged as a warning.

        Args:
            seconds: For how long; it ends by itself.
            *keys: Which commands; none: all that have a Chaos, those that are yet to be declared too.

        Raises:
            ConfigError: *seconds* is not above 0 and at most 86400, or a command has no Chaos.
        """
        if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not 0 < seconds <= _CHAOS_MOST_S:
            raise ConfigError(f"seconds must be a number above 0 and at most {_CHAOS_MOST_S}, not {seconds!r}",
                              "seconds")
        for key in keys:
            command = self.get(key)
            if command is None or command.settings.chaos is None:
                raise ConfigError(f"there is no command {key!r} with a Chaos", "chaos")
        until = self.clock() + seconds
        for name in keys or (None,):
            self._services.active_until[name] = until
        _log.warning("chaos for %g s, for %s", seconds, ", ".join(keys) or "all commands that have a Chaos")

    def stop_chaos(self) -> None:
        """End what start_chaos() began; it is no error if nothing was."""
        if self._services.active_until:
            self._services.active_until.clear()
            _log.warning("chaos has ended")

    def save(self) -> dict[str, dict[str, Any]]:
        """The circuits of all commands that have one, by key; fit for JSON. See restore()."""
        return {command.key: command.save() for command in self if command.settings.breaker is not None}

    def restore(self, saved: Mapping[str, Mapping[str, Any]], *, elapsed: float = 0.0) -> None:
        """Let every command go on where it was before a restart, those that are yet to be declared too.

        Args:
            saved: From save().
            elapsed: Seconds gone by since then, on the wall clock.

        Raises:
            ConfigError: One of them is not what save() returns; those before it are restored.
        """
        with self._lock:
            self._saved = (dict(saved), elapsed, self.clock())
        for command in self:
            self._recall(command)

    def _recall(self, command: Command) -> None:
        saved, elapsed, at = self._saved
        if command.key in saved and command.settings.breaker is not None:
            command.restore(saved.pop(command.key), elapsed=elapsed + self.clock() - at)

    def close(self) -> None:
        """Let the threads of all pools end when their work does; isolated calls are refused from now on."""
        with self._lock:
            self._is_closed = True
            for pool in self._pools.values():
                pool.close()

    def pools(self) -> dict[str, WorkerPool]:
        """The thread pools, by group."""
        return dict(self._pools)

    def collapsers(self) -> dict[str, BatchStatistics]:
        """The statistics of collapsed functions that are still there, by name."""
        with self._lock:
            return dict(self._collapses)

    def add_collapses(self, collapses: BatchStatistics) -> None:
        """Show the statistics of a collapsed function, for as long as it is there."""
        with self._lock:
            self._collapses[collapses.name] = collapses

    def command(self, key: str, group: str, template: str | None = None, derived_from: str | None = None) -> Command:
        """A command with this key that is not in the table yet; see add()."""
        return Command(key, group, self._services, template, derived_from)

    def derive_key(self, name: str) -> str:
        """A key that no command has, for a function of this *name* that nobody named. The caller holds the lock."""
        while (key := self._derived.take(name)) in self._commands:  # somebody gave one that looks like ours
            continue
        return key

    def _drop(self, command: Command) -> None:
        """Take a command out of the table. The caller holds the lock."""
        del self._commands[command.key]
        self.forgo(command)

    def add(self, command: Command) -> bool:
        """Enter a new command, unless another has its key. The caller holds the lock; see announce()."""
        return self._commands.setdefault(command.key, command) is command

    def put_back(self, command: Command) -> None:
        """Enter a command again that was removed. The caller holds the lock."""
        if self.add(command) and command.derived_from is not None:
            self._derived.hold(command.derived_from, command.key)

    def forgo(self, command: Command) -> None:
        """A new command is not to be entered after all. The caller holds the lock."""
        if command.derived_from is not None:
            self._derived.give_back(command.derived_from, command.key)

    def dismiss(self, command: Command, call: Callable[..., Any] | None) -> bool:
        """Forget a command unless functions other than *call* share it; whether that was so. The caller holds the lock.

        See removed(), which is to follow.
        """
        if call is not None:
            command.remove_function(call)
        if self._commands.get(command.key) is not command or command.functions:
            return False
        self._drop(command)
        return True

    def removed(self, commands: list[Command]) -> None:
        """Tell listeners that these were forgotten; outside the lock."""
        for command in commands:
            self._emitter.emit(CommandRemoved(command.key, command.group, self.clock()))

    def sweep(self) -> None:
        """Let go of idle keys, and of commands that nobody named and whose functions are gone.

        Not if the reader is at work under the lock, for listeners hear of it.
        """
        departed = self._services.departed
        if not (self.keyspaces or departed) or self._lock._is_owned():  # type: ignore[attr-defined] # as Condition asks
            return
        gone: list[Command] = []
        try:
            with self._lock:
                while departed:
                    command = self._commands.get(departed.popleft())
                    if command is not None and command.derived_from is not None and not command.functions:
                        self._drop(command)
                        gone.append(command)
                for keyspace in tuple(self.keyspaces):
                    keyspace.sweep(self.clock(), gone)
        finally:
            self.removed(gone)

    def announce(self, command: Command) -> None:
        """Restore a new command, and tell listeners of it; outside the lock."""
        self._recall(command)
        self._emitter.emit(CommandAdded(command.key, command.group, self.clock()))

    def pool(self, group: str, settings: ThreadPool | None, key: str | None = None) -> WorkerPool:
        """The threads of a group: shared as *settings* say, else brought by its commands.

        Args:
            group: The group.
            settings: What a function of it says; None: nothing.
            key: The command of the function.

        Raises:
            ConfigError: Another command of the group says otherwise.
        """
        with self._lock:
            self.check_pool(group, settings, key)
            pool, known = self._pools.get(group), self._pool_settings.get(group)
            if settings is not None:
                self._pool_settings[group] = settings
                if pool is not None and not pool.is_shared:
                    pool = None  # nobody has it any more
                elif pool is not None and settings != known:
                    pool.configure(settings.size, settings.max_queue)
            if pool is None:
                size, queue = (None, 0) if settings is None else (settings.size, settings.max_queue)
                pool = self._pools[group] = WorkerPool(group, size=size, max_queue=queue, cleanups=self._cleanups)
                if self._is_closed:
                    pool.close()
            return pool

    def check_pool(self, group: str, settings: ThreadPool | None, key: str | None = None) -> None:
        """Raise ConfigError if *settings* contradict what another command than *key* says of the group's pool.

        That of a command which is defined anew, or was the only one, may change.
        """
        known = self._pool_settings.get(group)
        if settings in (None, known) or group not in self._pools:
            return
        mates = [each for each in self._commands.copy().values() if each.group == group]
        if any(each.pool is not None for each in mates) if known is None else \
                any(each.key != key and each.settings.pool is not None for each in mates):
            raise ConfigError(f"pool: group {group!r} has {known or 'a pool of default size'} already, "
                              f"which {settings} contradicts", "pool")

    def _renew(self) -> None:
        self._lock = self._services.lock = threading.RLock()
        self._emitter.renew()
        for pool in self._pools.values():
            pool.renew()
        self._services.active_until.clear()
        for budget in self._services.budgets.values():
            budget.renew(self.clock())
        for keyspace in tuple(self.keyspaces):
            keyspace.renew()
        for command in self._commands.copy().values():
            command.renew()


def registries() -> list[Registry]:
    """All that are alive."""
    return list(_registries)


def _after_fork() -> None:
    for registry in _registries:
        registry._renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

#: Where decorators put their commands unless told otherwise.
default_registry = Registry()
