"""Thread owners: who has a daemon thread, and is told when the interpreter ends, and in a forked child."""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class ThreadOwners(Generic[T]):
    """All of one kind that are still there. Safe from any thread."""

    def __init__(self, at_exit: Callable[[tuple[T, ...]], None], after_fork: Callable[[T], None]) -> None:
        """There are none yet, and nobody is told of anything.

        Args:
            at_exit: Called with all of them before the interpreter ends.
            after_fork: Called with each of them in a forked child, where its thread is no more.
        """
        self._at_exit, self._after_fork = at_exit, after_fork
        self._owners: weakref.WeakSet[T] = weakref.WeakSet()
        self._is_arranged = False

    def add(self, owner: T) -> None:
        """Remember an *owner* for as long as somebody else does."""
        if not self._is_arranged:
            self._is_arranged = True
            atexit.register(lambda: self._at_exit(tuple(self._owners)))
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=self._tell_forked)
        self._owners.add(owner)

    def _tell_forked(self) -> None:
        for each in tuple(self._owners):
            self._after_fork(each)
