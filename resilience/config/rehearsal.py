"""Rehearsal: what a start would say of a file's guards, found out without changing anything.

Entries of ``[guards]`` are prepared, but not put in place, in a registry of their own.
A reload rehearses what it will make anew or change, so that it takes what a start takes
and refuses what a start refuses; check() rehearses everything.

Of a target whose module is not imported, only what holds for every kind of function can
be said: the entry is tried on a plain function, a coroutine function, a generator and an
async generator, and is wrong if all four refuse it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Final

import attrs

from ..core.checks import ordinary_exceptions
from ..core.vendor_errors import check_vendor
from ..decorate.decoration import guard
from ..errors import ConfigError
from ..registry import Registry
from .layers import Tables
from .mistakes import Mistake, mistake_at
from .patches import GuardEntry, Patch
from .targets import TargetError, check_exists, is_imported, named

_REFERENCES: Final = ("ignore", "fallback", "raise_as")


class Rehearsal:
    """Guards as a start would make them. For one thread.

    Attributes:
        patches: Those that were prepared.
    """

    def __init__(self) -> None:
        self._registry = Registry()
        self.patches: list[Patch] = []

    def enter(self, entry: GuardEntry, others: Iterable[Patch] = (), going: Iterable[Patch] = ()) -> None:
        """Prepare an entry whose target's module is imported.

        Args:
            entry: What the file says.
            others: Guards that are to stay.
            going: Guards that will be taken off before.

        Raises:
            TargetError: The target cannot be guarded.
            ConfigError: The entry contradicts itself, the target or another entry of the same key.
        """
        patch = Patch(entry, self._registry)
        patch.prepare([*others, *self.patches], going)
        self.patches.append(patch)

    def mistakes(self, tables: Tables) -> list[Mistake]:
        """What the commands of the rehearsed guards cannot be, of all that *tables* say of them."""
        return [mistake for command in self._registry for mistake in tables.effective(command).mistakes]


def mistakes_at_start(tables: Tables) -> list[Mistake]:
    """What a start would find wrong with the guards of *tables*, as far as that shows without importing anything."""
    rehearsal, mistakes = Rehearsal(), list[Mistake]()
    for entry in tables.guards.values():
        try:
            if is_imported(entry.target):
                rehearsal.enter(entry)
            else:
                _check_references(entry)
                mistakes += _unguardable(entry, tables)
        except (TargetError, ConfigError) as error:
            mistakes.append(mistake_at(entry.place, str(error)))
    return list(dict.fromkeys(mistakes or rehearsal.mistakes(tables)))


def _check_references(entry: GuardEntry) -> None:
    """Raise TargetError or ConfigError for an exception or a fallback that is not there, or is something else."""
    ignored, fallback, raise_as = (entry.said(name) for name in _REFERENCES)
    for reference in filter(None, (*ignored, fallback, raise_as)):
        whole = reference if ":" in reference else f"builtins:{reference}"
        if not is_imported(whole):
            check_exists(whole)
            continue
        found = named(reference)
        if reference in ignored:
            ordinary_exceptions(None, _IGNORE, (found,))
        elif reference == raise_as:
            check_vendor(found, "raise_as")
        elif not callable(found):
            raise ConfigError(f"function of a fallback must be callable, not {found!r}", "fallback")


_IGNORE: Final = attrs.fields(attrs.make_class("Ignoring", ["ignore"])).ignore


def _unguardable(entry: GuardEntry, tables: Tables) -> list[Mistake]:
    """Why the *entry* fits no function, whichever; empty if it fits some."""
    bare = attrs.evolve(entry, layer={name: said for name, said in entry.layer.items() if name not in _REFERENCES})
    found = [_refusals(function, bare, tables) for function in _FUNCTIONS]
    return found[0] if all(found) else []


def _refusals(function: Callable[..., Any], entry: GuardEntry, tables: Tables) -> list[Mistake]:
    registry = Registry()
    try:
        guard(function, entry.declaration(registry), "[guards]")
    except (TypeError, ConfigError) as error:
        return [mistake_at(entry.place, str(error))]
    return [mistake for command in registry for mistake in tables.effective(command).mistakes]


def _plain(**_: Any) -> None: ...


async def _coroutine(**_: Any) -> None: ...


def _generator(**_: Any) -> Iterator[None]:
    yield


async def _async_generator(**_: Any) -> AsyncIterator[None]:
    yield


_FUNCTIONS: Final[tuple[Callable[..., Any], ...]] = (_plain, _coroutine, _generator, _async_generator)
