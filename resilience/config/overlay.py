"""Overlay: what a registry's configuration has put over its code, and the only thing that changes it.

There is one for each registry, whatever configurations follow each other. Jobs
(load this, take all back) are done one at a time by whoever comes first; another
leaves its job with them, so that nobody waits, and a signal handler may reload
whatever its own thread is doing.

apply() first finds out everything that could be wrong, which changes nothing, then
changes all commands together under the registry's lock. Guards of modules that are
not imported yet wait for wrapt's post-import hook; it cannot be taken back, so that
it holds the overlay weakly and asks whether its patch is still wanted.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import wrapt

from ..commands.command import Command, internals_of
from ..errors import ConfigError
from ..policies.settings import Settings
from ..registry import Registry, table_of
from .commands import settings
from .layers import Tables
from .live_settings import Change, changed, declared, told
from .mistakes import ConfigFileError, Mistake, mistake_at
from .patches import GuardEntry, Patch
from .rehearsal import Rehearsal
from .targets import TargetError, is_being_imported, is_imported, parts

_log = logging.getLogger("resilience")
_NOTHING: Final = Settings()
_overlays: weakref.WeakKeyDictionary[Registry, weakref.ref[Overlay]] = weakref.WeakKeyDictionary()


def overlay_of(registry: Registry) -> Overlay:
    """The overlay of *registry*; the registry keeps it, as long as there is a configuration."""
    with table_of(registry).lock:
        known = _overlays.get(registry)
        overlay = None if known is None else known()
        if overlay is None:
            overlay = Overlay(registry)
            _overlays[registry] = weakref.ref(overlay)
        return overlay


class Job:
    """Something to do with an overlay, and how it ended."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self.error: Exception | None = None
        self.done = threading.Event()

    def run(self) -> None:
        """Do it; an error is kept for whoever wanted it."""
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - raised again to whom it concerns
            self.error = error
        finally:
            self.done.set()


class _Plan:
    """What one apply() does to the guards.

    Attributes:
        kept: Targets whose guards stay; their live settings may change.
        going: Guards to take off.
        doomed: Commands that go with these.
        fresh: Guards that are ready to be put in place.
        anew: Entries whose guards can be made only when those that are going are off; rehearsed.
        waiting: Guards of modules that are not imported yet.
    """

    def __init__(self, kept: list[str], going: list[Patch], doomed: set[Command]) -> None:
        self.kept, self.going, self.doomed = kept, going, doomed
        self.fresh: list[Patch] = []
        self.anew: list[GuardEntry] = []
        self.waiting: list[Patch] = []
        self.rehearsal = Rehearsal()

    def has_to_wait(self, entry: GuardEntry) -> bool:
        """Whether the *entry* needs what those that are going have: their place, their key or their group's threads.

        Or what another entry will say of the same key or the same threads that has to wait itself.
        """
        return any(patch.is_at(entry.target) for patch in self.going) or any(
            command.key in entry.keys or (command.group == entry.group and command.pool is not None)
            for command in self.doomed) or any(
            other.key == entry.key or (other.group == entry.group and other.said("pool") is not None)
            for other in self.anew)


