"""Keyspace: one command for each key that a function's calls have, as many as there is room for.

A *cell* is one key's command and the compiled wrapper bound to it. With a failover it is
several commands, which come and go together: one for each target, and what stands
above them. ``table`` is what calls look into, without a lock; ``_cells`` holds the same
and the cells that are being made, least lately looked at first, and changes under the
registry's lock.

A call pins its cell for as long as it takes, whatever it does meanwhile (wait
between two attempts, say): ``pins`` is a list of tokens, as a bulkhead's sack. Who
lets a cell go marks it ``gone`` first and looks for pins after; who calls pins first
and looks for the mark after. So one of the two sees the other: either the cell
stays, or the caller comes to admit() for another one. Nobody runs on a forgotten
command, and no permit or count is lost. A stream that is no frame of a dispatcher's
(commands.dispatch.opener) pins it by being alive: ``streams`` are weak references, each
of which leaves the set when its generator is no more.

Two things make a cell go. *Idle*: it was not called for ``idle`` seconds. *Room*: a
new key comes, and there are ``max_keys``; of the next few cells the one that was not
called for longest goes. A cell stays while calls run, and while its circuit
knows something: open or half open, until ``idle`` seconds after its wait; forced, until it
is released. If none may go, the new key is served by the *overflow* command, which all
such keys share: their target is guarded, and memory is bounded, whoever invents keys.

There is no thread for this. Each new key looks at a few cells, of its own function and
of others in turn (which may be there no more), a bounded price; whoever reads the
registry, which costs a look at each command anyway, looks at all. Calls of known keys
pay nothing.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from itertools import islice
from math import inf
from operator import attrgetter
from typing import Any, Final, NamedTuple, Protocol

import attrs

from ..core.events import State, Trigger
from ..core.locks import Lock
from ..engine.registry_services import RegistryServices
from ..errors import ConfigError
from ..policies.settings import over
from .command import Command, internals_of

DEFAULT_MAX_KEYS: Final = 1000
DEFAULT_IDLE_S: Final = 300.0  # five times the percentile window: by then a snapshot has been all zeros for long
_LOOK: Final = 16  # cells that a new key looks at for one to go: about 10 us
_LOOK_IDLE: Final = 2  # the same while there is room: more than one, so that the idle ones are caught up with
_USED: Final = attrgetter("used")
_FORCED: Final = {State.FORCED_OPEN: Trigger.FORCED_OPEN, State.FORCED_CLOSED: Trigger.FORCED_CLOSED}


class Made(NamedTuple):
    """A key's commands, and what is to be done about them once no lock is held.

    Attributes:
        parts: The commands, each with its own wrapper; one, unless there is a failover.
        call: The wrapper that calls go to.
        bring: Brings what a file says of them into force; may be done twice.
        announce: Tells of new commands, once.
    """

    parts: tuple[tuple[Command, Callable[..., Any]], ...]
    call: Callable[..., Any]
    bring: Callable[[], None]
    announce: Callable[[], None]


class TablePort(Protocol):
    """What a keyspace needs of the table of its registry."""

    keyspaces: OrderedDict[weakref.ref[Keyspace], None]
    keyed: weakref.WeakSet[Keyspace]
    commands: dict[str, Command]
    services: RegistryServices

    @property
    def lock(self) -> Lock: ...
    def drop(self, command: Command) -> None: ...
    def dismiss(self, command: Command, call: Callable[..., Any]) -> bool: ...
    def removed(self, commands: list[Command]) -> None: ...


class KeyEntry:
    """One key's place.

    Attributes:
        call: The compiled wrapper.
        commands: The key's.
        pins: One token for each call that is under way.
        streams: A weak reference to each generator that was opened and is alive.
        gone: It is being let go: look for another.
        used: When the last call began; later, if something has kept the cell since.
        ready: What is said about all keys is in force for this one too.
        bring: See Made.
        news: Made's announce, until somebody takes it.
    """

    __slots__ = ("bring", "call", "gone", "key", "news", "parts", "pins", "ready", "streams", "used")

    def __init__(self, key: str, made: Made, now: float) -> None:
        self.key, self.parts, self.call = key, made.parts, made.call
        self.bring, self.news = made.bring, [made.announce]
        self.pins: list[None] = []
        self.streams: set[weakref.ref[Any]] = set()
        self.gone = self.ready = False
        self.used = now

    @property
    def commands(self) -> list[Command]:
        """The key's commands."""
        return [command for command, _ in self.parts]

    @property
    def is_pinned(self) -> bool:
        """Whether a call is under way."""
        return bool(self.pins or self.streams)


class _Nobody(KeyEntry):
    """Stands for the cell of an unknown key."""

    __slots__ = ()

    def __init__(self) -> None:
        self.pins, self.gone = [], True


MISSING: Final = _Nobody()


