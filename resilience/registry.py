"""Registry: the commands that share a clock, listeners and thread pools, by key.

It has what docs/reference/registry.md says, and no more; a test compares the two. What
works on a registry from inside the library asks table_of() for the rest.
After a fork the child's registries start over: fresh locks, pools and statistics.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import random as _random
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from .commands.command import Command
from .commands.command_table import CommandTable
from .core.callbacks import is_plain
from .core.events import State
from .core.plain_numbers import is_number
from .drivers.system_clock import monotonic
from .drivers.workers import WorkerPool
from .errors import ConfigError
from .metrics.batch_statistics import BatchStatistics

_Event = TypeVar("_Event")
_log = logging.getLogger("resilience")
_CHAOS_MOST_S = 86_400
_REFUSES = (State.OPEN, State.FORCED_OPEN)

#: A dict is copied in one step, whatever other threads add; a WeakSet is not.
_registries: dict[weakref.ref[Registry], None] = {}
_forget: Callable[[Any], object] = _registries.pop


class Registry:
    """An isolated set of commands. Every method may be called from any thread.

    Args:
        clock: Monotonic seconds; every policy of every command here is told this time.
        random: Numbers in [0, 1), for jitter.

    Raises:
        TypeError: One of them cannot be called, or is a coroutine function or a generator.
    """

    def __init__(self, *, clock: Callable[[], float] = monotonic,
                 random: Callable[[], float] = _random.random) -> None:
        for name, each in (("clock", clock), ("random", random)):
            if not callable(each) or not is_plain(each):
                raise TypeError(f"{name} must be a plain function, not {each!r}")
        self._table = CommandTable(clock, random)
        own: weakref.ref[Registry] = weakref.ref(self, _forget)
        _registries[own] = None

    def __repr__(self) -> str:
        commands = tuple(self._table.commands.copy().values())  # looked at only: nothing is swept away by a print
        number = sum(command.state in _REFUSES for command in commands)
        return f"<{type(self).__name__} {len(commands)} command{'' if len(commands) == 1 else 's'}, {number} open>"

    @property
    def clock(self) -> Callable[[], float]:
        """The clock that every command here is told."""
        return self._table.services.clock

    def __iter__(self) -> Iterator[Command]:
        self._table.sweep()
        return iter(self._table.commands.copy().values())

    def __len__(self) -> int:
        self._table.sweep()
        return len(self._table.commands)

    def __contains__(self, key: object) -> bool:
        return key in self._table.commands

    def __getitem__(self, key: str) -> Command:
        return self._table.commands[key]

    def get(self, key: str) -> Command | None:
        """Return the command with this key, or None if the registry has none.

        Args:
            key: The whole key of the command.
        """
        return self._table.commands.get(key)

    def subscribe(self, kind: type[_Event], listener: Callable[[_Event], object]) -> Callable[[], None]:
        """Call *listener* with every event of this *kind*, in the thread that causes it.

        No lock is held meanwhile; a listener that raises is logged once and harms nobody.

        Args:
            kind: One of the classes in resilience.events, such as StateChanged or CallFailed.
            listener: Called with the event.

        Returns:
            A function that ends the subscription.
        """
        return self._table.emitter.subscribe(kind, listener)

    def after_isolated_calls(self, clean_up: Callable[[], object]) -> Callable[[], None]:
        """Call *clean_up* on the worker thread after each isolated call of a command here, whoever waits for it.

        It is for what a library keeps for each thread, such as Django's ``close_old_connections`` or the ``remove`` of
        SQLAlchemy's ``scoped_session``. The call's slot is free, and its caller gets the result, when it has ended.
        The threads of a hedged generator call it when the generator is closed. What it raises is logged and changes
        nothing. Calls that run in their caller's thread are none of its concern.

        Args:
            clean_up: Called without arguments, in the context of the call.

        Returns:
            A function that ends this.

        Raises:
            TypeError: *clean_up* cannot be called, or is a coroutine function or a generator.
        """
        if not callable(clean_up) or not is_plain(clean_up):
            raise TypeError("clean_up must be callable, and a plain function, for nobody would await or iterate what "
                            f"it returns; not {clean_up!r}")
        own = functools.partial(clean_up)  # the same one may be asked for twice
        self._table.cleanups.append(own)

        def end() -> None:
            with contextlib.suppress(ValueError):
                self._table.cleanups.remove(own)

        return end

    def remove(self, key: str) -> bool:
        """Forget a command, and with it streams and exporters do. Functions that use the command go on working.

        Args:
            key: The whole key of the command.

        Returns:
            Whether there was such a command.
        """
        return self._table.remove(key)

    def start_chaos(self, seconds: float, *keys: str) -> None:
        """Let commands suffer what their Chaos says; nothing else can, no policy and no file. Logged as a warning.

        Args:
            seconds: For how long; it ends by itself.
            *keys: Which commands; none: all that have a Chaos, those that are yet to be declared too.

        Raises:
            ConfigError: *seconds* is not above 0 and at most 86400, or a command has no Chaos.
        """
        if not is_number(seconds) or not 0 < seconds <= _CHAOS_MOST_S:
            raise ConfigError(f"seconds must be a number above 0 and at most {_CHAOS_MOST_S}, not {seconds!r}",
                              "seconds")
        for key in keys:
            command = self.get(key)
            if command is None or command.settings.chaos is None:
                raise ConfigError(f"there is no command {key!r} with a Chaos", "chaos")
        until = self.clock() + seconds
        for name in keys or (None,):
            self._table.services.active_until[name] = until
        _log.warning("chaos for %g s, for %s", seconds, ", ".join(keys) or "all commands that have a Chaos")

    def stop_chaos(self) -> None:
        """End what start_chaos() began; it is no error if nothing was."""
        if self._table.services.active_until:
            self._table.services.active_until.clear()
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
            ConfigError: One of them is not what save() returns; then none is restored.
        """
        self._table.restore(saved, elapsed)

    def close(self) -> None:
        """Let the threads of all pools end when their work does; isolated calls are refused from now on."""
        self._table.close()

    def pools(self) -> dict[str, WorkerPool]:
        """The thread pools, by group."""
        return self._table.pools()

    def collapsers(self) -> dict[str, BatchStatistics]:
        """The statistics of collapsed functions that are still there, by name."""
        return self._table.collapsers()


def table_of(registry: Registry) -> CommandTable:
    """What stands behind a *registry*; for the library itself.

    Raises:
        TypeError: It is none; a guarded function, perhaps, that another helper takes.
    """
    if not isinstance(registry, Registry):
        raise TypeError(f"registry must be a Registry, not {registry!r}")
    return registry._table


def registries() -> list[Registry]:
    """All that are alive."""
    return [registry for each in list(_registries) if (registry := each()) is not None]


def _after_fork() -> None:
    for registry in registries():
        registry._table.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

#: Where decorators put their commands unless told otherwise.
default_registry = Registry()