class Overlay:
    """What is put over the commands of one registry.

    Attributes:
        tables: What is in force.
        patches: The guards in place or waiting for their modules, by target.
        late: What commands that came later cannot be, by key; a further decorator of a stack may mend it.
        owner: Is told of mistakes that show only later; None: nothing is in force.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.tables = Tables()
        self.patches: dict[str, Patch] = {}
        self.owner: Any = None
        self.late: dict[str, tuple[Mistake, ...]] = {}
        self._applied: weakref.WeakKeyDictionary[Command, Mapping[str, Any]] = weakref.WeakKeyDictionary()
        self._jobs: deque[Job] = deque()
        self._busy = threading.Lock()
        self._worker: int | None = None  # the thread that is at it
        self._moving: list[Patch] = []  # what apply() puts in place or takes away; what is on neither side, see _mend()

    def do(self, work: Callable[[], object], *, wait: bool = False) -> None:
        """Do *work* while nobody else does any, or leave it with who is at it, and *wait* for the end or not.

        Raises:
            ConfigError: This very thread is at it, which would *wait* for itself.
            Exception: What *work* raised, if it has ended.
        """
        if wait and self._worker == threading.get_ident():
            raise ConfigError("configure() was called while this thread brings a configuration of the same registry "
                              "into force, by a listener that hears of it, or by a module that it imports; let the "
                              "program call it afterwards")
        job = Job(work)
        self._jobs.append(job)
        while self._jobs and self._busy.acquire(blocking=False):
            self._worker = threading.get_ident()
            try:
                while self._jobs:
                    self._jobs.popleft().run()
            finally:
                self._worker = None
                self._busy.release()
        if wait:
            job.done.wait()
        if job.error is not None:
            raise job.error

    def renew(self) -> None:
        """In a forked child: nobody else is at work, and what another thread left half done is brought to an end."""
        if self._worker != threading.get_ident():  # else a listener has forked, and this thread goes on with it
            was_busy = self._busy.locked()
            self._busy = threading.Lock()
            self._jobs.clear()
            if was_busy:
                self._mend()
        if self.owner is not None:
            self.owner.renew()

    def _mend(self) -> None:
        """Take off the guards that are known to nobody, and put those in place that are said to be."""
        for patch in self._moving:
            if self.patches.get(patch.entry.target) is not patch:
                patch.abandon()
        self._moving = []
        for target, entry in self.tables.guards.items():
            known = self.patches.get(target)
            if known is not None and (known.is_in_place or not is_imported(target) or is_being_imported(target)):
                continue
            if known is not None:
                known.abandon()
            patch = self.patches[target] = Patch(entry, self._registry)
            if is_imported(target):
                self._place(patch)
            else:
                self._await(patch)

    def listen(self) -> None:
        """Bring into force what is said of commands that are declared from now on."""
        table_of(self._registry).declared = self.settle

    def end(self) -> None:
        """Put nothing over anything any more."""
        self.apply(Tables())
        self.owner = None
        table_of(self._registry).declared = None

    # -- all at once

    def apply(self, tables: Tables) -> tuple[str, ...]:
        """Bring *tables* into force, all or nothing; the caller is the one at work, see do().

        Returns:
            The keys of the commands that changed.

        Raises:
            ConfigFileError: With every mistake; nothing has changed then.
        """
        plan = self._planned(tables)
        try:
            self._check(tables, plan)
        except ConfigFileError:
            for patch in plan.fresh:
                patch.undo()
            raise
        kept = {target: self._kept(self.patches[target], tables.guards[target]) for target in plan.kept}
        self._moving = [*plan.fresh, *plan.going]
        with table_of(self._registry).lock:
            self.tables, self.late = tables, {}
            self.patches = {**kept, **{patch.entry.target: patch for patch in (*plan.fresh, *plan.waiting)}}
            late: list[Mistake] = []
            changes = [change for command in self._registry if command not in plan.doomed
                       and (change := self._bring(command, tables, late))]
        for change in changes:
            told(change)
        for patch in plan.going:
            self._undo(patch, late)
        for patch in (*(Patch(entry, self._registry) for entry in plan.anew), *plan.waiting):
            self.patches[patch.entry.target] = patch
            self._await(patch)
        self._moving = []
        self._complain(late)
        return tuple(change.command.key for change in changes)

    def _planned(self, tables: Tables) -> _Plan:
        """What *tables* ask of the guards; fresh ones are ready, and nothing is in place or taken off.

        Raises:
            ConfigFileError: With what a start would find wrong.
        """
        kept = [target for target, entry in tables.guards.items() if self._may_stay(target, entry)]
        going = [patch for target, patch in self.patches.items() if target not in kept]
        doomed = {command for patch in going if patch.alone_has_its_commands(going) for command in patch.commands}
        plan = _Plan(kept, going, doomed)
        self._moving = plan.fresh
        mistakes: list[Mistake] = []
        for entry in tables.guards.values():
            try:
                self._enter(plan, entry)
            except (TargetError, ConfigError) as error:
                mistakes.append(mistake_at(entry.place, str(error)))
        if mistakes:
            for patch in plan.fresh:
                patch.undo()
            raise ConfigFileError(mistakes)
        return plan

    def _may_stay(self, target: str, entry: GuardEntry) -> bool:
        """Whether the guard that there is can be what the *entry* says.

        It cannot after its module was made anew, nor if it could not be put in place when the module was imported.
        """
        known = self.patches.get(target)
        if known is None or not known.entry.may_become(entry):
            return False
        if is_imported(target) and not is_being_imported(target):
            return known.is_in_force
        return not known.is_in_place

    def _enter(self, plan: _Plan, entry: GuardEntry) -> None:
        """Make the guard of an *entry*, or rehearse it if it has to wait until others are taken off.

        Raises:
            TargetError: The target cannot be guarded.
            ConfigError: The entry contradicts itself, the target or another function of the same key.
        """
        target = entry.target
        others = [*(self.patches[each] for each in plan.kept if each != target), *plan.fresh]
        known = self.patches.get(target)
        if target in plan.kept:
            if known is not None and known.entry.layer != entry.layer and is_imported(target):
                plan.rehearsal.enter(entry, others, [known, *plan.going])
        elif not is_imported(target):
            plan.waiting.append(Patch(entry, self._registry))
        elif not plan.has_to_wait(entry):
            patch = Patch(entry, self._registry)
            patch.prepare([*others, *plan.rehearsal.patches], plan.going)
            plan.fresh.append(patch)
        else:
            plan.rehearsal.enter(entry, others, plan.going)
            plan.anew.append(entry)
            self._check_agreement(plan, entry, others)

    def _check_agreement(self, plan: _Plan, entry: GuardEntry, others: list[Patch]) -> None:
        """Raise ConfigError if the *entry* contradicts a command that stays, of its key or on its group's threads."""
        stay = [command for command in self._registry if command not in plan.doomed]
        if any(command.group == entry.group and command.pool is not None for command in stay):
            table_of(self._registry).check_pool(entry.group, entry.said("pool"))
        if any(command.key in entry.keys for command in stay):
            patch = Patch(entry, self._registry)
            patch.prepare(others, plan.going)
            patch.undo()

    def _check(self, tables: Tables, plan: _Plan) -> None:
        """Raise if some command cannot be what *tables* say; put the fresh patches in place, each configured before."""
        changes: list[Change] = []
        table = table_of(self._registry)
        with table.lock:
            mistakes = [mistake for command in (*self._registry, *table.templates()) if command not in plan.doomed
                        for mistake in tables.effective(command).mistakes] + plan.rehearsal.mistakes(tables)
            if not mistakes:
                changes = [change for patch in plan.fresh if patch.is_alone for command in patch.commands
                           if (change := self._bring(command, tables, []))]
        if mistakes:
            raise ConfigFileError(list(dict.fromkeys(mistakes)))
        for change in changes:
            told(change)
        for patch in plan.fresh:
            try:
                patch.commit()
            except TargetError as error:
                raise ConfigFileError([mistake_at(patch.entry.place, str(error))]) from None

    def _kept(self, patch: Patch, entry: GuardEntry) -> Patch:
        patch.entry = entry
        return patch

    # -- one at a time

    def settle(self, command: Command, anew: Collection[str] = ()) -> None:
        """Bring what is said of one command into force: it is new, or its functions say the settings *anew*."""
        late: list[Mistake] = []
        with table_of(self._registry).lock:
            change = self._bring(command, self.tables, late, anew)
            known = self.late.pop(internals_of(command).names[0], ())  # the same for every key of a keyed function
            if late:
                self.late[internals_of(command).names[0]] = tuple(late)
        if change is not None:
            told(change)
        news = [mistake for mistake in late if mistake not in known]
        if news and self.owner is not None:
            self.owner.reject(news)

    def _bring(self, command: Command, tables: Tables, late: list[Mistake],
               anew: Collection[str] = ()) -> Change | None:
        """Change what *tables* say otherwise than what was in force before; what a handle changed else stays."""
        said = declared(command)
        before = {name: getattr(said, name) for name in settings()}
        before.update({name: value for name, value in self._applied.get(command, {}).items() if name not in anew})
        effective = tables.effective(command)
        late += effective.mistakes
        self._applied[command] = effective.values
        return changed(command, {name: value for name, value in effective.values.items() if value != before[name]})

    def _await(self, patch: Patch) -> None:
        """Guard the target as soon as its module is imported, which may be now."""
        ours, theirs = weakref.ref(self), weakref.ref(patch)

        def imported(_: object) -> None:
            overlay, wanted = ours(), theirs()
            if overlay is not None and wanted is not None and wanted.wanted:
                overlay._place(wanted)

        wrapt.register_post_import_hook(imported, parts(patch.entry.target)[0])

    def _place(self, patch: Patch) -> None:
        """Prepare and commit a patch; whatever is wrong with it is no concern of who imports the module."""
        try:
            patch.prepare(other for other in list(self.patches.values()) if other is not patch)
            patch.commit()
        except (TargetError, ConfigError) as error:
            self._complain([mistake_at(patch.entry.place, str(error))])
        except Exception as error:  # noqa: BLE001 - see above
            _log.debug("%s could not be guarded", patch.entry.target, exc_info=True)
            self._complain([mistake_at(patch.entry.place, f"could not be guarded: {error!r}")])

    def _undo(self, patch: Patch, late: list[Mistake]) -> None:
        """Take a guard off, and note if somebody has put something in its place, unless it is going to be made anew."""
        complaint = patch.undo()
        if complaint is None:
            return
        if patch.entry.target not in self.tables.guards:
            late.append(mistake_at(patch.entry.place, complaint))
        for command in patch.commands:
            if self._registry.get(command.key) is not command:
                with table_of(self._registry).lock:
                    change = changed(command, {name: getattr(_NOTHING, name) for name in settings()})
                if change is not None:
                    told(change)

    def _complain(self, mistakes: list[Mistake]) -> None:
        if mistakes and self.owner is not None:
            self.owner.complain(list(dict.fromkeys(mistakes)))


def _after_fork() -> None:
    for each in list(_overlays.values()):
        overlay = each()
        if overlay is not None:
            overlay.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
