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
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

import wrapt

from ..commands.command import Command
from ..errors import ConfigError
from ..policies.settings import Settings
from ..registry import Registry
from .commands import settings
from .guards import Entry, Patch
from .layers import Tables
from .mistakes import ConfigFileError, Mistake
from .reach import Change, changed, declared, told
from .targets import TargetError, is_being_imported, is_imported, parts

_log = logging.getLogger("resilience")
_NOTHING: Final = Settings()
_overlays: weakref.WeakKeyDictionary[Registry, weakref.ref[Overlay]] = weakref.WeakKeyDictionary()


def overlay_of(registry: Registry) -> Overlay:
    """The overlay of *registry*; the registry keeps it, as long as there is a configuration."""
    with registry.lock:
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
            Exception: What *work* raised, if it has ended.
        """
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
        self._registry.declared = self.settle

    def end(self) -> None:
        """Put nothing over anything any more."""
        self.apply(Tables())
        self.owner = None
        self._registry.declared = None

    # -- all at once

    def apply(self, tables: Tables) -> tuple[str, ...]:
        """Bring *tables* into force, all or nothing; the caller is the one at work, see do().

        Returns:
            The keys of the commands that changed.

        Raises:
            ConfigFileError: With every mistake; nothing has changed then.
        """
        fresh, remade, waiting = self._prepared(tables)
        try:
            self._check(tables, fresh)
        except ConfigFileError:
            for patch in fresh:
                patch.undo()
            raise
        kept = {target: self._kept(self.patches[target], entry) for target, entry in tables.guards.items()
                if target in self.patches and entry not in remade}
        gone = [patch for target, patch in self.patches.items() if target not in kept]
        self._moving = [*fresh, *gone]
        with self._registry.lock:
            self.tables, self.late = tables, {}
            self.patches = {**kept, **{patch.entry.target: patch for patch in (*fresh, *waiting)}}
            late: list[Mistake] = []
            changes = [change for command in self._registry if (change := self._bring(command, tables, late))]
        for change in changes:
            told(change)
        for patch in gone:
            self._undo(patch, late)
        for patch in (*(Patch(entry, self._registry) for entry in remade), *waiting):
            self.patches[patch.entry.target] = patch
            self._await(patch)
        self._moving = []
        self._complain(late)
        return tuple(change.command.key for change in changes)

    def _prepared(self, tables: Tables) -> tuple[list[Patch], list[Entry], list[Patch]]:
        """New patches that are ready, entries that must be made anew, and patches whose modules are not there yet."""
        self._moving = fresh = list[Patch]()
        remade: list[Entry] = []
        waiting: list[Patch] = []
        mistakes: list[Mistake] = []
        going = [patch for target, patch in self.patches.items() if target not in tables.guards]
        others = [patch for patch in self.patches.values() if patch not in going]
        for target, entry in tables.guards.items():
            known = self.patches.get(target)
            try:
                if known is not None and known.entry.structure == entry.structure:
                    continue
                if not is_imported(target):
                    waiting.append(Patch(entry, self._registry))
                elif known is not None:
                    rehearsal = Patch(entry, Registry())
                    rehearsal.prepare([known, *others, *fresh])
                    remade.append(entry)
                else:
                    patch = Patch(entry, self._registry)
                    patch.prepare([*others, *fresh, *going])
                    fresh.append(patch)
            except (TargetError, ConfigError) as error:
                mistakes.append(entry.place.mistake(str(error)))
        if mistakes:
            for patch in fresh:
                patch.undo()
            raise ConfigFileError(mistakes)
        return fresh, remade, waiting

    def _check(self, tables: Tables, fresh: Iterable[Patch]) -> None:
        """Raise if some command cannot be what *tables* say; put the fresh patches in place, each configured before."""
        changes: list[Change] = []
        with self._registry.lock:
            mistakes = [mistake for command in self._registry for mistake in tables.effective(command).mistakes]
            if not mistakes:
                changes = [change for patch in fresh if patch.is_alone and patch.command is not None
                           and (change := self._bring(patch.command, tables, []))]
        if mistakes:
            raise ConfigFileError(list(dict.fromkeys(mistakes)))
        for change in changes:
            told(change)
        for patch in fresh:
            try:
                patch.commit()
            except TargetError as error:
                raise ConfigFileError([patch.entry.place.mistake(str(error))]) from None

    def _kept(self, patch: Patch, entry: Entry) -> Patch:
        patch.entry = entry
        return patch

    # -- one at a time

    def settle(self, command: Command, anew: Collection[str] = ()) -> None:
        """Bring what is said of one command into force: it is new, or its functions say the settings *anew*."""
        late: list[Mistake] = []
        with self._registry.lock:
            change = self._bring(command, self.tables, late, anew)
            known = self.late.pop(command.names[0], ())  # the same for every key of a keyed function
            if late:
                self.late[command.names[0]] = tuple(late)
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
            self._complain([patch.entry.place.mistake(str(error))])
        except Exception as error:  # noqa: BLE001 - see above
            _log.debug("%s could not be guarded", patch.entry.target, exc_info=True)
            self._complain([patch.entry.place.mistake(f"could not be guarded: {error!r}")])

    def _undo(self, patch: Patch, late: list[Mistake]) -> None:
        complaint = patch.undo()
        if complaint is None:
            return
        late.append(patch.entry.place.mistake(complaint))
        if patch.command is not None:
            with self._registry.lock:
                change = changed(patch.command, {name: getattr(_NOTHING, name) for name in settings()})
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
