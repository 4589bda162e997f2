"""Change: what another configuration changes that is not its own, such as commands, limits and doors that go on.

A configuration is built while the former one is in force, and any part of it may fail: a file is not there, a name is
taken. So nothing that serves is touched meanwhile. What is to be touched is noted here, and done in one go when all is
built; if that fails, what was made is ended, and nobody has noticed.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

Act = Callable[[], object]


def at_once(act: Act) -> None:
    """Do it: nothing else has to be built first."""
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
