"""Rolling latency percentiles: log-linear bins, bounded memory, at most 1 % relative error.

The upper half of a duration as an IEEE 754 single is a *cell*: exponent and
seven bits of mantissa, 128 cells from a power of two to the next, as HdrHistogram
would have them. Neighbouring cells are merged into bins, two to five at a time,
as many as the error allows: 41 bins to an octave. So a batch of singles is binned
without a logarithm: look at the upper halves as integers, look those up in a
table. From 10 ns to 100,000 s there are some 1,770 bins; what lies outside is
counted in the first or the last.

Counters cover the range of values seen, typically 200 to 300 bins, a byte each
where that is enough: for the running slice a bytearray, or a list once a bin
outgrows a byte, since adding is cheap in both; packed when the slice closes. All
slices begin at the same bin, so that merging them is one pass in C; one that is
closed ends at its own last value, so that a rare long call widens its own slice
and no other, and an idle minute takes nothing. Adding allocates nothing that lasts
but when the range grows.

The window is ``slices`` equal slices of time. A slice that leaves it is folded
into ``Lifetime``: what Prometheus wants to see never fall. Not locked. What belongs together changes
in one statement without a call, so that an interrupt finds it all changed or none of it (core.bulkhead).
"""

from __future__ import annotations

import math
import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate, zip_longest
from operator import add
from typing import Final, TypeAlias

import attrs

LOWEST_S: Final = 1e-8
HIGHEST_S: Final = 1e5
RELATIVE_ERROR: Final = 0.01
_UPPER: Final = 1 if sys.byteorder == "little" else 0  # which half of a packed single holds the exponent
_CHUNK: Final = 8  # bins by which the range grows


def _cell(duration: float) -> int:
    return struct.unpack(">H", struct.pack(">f", duration)[:2])[0]  # type: ignore[no-any-return]


def _bound(cell: int) -> float:
    """The least duration of a cell."""
    return struct.unpack(">f", struct.pack(">I", cell << 16))[0]  # type: ignore[no-any-return]


def _merged_cells() -> tuple[list[int], list[float]]:
    """The bin of each cell, and the duration that stands for each bin."""
    low, last = _cell(LOWEST_S), _cell(HIGHEST_S)
    bins, values = [0] * low, list[float]()
    while low <= last:
        high = low + 1
        while _bound(high + 1) - _bound(low) <= RELATIVE_ERROR * (_bound(high + 1) + _bound(low)):
            high += 1
        bins += [len(values)] * (high - low)
        # Between the bounds, equally far from both in relative terms.
        values.append(2 * _bound(low) * _bound(high) / (_bound(low) + _bound(high)))
        low = high
    return bins, values


_BIN_OF, _VALUES = _merged_cells()
_LAST_CELL: Final = len(_BIN_OF) - 1
BINS: Final = len(_VALUES)

#: Upper bounds of the exported buckets, seconds; prometheus-client's defaults with a finer start.
LE_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def bin_of(duration: float) -> int:
    """The bin of a *duration* in seconds."""
    if not duration > LOWEST_S:
        return 0
    if duration >= HIGHEST_S:
        return BINS - 1
    return _BIN_OF[_cell(duration)]


def value_of(index: int) -> float:
    """The duration, seconds, that stands for a bin."""
    return _VALUES[index]


_LE_BINS: Final = tuple(map(bin_of, LE_BOUNDS))


@attrs.frozen
class Latency:
    """Percentiles of the rolling window, seconds; 0.0 when nothing was measured.

    Each percentile is within 1 % of the true one (core.histogram); mean is exact to six digits.
    """

    count: int
    mean: float
    p0: float
    p25: float
    p50: float
    p75: float
    p90: float
    p95: float
    p99: float
    p995: float
    p100: float


_QUANTILES: Final = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 1.0)
EMPTY: Final = Latency(0, *(0.0,) * 10)


