"""CommandTable: the commands and pools of one registry, behind it.

Users hold a Registry, which shows what the reference documents and no more. Decorators,
configuration files, pickling and the testing kit work on its table, which table_of()
gives them.

Reading takes no lock; iterating goes over a copy, which a dict makes in one step.
Where functions have a callable for a key, who iterates takes the lock for a moment, to let
the keys go that have been idle (commands.keyspace).
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ..core.circuit_checkpoint import check_elapsed, checkpoint_of
from ..core.events import CommandAdded, CommandRemoved
from ..core.locks import Lock
from ..core.thread_pool import ThreadPool
from ..drivers.workers import WorkerPool
from ..engine.emitter import Emitter
from ..engine.registry_services import RegistryServices
from ..errors import ConfigError
from ..metrics.batch_statistics import BatchStatistics
from .command import Command, internals_of
from .derived_keys import DerivedKeys
from .keyspace import Keyspace


class CommandTable:
    """What stands behind one registry. Every method may be called from any thread.

    Attributes:
        services: What the registry lends its commands.
        commands: All of them, by key; changes under the lock.
        keyspaces: The functions with a callable for a key that have commands here; changes under the lock. A
            function that nobody has any more goes, and its commands follow when they are idle; see sweep().
        keyed: All such functions that somebody has, with commands or without; changes under the lock.
        declared: Called after each decoration with the command and the names of the settings that it said anew,
            outside the lock and before the command is announced; None: nobody wants to know.
        cleanups: Called on the worker thread after each isolated call.
    """

    def __init__(self, clock: Callable[[], float], random: Callable[[], float]) -> None:
        self.services = RegistryServices(clock, random, Emitter(), Lock())
        self.commands: dict[str, Command] = {}
        self.keyspaces: OrderedDict[weakref.ref[Keyspace], None] = OrderedDict()
        self.keyed: weakref.WeakSet[Keyspace] = weakref.WeakSet()
        self.declared: Callable[[Command, Collection[str]], None] | None = None
        self.cleanups = self.services.cleanups
        self._pools: dict[str, WorkerPool] = {}
        self._pool_settings: dict[str, ThreadPool] = {}
        self._collapses: weakref.WeakValueDictionary[str, BatchStatistics] = weakref.WeakValueDictionary()
        self._derived = DerivedKeys()
        self._orphans: dict[str, float] = {}  # keys of commands whose keyed functions are gone, and since when
        self._saved: tuple[dict[str, Mapping[str, Any]], float, float] = ({}, 0.0, 0.0)  # see restore()

    @property
    def lock(self) -> Lock:
        """Held while commands are declared and configured; never while calls run or listeners listen."""
        return self.services.lock

    @property
    def emitter(self) -> Emitter:
        """Tells listeners."""
        return self.services.emitter

    # -- commands

    def remove(self, key: str) -> bool:
        """See Registry.remove()."""
        gone: list[Command] = []
        with self.lock:
            command = self.commands.get(key)
            if command is not None:
                self.drop(command)
                gone.append(command)
                for keyspace in self.living_keyspaces():
                    keyspace.forget(command, gone)
        self.removed(gone)
        return command is not None

    def command(self, key: str, group: str, templates: tuple[str, ...] = (),
                derived_from: str | None = None) -> Command:
        """A command with this key that is not in the table yet; see add()."""
        return Command(key, group, self.services, templates, derived_from)

    def derive_key(self, name: str) -> str:
        """A key that no command has, for a function of this *name* that nobody named. The caller holds the lock."""
        while (key := self._derived.take(name)) in self.commands:  # somebody gave one that looks like ours
            continue
        return key

    def drop(self, command: Command) -> None:
        """Take a command out of the table. The caller holds the lock."""
        del self.commands[command.key]
        self.forgo(command)

    def add(self, command: Command) -> bool:
        """Enter a new command, unless another has its key. The caller holds the lock; see announce()."""
        return self.commands.setdefault(command.key, command) is command

    def put_back(self, command: Command) -> None:
        """Enter a command again that was removed. The caller holds the lock."""
        derived_from = internals_of(command).derived_from
        if self.add(command) and derived_from is not None:
            self._derived.hold(derived_from, command.key)

    def forgo(self, command: Command) -> None:
        """Note that a new command will not be added after all. The caller holds the lock."""
        derived_from = internals_of(command).derived_from
        if derived_from is not None:
            self._derived.give_back(derived_from, command.key)

    def dismiss(self, command: Command, call: Callable[..., Any] | None) -> bool:
        """Forget a command unless functions other than *call* share it; whether that was so. The caller holds the lock.

        See removed(), which is to follow.
        """
        if call is not None:
            internals_of(command).remove_function(call)
        if self.commands.get(command.key) is not command or internals_of(command).functions:
            return False
        self.drop(command)
        return True

    def removed(self, commands: list[Command]) -> None:
        """Tell listeners that these were forgotten; outside the lock."""
        for command in commands:
            self.emitter.emit(CommandRemoved(command.key, command.group, self.services.clock()))

    def sweep(self, *, keys: bool = True) -> None:
        """Let go of idle *keys*, and of commands without a function: at once if nobody named them, else when idle.

        Not if the reader is at work under the lock, for listeners hear of it.
        """
        departed = self.services.departed
        if not ((keys and self.keyspaces) or departed or self._orphans) or self._is_locked_here():
            return
        gone: list[Command] = []
        try:
            with self.lock:
                now = self.services.clock()
                while departed:
                    self._depart(departed.popleft(), now, gone)
                self._forget_idle_orphans(now, gone)
                for keyspace in self.living_keyspaces() if keys else ():
                    keyspace.sweep(now, gone)
        finally:
            self.removed(gone)

    def living_keyspaces(self) -> list[Keyspace]:
        """The keyed functions that somebody has still; the others are forgotten. The caller holds the lock."""
        living = []
        for reference in tuple(self.keyspaces):
            keyspace = reference()
            if keyspace is None:
                del self.keyspaces[reference]
            else:
                living.append(keyspace)
        return living

    def templates(self) -> list[Command]:
        """Of each keyed function, what stands for the commands of all keys to come. The caller holds the lock."""
        return [keyspace.template for keyspace in self.keyed if not keyspace.is_fixed]

    def _depart(self, key: str, now: float, gone: list[Command]) -> None:
        """A function of the command with this *key* is gone."""
        command = self.commands.get(key)
        if command is None or internals_of(command).functions:
            return
        if internals_of(command).derived_from is not None:  # nobody named it
            self.drop(command)
            gone.append(command)
        elif internals_of(command).idle is not None:  # a keyed function named it; the next of the factory may, too
            self._orphans[key] = now

    def _forget_idle_orphans(self, now: float, gone: list[Command]) -> None:
        for key, since in tuple(self._orphans.items()):
            command = self.commands.get(key)
            internals = None if command is None else internals_of(command)
            if command is None or internals is None or internals.functions or internals.idle is None:
                del self._orphans[key]
            elif not command.in_flight and now - max(since, internals.needed_until) >= internals.idle:
                del self._orphans[key]
                self.drop(command)
                gone.append(command)

    def _is_locked_here(self) -> bool:
        """Whether this very thread holds the lock: a Condition says so by raising, if it is to wake somebody."""
        try:
            threading.Condition(self.lock).notify(0)
        except RuntimeError:
            return False
        return True

    def announce(self, command: Command) -> None:
        """Restore a new command, and tell listeners of it; outside the lock."""
        self._recall(command)
        self.emitter.emit(CommandAdded(command.key, command.group, self.services.clock()))

    def restore(self, saved: Mapping[str, Mapping[str, Any]], elapsed: float) -> None:
        """See Registry.restore()."""
        if not isinstance(saved, Mapping):
            raise ConfigError(f"saved must be what save() returns, a mapping, not {saved!r}", "saved")
        check_elapsed(elapsed)
        entries = dict(saved)
        for key, circuit in entries.items():
            checkpoint_of(key, circuit)
        with self.lock:
            self._saved = (entries, elapsed, self.services.clock())
        self.sweep()
        for command in self.commands.copy().values():
            self._recall(command)

    def _recall(self, command: Command) -> None:
        saved, elapsed, at = self._saved
        if command.key in saved and command.settings.breaker is not None:
            command.restore(saved.pop(command.key), elapsed=elapsed + self.services.clock() - at)

    # -- pools and collapsers

    def pool(self, group: str, settings: ThreadPool | None, key: str | None = None) -> WorkerPool:
        """The threads of a group: shared as *settings* say, else brought by its commands.

        Args:
            group: The group.
            settings: What a function of it says; None: nothing.
            key: The command of the function.

        Raises:
            ConfigError: Another command of the group says otherwise.
        """
        with self.lock:
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
                pool = self._pools[group] = WorkerPool(group, size=size, max_queue=queue, cleanups=self.cleanups)
                if self.services.is_closed:
                    pool.close()
            return pool

    def check_pool(self, group: str, settings: ThreadPool | None, key: str | None = None) -> None:
        """Raise ConfigError if *settings* contradict what another command than *key* says of the group's pool.

        That of a command which is defined anew, or was the only one, may change.
        """
        known = self._pool_settings.get(group)
        if settings in (None, known) or group not in self._pools:
            return
        mates = [each for each in self.commands.copy().values() if each.group == group]
        if any(each.pool is not None for each in mates) if known is None else \
                any(each.key != key and each.settings.pool is not None for each in mates):
            raise ConfigError(f"pool: group {group!r} has {known or 'a pool of default size'} already, "
                              f"which {settings} contradicts; give the function a group of its own, or the same pool",
                              "pool")

    def pools(self) -> dict[str, WorkerPool]:
        """The thread pools that there are, by group."""
        return dict(self._pools)

    def collapsers(self) -> dict[str, BatchStatistics]:
        """The statistics of collapsed functions that are still there, by name."""
        with self.lock:
            return dict(self._collapses)

    def add_collapses(self, collapses: BatchStatistics) -> None:
        """Show the statistics of a collapsed function, for as long as it is there."""
        with self.lock:
            self._collapses[collapses.name] = collapses

    # -- the end, and a new beginning

    def close(self) -> None:
        """See Registry.close()."""
        with self.lock:
            self.services.close()
            for pool in self._pools.values():
                pool.close()

    def renew(self) -> None:
        """Start over in a forked child: fresh locks, pools and statistics."""
        self.services.renew()
        self.emitter.renew()
        for pool in self._pools.values():
            pool.renew()
        for keyspace in self.living_keyspaces():
            keyspace.renew()
        for command in self.commands.copy().values():
            internals_of(command).renew()
