"""Rolling counts: over the last seconds, or over the last calls.

A time window does not keep a row of counts per slice and sum them: it keeps
*running totals* since for ever, and a copy of them at the start of each slice
that is still in the window. What happened inside is the difference between the
totals and the oldest copy. So counting is one addition, reading is one
subtraction per column, and the totals serve exporters that want counters which
never fall. The copies are kept modulo 2**32, in one array, which is a tenth of
what tuples of ints would take.

The window holds the running slice and the ``buckets - 1`` before it. Time is an
argument; a clock that steps back counts into the running slice. Nothing here is
locked: the owner guards it, but for Tally, which needs no lock.
"""

from __future__ import annotations

import itertools
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

_MASK: Final = 2**32 - 1


class _Count(itertools.count):  # type: ignore[type-arg]
    """A count of our own class: pickling.py leaves it behind, and from Python 3.14 on none can be pickled."""

    __slots__ = ()


class Tally:
    """A counter that any thread may bump without a lock.

    ``itertools.count`` steps in C, so ``bump`` is atomic under the GIL and costs
    a quarter of a locked addition. Reading it is a step too, hence ``_seen``.
    """

    __slots__ = ("_seen", "bump")

    def __init__(self) -> None:
        self.bump = _Count().__next__
        self._seen = 0

    def take(self) -> int:
        """The bumps since the last take. One taker at a time (the owner's lock)."""
        value: int = self.bump()
        fresh = value - self._seen
        self._seen = value + 1
        return fresh


class TimeWindow:
    """Counts in ``width`` columns over the last ``window`` seconds.

    Attributes:
        totals: Running counts since for ever; the owner adds to them directly
            after ``if now >= edge: roll(now)``.
        edge: When the running slice ends, seconds.
    """

    __slots__ = ("_buckets", "_slice_s", "_starts", "edge", "totals")

    def __init__(self, width: int, *, window: float, buckets: int, now: float) -> None:
        self.totals = [0] * width
        self._buckets, self._slice_s = buckets, window / buckets
        self.edge = now + self._slice_s
        self._starts = self._copy()  # of each slice in the window, oldest first, end to end

    def add(self, column: int, now: float, n: int = 1) -> None:
        """Count *n* in *column* at *now*."""
        if now >= self.edge:
            self.roll(now)
        self.totals[column] += n

    def sums(self, now: float) -> list[int]:
        """Counts inside the window, shape ``(width,)``."""
        if now >= self.edge:
            self.roll(now)
        return self.glance()

    def glance(self) -> list[int]:
        """sums() as of the last count, for one who may find it half changed."""
        return [(total - start) & _MASK for total, start in zip(self.totals, self._starts, strict=False)]

    def roll(self, now: float) -> int:
        """Close the slices that ended before *now*; returns how many they were."""
        steps = int((now - self.edge) // self._slice_s) + 1
        fresh = self._copy() * min(steps, self._buckets)
        self._starts = (self._starts + fresh)[-self._buckets * len(self.totals) :]  # extend() would reserve more
        self.edge += steps * self._slice_s
        if now >= self.edge:  # a slice so short that adding it to a large clock was rounded away
            self.edge = now + self._slice_s
        return steps

    def take_back(self, column: int, n: int) -> None:
        """Count *n* less in *column*, in the newest slices that have any; what has left the window lowers nothing."""
        total, starts = self.totals[column], self._starts
        for at in range(column, len(starts), len(self.totals)):
            if (total - starts[at]) & _MASK < n:
                starts[at] = (total - n) & _MASK
        self.totals[column] = total - n

    def widen(self, width: int) -> None:
        """Add columns, in which nothing has been counted, at the right."""
        old = len(self.totals)
        fresh = array("I", [0] * (width - old))
        rows = (self._starts[at : at + old] + fresh for at in range(0, len(self._starts), old))
        self._starts = sum(rows, array("I"))
        self.totals += fresh

    def clear(self) -> None:
        """Forget the window, keep the totals."""
        self._starts = self._copy()

    def resized(self, *, window: float, buckets: int, now: float) -> TimeWindow:
        """A window of another size with the same history. The age of each count stays exact to one slice."""
        if now >= self.edge:
            self.roll(now)
        new = TimeWindow(len(self.totals), window=window, buckets=buckets, now=now)
        new.totals = list(self.totals)
        width = len(self.totals)
        held = len(self._starts) // width
        began = [self.edge - (held - i) * self._slice_s for i in range(held)]
        ages = (back * new._slice_s for back in reversed(range(buckets)))
        del new._starts[:]
        for at in (width * max(0, bisect_right(began, now - age) - 1) for age in ages):
            new._starts.extend(self._starts[at : at + width])
        return new

    def _copy(self) -> array[int]:
        return array("I", [total & _MASK for total in self.totals])


class CountWindow:
    """Which column each of the last ``size`` calls fell into."""

    __slots__ = ("_columns", "_next", "_ring", "_sums")

    def __init__(self, width: int, *, size: int) -> None:
        self._sums = [0] * width
        self._ring = bytearray(size)
        self._columns: int = 0  # calls held, at most size
        self._next = 0

    def add(self, column: int, now: float, n: int = 1) -> None:
        """Count *n* calls in *column*; *now* does not matter here."""
        size = len(self._ring)
        for _ in range(min(n, size)):
            at = self._next
            if self._columns == size:
                self._sums[self._ring[at]] -= 1
            else:
                self._columns += 1
            self._ring[at] = column
            self._sums[column] += 1
            self._next = at + 1 if at + 1 < size else 0

    def sums(self, now: float) -> Sequence[int]:
        """Counts inside the window, shape ``(width,)``."""
        return list(self._sums)

    def resized(self, size: int) -> CountWindow:
        """The most recent calls in a window of another size."""
        new = CountWindow(len(self._sums), size=size)
        held, ring = self._columns, self._ring
        for i in range(held):
            new.add(ring[(self._next - held + i) % len(ring)], 0.0)
        return new
