"""AppliedSource: a file or mapping over the commands of a registry, and read again when it changes.

An Overlay does the work. This knows where its tables come from, keeps and tells what is wrong with them, and watches
the file. One at a time is in force for a registry; the next one takes its place without a moment in between.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ..commands.command import internals_of
from ..errors import ConfigError
from ..registry import Registry, table_of
from .document import Document, content_of
from .events import ConfigurationApplied, ConfigurationRejected
from .layers import Tables, tables_of
from .mistakes import ConfigFileError, Mistake
from .overlay import overlay_of
from .rehearsal import mistakes_at_start
from .watcher import Content, Watcher

Source = str | os.PathLike[str] | Mapping[str, Any]

#: Variables whose names begin with this hold further TOML, which goes on top of the file.
ENVIRONMENT: Final = "RESILIENCE_CONFIG"

_log = logging.getLogger("resilience")


def check(source: Source, environ: Mapping[str, str] | None = None) -> Tables:
    """Read a configuration without bringing it into force.

    Args:
        source: A TOML file, or a mapping with its tables.
        environ: Where to look for variables that begin with RESILIENCE_CONFIG; None: the process's environment.

    Raises:
        ConfigFileError: With every mistake that shows without importing the code it speaks of.
    """
    tables = _read(_reader(source), os.environ if environ is None else environ)
    _hint(tables.hints)
    mistakes = mistakes_at_start(tables)
    if mistakes:
        raise ConfigFileError(mistakes)
    return tables


class AppliedSource:
    """A source that is or was in force over the commands of a registry. Every method may be called from any thread."""

    def __init__(self, source: Source, registry: Registry, environ: Mapping[str, str] | None) -> None:
        self._source, self._registry, self._environ = source, registry, environ
        self._file = _name_of(source)
        self._path = _absolute(self._file)
        self._overlay = overlay_of(registry)
        self._mistakes: tuple[Mistake, ...] = ()
        self._watcher: Watcher | None = None
        self._hinted: tuple[Mistake, ...] = ()
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<configuration from {self._file}{', closed' if self._is_closed else ''}>"

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """What was wrong when it was last read, and with commands and targets that came since; empty if nothing."""
        late = self._overlay.late.copy() if self._overlay.owner is self else {}
        return (*self._mistakes, *(mistake for each in late.values() for mistake in each))

    @property
    def unused(self) -> tuple[str, ...]:
        """What the tables speak of and no command has so far, such as ``commands.KEY``: misspelt, or not imported."""
        tables, groups = self._overlay.tables, {command.group for command in self._registry}
        names = {name for command in self._registry for name in internals_of(command).names}
        return (*(f"groups.{name}" for name in tables.groups if name not in groups),
                *(f"commands.{key}" for key in tables.commands if key not in names),
                *(f"guards.{target}" for target, patch in self._overlay.patches.items() if not patch.is_in_force))

    def reload(self) -> None:
        """Read the source and the environment again, and bring what they say into force, all or nothing."""
        if self._is_closed:
            raise ConfigError(f"{self!r} is not in force any more; call configure()")
        self._overlay.do(self._load)

    def close(self) -> None:
        """Take everything back: guards, settings, the watch. What the code says is in force again."""
        if not self._is_closed:
            self.stop()
            self._overlay.do(self._overlay.end)

    def begin(self, watch: bool) -> None:
        """Take the place of whoever is in force."""

        def begin() -> None:
            former, watcher = self._overlay.owner, None
            if watch and not isinstance(self._source, Mapping):
                watcher = Watcher(self._path, self)  # looks before it is read: no change is between the two
            self._load(first=True)
            if former is not None:
                former.stop()
            if watcher is not None:
                self._watcher = watcher
                watcher.start()

        self._overlay.do(begin, wait=True)

    def resume(self, tables: Tables) -> None:
        """Put it in force again with the *tables* that it had, after another one replaced it; for the testing kit."""

        def resume() -> None:
            former, self._overlay.owner, self._mistakes = self._overlay.owner, self, ()
            if former is not None and former is not self:
                former.stop()
            self._overlay.apply(tables)
            self._overlay.listen()
            if self._watcher is not None and not isinstance(self._source, Mapping):
                self._watcher = Watcher(self._path, self)
                self._watcher.start()
            self._is_closed = False

        self._overlay.do(resume, wait=True)

    def stop(self) -> None:
        """Watch no longer: it is not in force any more."""
        self._is_closed = True
        if self._watcher is not None:
            self._watcher.close()

    def _load(self, first: bool = False, content: Content | None = None) -> None:
        """Read, and bring into force what was read; *content*: of the file, if the watcher has read it already."""
        if self._is_closed:
            return
        try:
            tables = _read(self._document(content, first), os.environ if self._environ is None else self._environ)
            self._hinted = _hint(tables.hints, self._hinted)
            former, self._overlay.owner, self._mistakes = self._overlay.owner, self, ()
            try:
                changed = self._overlay.apply(tables)
            except ConfigFileError:
                self._overlay.owner = former
                raise
        except ConfigFileError as error:
            if not first:
                self.reject(error.mistakes, "changes nothing")
            self._mistakes = tuple(error.mistakes)
            raise
        self._overlay.listen()
        for command in self._registry:
            if command.key not in changed:
                self._overlay.settle(command)  # declared while nobody listened
        table_of(self._registry).emitter.emit(ConfigurationApplied(self._file, changed, self._registry.clock()))

    def _document(self, content: Content | None, first: bool) -> Callable[[], Document]:
        """How to make the document of the source; a watcher compares what it will see with what is read here."""
        watcher = self._watcher
        if first or isinstance(self._source, Mapping):
            return _reader(self._source)
        found = content_of(self._path) if content is None else content
        if watcher is not None and not isinstance(found, ValueError):
            watcher.take(found)
        return lambda: Document.parse(found, self._file)

    def changed(self) -> None:
        """Read the file's new content; whoever is told of mistakes, it is not the watcher, which goes on regardless."""
        watcher = self._watcher
        try:
            self._overlay.do(functools.partial(self._load, content=None if watcher is None else watcher.found))
        except ConfigError:
            pass
        except Exception:  # noqa: BLE001 - logged, whatever it is
            with contextlib.suppress(Exception):
                _log.exception("configuration changes nothing: %s could not be read", self._file)

    def complain(self, mistakes: Sequence[Mistake]) -> None:
        """Record mistakes that showed only when a module was imported, and report them."""
        self._mistakes = (*self._mistakes, *mistakes)
        self.reject(mistakes)

    def renew(self) -> None:
        """In a forked child: watch on."""
        if self._watcher is not None and not self._is_closed:
            self._watcher.renew()

    def reject(self, mistakes: Sequence[Mistake], consequence: str = "cannot be applied in part") -> None:
        """Report *mistakes* and their *consequence* to the log, and the mistakes to the listeners."""
        for mistake in mistakes:
            with contextlib.suppress(Exception):  # of a logging handler or filter
                _log.error("configuration %s: %s", consequence, mistake)
        now = self._registry.clock()
        table_of(self._registry).emitter.emit(ConfigurationRejected(self._file, tuple(mistakes), now))