def latency_of(bins: Mapping[int, int], seconds: float) -> Latency:
    """Mean and percentiles of windows that were merged: exactly what one window with all of their values would show.

    Args:
        bins: How many values each bin has, as RollingHistogram.bins() counts them, summed up.
        seconds: The sum of all values.
    """
    indices = sorted(bins)
    running = list(accumulate(map(bins.__getitem__, indices)))
    if not running:
        return EMPTY
    count = running[-1]
    values = [_VALUES[indices[bisect_left(running, max(1, math.ceil(q * count)))]] for q in _QUANTILES]
    return Latency(count, seconds / count, *values)


#: Counters of a slice that is closed.
_Packed: TypeAlias = "bytes | array[int]"


@attrs.define
class Lifetime:
    """Counts per exported bucket (the last one is +Inf) and the sum of all durations, since for ever."""

    buckets: list[int]
    seconds: float


class RollingHistogram:
    """Durations of the last ``window`` seconds, in ``slices`` slices."""

    __slots__ = ("_closed", "_edge", "_expired", "_head", "_low", "_seconds", "_settled", "_slice_s", "_slices")

    def __init__(self, *, window: float, slices: int, now: float) -> None:
        self._slices, self._slice_s = slices, window / slices
        self._edge = now + self._slice_s
        self._low = 0
        self._head: bytearray | list[int] = bytearray()  # bins of the running slice
        self._closed: list[_Packed] = []  # of the others, oldest first, up to the last bin that is not 0
        self._seconds = array("d", (0.0,))  # sum of durations per slice, oldest first
        self._expired = Lifetime([0] * (len(LE_BOUNDS) + 1), 0.0)
        self._settled: _Packed | None = None  # of the closed slices, see _sums; kept until the next roll

    def add(self, duration: float, now: float) -> None:
        """Count one *duration*, seconds, at *now*; a negative one, of a clock that stepped back, is 0."""
        if now >= self._edge:
            self.roll(now)
        if duration > 0.0:
            self._seconds[-1] += duration
        self._bump(bin_of(duration))

    def add_many(self, durations: array[float], now: float) -> None:
        """Count *durations*, seconds, an array of singles ("f"), at *now*; a fraction of add()'s cost for each."""
        if now >= self._edge:
            self.roll(now)
        cells = memoryview(durations).cast("B").cast("H")[_UPPER::2].tolist()
        least, most = min(cells), max(cells)
        if most > _LAST_CELL:  # too long or negative
            for duration in durations:
                self.add(duration, now)
            return
        self._seconds[-1] += sum(durations)
        table = _BIN_OF
        if table[least] < self._low or table[most] >= self._low + len(self._head):
            self._widen(table[least])
            self._widen(table[most])
        low, bins = self._low, self._head
        for cell in cells:
            try:
                bins[table[cell] - low] += 1
            except ValueError:  # more than a byte holds
                bins = self._outgrow()
                bins[table[cell] - low] += 1

    def roll(self, now: float) -> None:
        """Close the slices that ended before *now*."""
        steps = int((now - self._edge) // self._slice_s) + 1
        for _ in range(min(steps, self._slices)):
            closed, head = [*self._closed, _trimmed(self._head)], bytearray(len(self._head))
            seconds, expired = array("d", (*self._seconds, 0.0)), self._expired
            if len(closed) == self._slices:
                expired = self.expired()
                self._fold(closed.pop(0), seconds.pop(0), expired)
            self._closed, self._head, self._seconds, self._expired, self._settled = closed, head, seconds, expired, None
        self._edge += steps * self._slice_s
        if now >= self._edge:
            self._edge = now + self._slice_s

    def latency(self, now: float) -> Latency:
        """Mean and percentiles of the window."""
        if now >= self._edge:
            self.roll(now)
        running = list(map(add, self._sums(), accumulate(self._head)))
        count = running[-1] if running else 0
        if not count:
            return EMPTY
        low = self._low
        values = [_VALUES[low + bisect_left(running, max(1, math.ceil(q * count)))] for q in _QUANTILES]
        return Latency(count, sum(self._seconds) / count, *values)

    def bins(self, now: float) -> dict[int, int]:
        """The window as {bin: count}: the mergeable form; see value_of."""
        if now >= self._edge:
            self.roll(now)
        return {self._low + i: n for i, n in enumerate(self._columns()) if n}

    def lifetime(self) -> Lifetime:
        """All durations ever counted, per exported bucket (not cumulative) and summed."""
        whole = self.expired()
        self._fold(self._columns(), 0.0, whole)
        for seconds in self._seconds:  # in the order in which they expire: another one could round to less than before
            whole.seconds += seconds
        return whole

    def expired(self) -> Lifetime:
        """That part of the lifetime() which has left the window."""
        return Lifetime(list(self._expired.buckets), self._expired.seconds)

    def clear(self) -> None:
        """Forget the window, keep the lifetime."""
        whole, head = self.lifetime(), bytearray()
        closed, seconds = list[_Packed](), array("d", (0.0,))
        self._expired, self._head, self._closed, self._seconds = whole, head, closed, seconds
        self._low, self._settled = 0, None

    def _columns(self) -> list[int]:
        """How many values are in each bin."""
        return list(map(sum, zip_longest(*self._closed, self._head, fillvalue=0)))

    def _sums(self) -> Sequence[int]:
        """How many values of the closed slices are in each bin or a lower one."""
        if self._settled is None:
            columns = zip_longest(*self._closed, bytes(len(self._head)), fillvalue=0)
            self._settled = _packed(list(accumulate(map(sum, columns))))
        return self._settled

    def _fold(self, bins: Sequence[int], seconds: float, into: Lifetime) -> None:
        start = 0
        for bucket, last in enumerate((*_LE_BINS, BINS)):
            if start >= len(bins):  # an idle slice, as a rule
                break
            stop = max(start, last + 1 - self._low)
            into.buckets[bucket] += sum(bins[start:stop])
            start = stop
        into.seconds += seconds

    def _bump(self, index: int) -> None:
        if not self._low <= index < self._low + len(self._head):
            self._widen(index)
        try:
            self._head[index - self._low] += 1
        except ValueError:
            self._outgrow()[index - self._low] += 1

    def _outgrow(self) -> list[int]:
        """Let the running slice count beyond a byte."""
        self._head = wider = list(self._head)
        return wider

    def _widen(self, wanted: int) -> None:
        """Grow every slice's range to hold bin *wanted*."""
        width = len(self._head)
        low = wanted if not width else min(self._low, wanted)
        high = wanted if not width else max(self._low + width - 1, wanted)
        low -= low % _CHUNK
        high = min(BINS - 1, high - high % _CHUNK + _CHUNK - 1)
        before, after = (self._low - low if width else 0), high - (self._low + width - 1 if width else low - 1)
        closed = [_moved(bins, before) for bins in self._closed] if before else self._closed
        head: bytearray | list[int]
        if isinstance(self._head, bytearray):
            head = bytearray(before) + self._head + bytearray(after)
        else:
            head = [0] * before + self._head + [0] * after
        self._closed, self._head, self._low, self._settled = closed, head, low, None


def _packed(counts: Sequence[int]) -> _Packed:
    """Counters in as few bytes each as the largest needs."""
    most = max(counts, default=0)
    if most < 1 << 8:
        return bytes(counts)  # half the size of an array that is as short
    return array("H" if most < 1 << 16 else "I" if most < 1 << 32 else "Q", counts)


def _trimmed(counts: bytearray | list[int]) -> _Packed:
    """Counters packed, without the zeros at their end."""
    if isinstance(counts, bytearray):
        return bytes(counts.rstrip(b"\0"))
    width = len(counts)
    while not counts[width - 1]:  # one of them outgrew a byte
        width -= 1
    return _packed(counts[:width])


def _moved(bins: _Packed, before: int) -> _Packed:
    """Counters with so many zeros *before* them."""
    if isinstance(bins, bytes):
        return bytes(before) + bins if bins else bins
    return array(bins.typecode, bytes(bins.itemsize * before)) + bins