@attrs.frozen
class SharedSettings:
    """What was said about all keys, those to come included."""

    forced: Trigger | None = None
    changes: Mapping[str, Any] = attrs.field(factory=dict)


NO_SHARED_SETTINGS: Final = SharedSettings()


class Keyspace:
    """The commands of a function whose ``key`` is a callable, or of its failover's targets, behind their handle.

    Every method may be called from any thread.

    Attributes:
        template: Stands for all of them: what each new one is like.
        home: The table of the registry.
        clock: The registry's.
        table: Cells by key, for the wrapper.
        max_keys: Commands at once, not counting the overflow.
        idle: Seconds without a call after which a command goes.
        overflow: Key of the command for the keys that found no room.
        orders: What was said about all keys; replaced, never changed.
        wrapper: The function; for who pickles the commands.
        names: Of a failover of one key: the keys of its commands, by target; empty: the function's key is a callable.
    """

    wrapper: weakref.ref[Callable[..., Any]]

    def __init__(self, template: Command, home: TablePort, make: Callable[[str], Made], *, max_keys: int,
                 idle: float) -> None:
        self.template, self.home, self._make = template, home, make
        self.max_keys, self.idle = max_keys, idle
        self.clock = home.services.clock
        self.overflow = f"{template.key}[overflow]"
        self.table: dict[str, KeyEntry] = {}
        self._cells: OrderedDict[str, KeyEntry] = OrderedDict()
        self._reference: weakref.ref[Keyspace] = weakref.ref(self)  # the table keeps no function alive
        self.orders = NO_SHARED_SETTINGS
        self.names: Mapping[str, str] = {}
        with home.lock:
            home.keyed.add(self)

    def commands(self) -> list[Command]:
        """The commands that there are at this moment."""
        return [command for command, _ in self.parts()]

    def find(self, key: str) -> Command | None:
        """The command with this key, or of the target with this name; None: there is none at this moment."""
        key = self.names.get(key, key)
        cell = self.table.get(key)
        if cell is None and self.template.settings.failover is None:
            return None
        cells = self.table.copy().values() if cell is None else (cell,)  # that of a target is in its key's
        return next((command for each in cells for command in each.commands if command.key == key), None)

    def parts(self) -> list[tuple[Command, Callable[..., Any]]]:
        """The same, each with its own wrapper."""
        return [part for cell in self.table.copy().values() for part in cell.parts]

    @property
    def is_fixed(self) -> bool:
        """Whether there is one key, which stays: that of a failover."""
        return bool(self.names)

    # -- what is said about all keys

    def steer(self, trigger: Trigger, forced: Trigger | None) -> None:
        """Pull a *trigger* of each circuit; *forced* is pulled of those to come, too.

        Raises:
            ConfigError: There is no breaker.
        """
        if self.template.settings.breaker is None:
            raise ConfigError(f"{self.template.key} has no breaker to steer", "breaker")
        with self.home.lock:
            self.orders = attrs.evolve(self.orders, forced=forced)
        for command in self.commands():
            internals_of(command).switch(trigger)

    def reset(self) -> None:
        """See KeyedCommands.reset()."""
        with self.home.lock:
            self.orders = attrs.evolve(self.orders, forced=None)
        for command in self.commands():
            command.reset()

    def configure(self, **changes: Any) -> None:
        """See KeyedCommands.configure()."""
        changes = {name: over(name, None, value) for name, value in changes.items()}
        with self.home.lock:
            for command in (self.template, *self.commands()):
                internals_of(command).check(internals_of(command).own(changes))
            known = self.orders.changes
            further = {name: over(name, known.get(name), value) for name, value in changes.items()}
            self.orders = attrs.evolve(self.orders, changes={**known, **further})
        for command in self.commands():
            command.configure(**internals_of(command).own(changes))

    def clear(self) -> None:
        """Forget all keys; see KeyedCommands.clear()."""
        gone: list[Command] = []
        with self.home.lock:
            for cell in list(self._cells.values()):
                cell.gone = True
                self._drop(cell, gone)
        self.home.removed(gone)

    # -- for the wrapper and the registry

    def admit(self, key: str) -> KeyEntry:
        """The cell of a key that ``table`` does not have, or has no more; it is to be pinned, and looked at again.

        Raises:
            ConfigError: Another function says otherwise about a command with this key.
        """
        gone: list[Command] = []
        try:
            with self.home.lock:
                cell = self._cells.get(key)
                if cell is None:
                    cell = self._enter(key, self.clock(), gone)
                cell.gone = False  # whoever began to let it go was interrupted
        finally:
            self.home.removed(gone)
        self._finish(cell)
        return cell

    def sweep(self, now: float, gone: list[Command]) -> None:
        """Let go of all that is idle, and note it in *gone*. The caller holds the lock."""
        for cell in list(self._cells.values()):
            if self._is_idle(cell, now):
                self._let_go(cell, gone)

    def forget(self, command: Command, gone: list[Command]) -> None:
        """The command was removed from the registry: its key begins anew. The caller holds the lock.

        What a fixed key has is there from the decoration on, and so stays.
        """
        for name in () if self.is_fixed else internals_of(command).names:
            cell = self._cells.get(name)
            if cell is not None and command in cell.commands:
                cell.gone = True
                self._drop(cell, gone)

    def renew(self) -> None:
        """Start over in a forked child, where none of the other threads' calls goes on."""
        for cell in self._cells.values():
            cell.pins, cell.streams, cell.gone = [], set(), False

    def tidy(self, now: float, gone: list[Command]) -> None:
        """Look at the next few cells for idle ones. The caller holds the lock."""
        for cell in self._next(_LOOK_IDLE):
            if self._is_idle(cell, now):
                self._let_go(cell, gone)

    def _enter(self, key: str, now: float, gone: list[Command]) -> KeyEntry:
        for other in list(islice(self.home.keyspaces, _LOOK_IDLE)):
            self.home.keyspaces.move_to_end(other)
            keyspace = other()
            if keyspace is None:
                del self.home.keyspaces[other]
            else:
                keyspace.tidy(now, gone)
        if not self._make_room(now, gone):
            key = self.overflow
            if key in self._cells:
                return self._cells[key]
        cell = KeyEntry(key, self._make(key), now)
        for command in cell.commands:
            internals_of(command).idle = DEFAULT_IDLE_S if self.idle == inf else self.idle
        self.home.keyspaces[self._reference] = None
        return self._cells.setdefault(key, cell)  # a signal handler may have been here too

    def _finish(self, cell: KeyEntry) -> None:
        """Bring what is said about all keys into force for this one, then let calls find it."""
        if cell.ready:
            return
        cell.bring()
        try:
            announce = cell.news.pop()
        except IndexError:  # another caller of this key does it
            pass
        else:
            announce()
        while not cell.ready:
            orders = self.orders
            for command in cell.commands:
                changes = internals_of(command).own(orders.changes)
                if changes:
                    command.configure(**changes)
                internals_of(command).switch(orders.forced)
            with self.home.lock:
                if self._cells.get(cell.key) is not cell:
                    return  # it has been forgotten already
                if self.orders is orders:
                    self.table[cell.key] = cell
                    cell.ready = True

    def _make_room(self, now: float, gone: list[Command]) -> bool:
        """Let go of the idle ones among the next few cells, or of one that is not; False: there is no room."""
        if not self._is_full():
            self.tidy(now, gone)
            return True
        found = self._next(_LOOK)
        for cell in found:
            if self._is_idle(cell, now):
                self._let_go(cell, gone)
        return not self._is_full() or any(
            self._is_spare(cell) and self._let_go(cell, gone) for cell in sorted(found, key=_USED))

    def _next(self, n: int) -> list[KeyEntry]:
        """The *n* cells that were not looked at for longest."""
        found = list(islice(self._cells.values(), n))
        for cell in found:
            self._cells.move_to_end(cell.key)
        return found

    def _is_full(self) -> bool:
        return len(self._cells) - (self.overflow in self._cells) >= self.max_keys

    def _is_idle(self, cell: KeyEntry, now: float) -> bool:
        if cell.is_pinned:
            cell.used = max(cell.used, now)
            return False
        return now - cell.used >= self.idle and now - self._needed_until(cell) >= self.idle

    def _is_spare(self, cell: KeyEntry) -> bool:
        return not cell.is_pinned and cell.ready and cell.key != self.overflow and self._needed_until(cell) == -inf

    def _needed_until(self, cell: KeyEntry) -> float:
        """Until when the cell knows something that a new one would not."""
        return max(map(self._command_needed_until, cell.commands))

    def _command_needed_until(self, command: Command) -> float:
        forced = self.orders.forced
        if forced is not None and forced is _FORCED.get(command.state) and len(internals_of(command).functions) == 1:
            return -inf  # so would a new one be; but what others share, release() must find here
        return internals_of(command).needed_until

    def _let_go(self, cell: KeyEntry, gone: list[Command]) -> bool:
        """Drop a cell, unless a call is under way; first the mark, then the look for pins."""
        cell.gone = True
        is_used = cell.is_pinned or any(command.in_flight for command in cell.commands)
        if is_used or not cell.gone:  # a signal handler wanted it meanwhile
            cell.gone = False
            return False
        self._drop(cell, gone)
        return True

    def _drop(self, cell: KeyEntry, gone: list[Command]) -> None:
        if self._cells.get(cell.key) is cell:
            del self._cells[cell.key]
        if self.table.get(cell.key) is cell:
            del self.table[cell.key]
        gone += [command for command, call in cell.parts if self.home.dismiss(command, call)]
        if not self._cells:
            self.home.keyspaces.pop(self._reference, None)
