"""Derived keys: names for commands that nobody named.

A function that is guarded without a ``key`` has its own name for one, ``module.qualname``. Such a name is nobody's wish
to share: closures of one factory, methods that are guarded for each instance and lambdas have one name, and call
different targets. So the first of them gets the name, and each further one that lives beside it the name with a number,
``name#2``. Numbers are used again, the smallest first, so that a factory that makes and drops functions does not make
ever new names for exporters.

The caller of every method holds the registry's lock.
"""

from __future__ import annotations

import heapq


class DerivedKeys:
    """The numbers in use, by name."""

    __slots__ = ("_free", "_most")

    def __init__(self) -> None:
        self._most: dict[str, int] = {}  # the largest number in use
        self._free: dict[str, list[int]] = {}  # smaller ones that are not, as a heap

    def take(self, name: str) -> str:
        """A key for one more function of this *name*, beside the first."""
        free = self._free.get(name)
        if free:
            return f"{name}#{heapq.heappop(free)}"
        number = self._most[name] = self._most.get(name, 1) + 1
        return f"{name}#{number}"

    def hold(self, name: str, key: str) -> None:
        """The command with this *key*, which was gone, is there again."""
        if key == name:
            return
        number, most = int(key.rpartition("#")[2]), self._most.get(name, 1)
        free = {*self._free.pop(name, ()), *range(most + 1, number)} - {number}
        self._most[name] = max(most, number)
        if free:
            self._free[name] = sorted(free)  # a heap, too

    def give_back(self, name: str, key: str) -> None:
        """The command with this *key* is gone; the first one's key is the name itself, and nothing to note."""
        if key == name:
            return
        number = int(key.rpartition("#")[2])
        free = self._free.setdefault(name, [])
        heapq.heappush(free, number)
        if len(free) == self._most[name] - 1:  # none is in use
            del self._free[name], self._most[name]