def _absolute(file: str) -> Path:
    """The path of *file*, which stays the same when the process changes its directory, as a daemon does."""
    try:
        return Path(file).absolute()
    except OSError:  # the directory is gone
        return Path(file)


def _hint(hints: tuple[Mistake, ...], known: tuple[Mistake, ...] = ()) -> tuple[Mistake, ...]:
    """Log what is allowed and is most likely not meant, once."""
    for hint in hints:
        if (hint.file, hint.key, hint.message) not in [(each.file, each.key, each.message) for each in known]:
            with contextlib.suppress(Exception):  # of a logging handler or filter
                _log.warning("%s", hint)
    return hints


def _reader(source: Source) -> Callable[[], Document]:
    name = _name_of(source)
    return lambda: Document.of(source, name) if isinstance(source, Mapping) else Document.read(name)


def _name_of(source: Source) -> str:
    """What messages call it: the path of a file."""
    if isinstance(source, Mapping):
        return "the mapping"
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"a configuration is the path of a file, or a mapping with the same tables, not {source!r}")
    return os.fspath(source)


def _read(main: Callable[[], Document], environ: Mapping[str, str]) -> Tables:
    documents, mistakes = [], []
    for make in (main, *(_variable(name, environ[name]) for name in sorted(environ) if name.startswith(ENVIRONMENT))):
        try:
            documents.append(make())
        except ConfigFileError as error:
            mistakes += error.mistakes
    tables = tables_of(documents)
    mistakes += [mistake for document in documents for mistake in document.mistakes]
    if mistakes:
        raise ConfigFileError(mistakes)
    return tables


def _variable(name: str, text: str) -> Any:
    return lambda: Document(text, f"${name}")
