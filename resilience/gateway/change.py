"""Change: what another configuration changes that is not its own, such as commands and limits that go on.

A configuration is built while the former one is in force, and any part of it may fail: a file is not there, a name is
taken. So nothing that serves is touched meanwhile. What is to be touched is noted here, and done in one go when all is
built; if that fails, what was made is ended, and nobody has noticed.
"""

from __future__ import annotations

import asyncio
import functools
import weakref
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Generic, TypeVar

from prometheus_client import Metric

from ..metrics.prometheus import export_further
from ..registry import Registry

Act = Callable[[], object]
Name = TypeVar("Name")
Part = TypeVar("Part")


def at_once(act: Act) -> None:
    """Do it: nothing else has to be built first."""
    act()


def if_a_loop_runs(act: Act) -> None:
    """Do it in the running event loop; if none runs, it is done later, by whoever needs it first."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    act()


class Change:
    """One change of configuration, as a context in which it is built. For one event loop, which waits meanwhile."""

    def __init__(self) -> None:
        self._later: list[Act] = []
        self._undo: list[Act] = []

    def once_in_force(self, act: Act) -> None:
        """Let *act* be done when the configuration comes into force, after what was said before; it must not fail."""
        self._later.append(act)

    def unless_in_force(self, act: Act) -> None:
        """Let *act* be done if the configuration never comes into force, before what was said before."""
        self._undo.append(act)

    def __enter__(self) -> Change:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        acts: Any = self._later if error is None else reversed(self._undo)
        self._later, self._undo = [], []  # whoever keeps this, as a filter might, keeps nothing of what it did
        for act in acts:
            act()


class LastingParts(Generic[Name, Part]):
    """What outlives a configuration of the gateways with one registry, by name. Changed by one thread."""

    def __init__(self, collect: Callable[[Mapping[Name, Part]], Iterable[Metric]] | None = None) -> None:
        """There are none yet.

        Args:
            collect: Returns the metrics of those of one registry, in any thread; None: they have none.
        """
        self._collect = collect
        self._known: weakref.WeakKeyDictionary[Registry, dict[Name, Part]] = weakref.WeakKeyDictionary()

    def of(self, registry: Registry) -> Mapping[Name, Part]:
        """All that are in force."""
        return self._known.get(registry, {})

    def put(self, registry: Registry, name: Name, part: Part) -> None:
        """This one is in force from now on."""
        parts = self._known.get(registry)
        if parts is None:
            parts = self._known[registry] = {}
            if self._collect is not None:
                export_further(registry, functools.partial(self._collect, parts))
        parts[name] = part
