"""Rolling latency percentiles: log-linear bins, bounded memory, under 1 % relative error.

A bin is the exponent and the first six bits of the mantissa of the duration as
an IEEE 754 single: 64 bins between a power of two and the next, as HdrHistogram
has them. Reported as the middle of its bin, a value is off by at most 1/128.
A batch of singles is binned without a logarithm: the upper halves, looked at as
integers, are the bins. From 10 ns to 100,000 s there are 2,764 bins; what lies
outside is counted in the first or the last.

Counters cover the range of values seen, typically 300 to 500 bins: a list for
the running slice, where adding is cheap, packed to 16 bits (64 where that is too
few) when the slice closes. All slices share one range, so that merging them is
one pass in C. Adding allocates nothing that lasts but when the range grows.

The window is ``slices`` equal slices of time. A slice that leaves it is folded
into ``Lifetime``: what Prometheus wants to see never fall. Not locked.
"""

from __future__ import annotations

import math
import struct
import sys
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import attrs

LOWEST_S: Final = 1e-8
HIGHEST_S: Final = 1e5
_UPPER: Final = 1 if sys.byteorder == "little" else 0  # which half of a packed single holds the exponent
_CHUNK: Final = 16  # bins by which the range grows
RELATIVE_ERROR: Final = 1 / 128


def _raw(duration: float) -> int:
    return struct.unpack(">H", struct.pack(">f", duration)[:2])[0] >> 1  # type: ignore[no-any-return]


_FIRST: Final = _raw(LOWEST_S)
_LAST: Final = _raw(HIGHEST_S)
BINS: Final = _LAST - _FIRST + 1

#: Upper bounds of the exported buckets, seconds; prometheus-client's defaults with a finer start.
LE_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def bin_of(duration: float) -> int:
    """The bin of a *duration* in seconds."""
    if not duration > LOWEST_S:
        return 0
    if duration >= HIGHEST_S:
        return BINS - 1
    return _raw(duration) - _FIRST


def value_of(index: int) -> float:
    """The duration, seconds, that stands for a bin: the middle of its bounds."""
    low, high = struct.unpack(">2f", struct.pack(">2I", (_FIRST + index) << 17, (_FIRST + index + 1) << 17))
    return (low + high) / 2  # type: ignore[no-any-return]


_VALUES: Final = tuple(map(value_of, range(BINS)))
_LE_BINS: Final = tuple(bin_of(bound) for bound in LE_BOUNDS)


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


@attrs.define
class Lifetime:
    """Counts per exported bucket (the last one is +Inf) and the sum of all durations, since for ever."""

    buckets: list[int]
    seconds: float


class RollingHistogram:
    """Durations of the last ``window`` seconds, in ``slices`` slices."""

    __slots__ = ("_closed", "_edge", "_expired", "_head", "_low", "_seconds", "_settled", "_slice_s")

    def __init__(self, *, window: float, slices: int, now: float) -> None:
        self._slice_s = window / slices
        self._edge = now + self._slice_s
        self._low = 0
        self._head: list[int] = []  # bins of the running slice
        self._closed: deque[array[int]] = deque(maxlen=slices - 1)
        self._seconds = deque([0.0], maxlen=slices)  # sum of durations per slice
        self._expired = Lifetime([0] * (len(LE_BOUNDS) + 1), 0.0)
        self._settled: list[int] | None = None  # of the closed slices, see _sums; kept until the next roll

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
        raws = memoryview(durations).cast("B").cast("H")[_UPPER::2].tolist()
        least, most = min(raws) >> 1, max(raws) >> 1
        if least < _FIRST or most > _LAST:  # too short, too long or negative
            for duration in durations:
                self.add(duration, now)
            return
        self._seconds[-1] += sum(durations)
        first = _FIRST + self._low
        if least < first or most >= first + len(self._head):
            self._widen(least - _FIRST)
            self._widen(most - _FIRST)
            first = _FIRST + self._low
        bins = self._head
        for raw in raws:
            bins[(raw >> 1) - first] += 1

    def roll(self, now: float) -> None:
        """Close the slices that ended before *now*."""
        steps = int((now - self._edge) // self._slice_s) + 1
        for _ in range(min(steps, self._seconds.maxlen or 1)):
            if len(self._seconds) == self._seconds.maxlen:
                self._fold(self._closed[0] if self._closed else self._head, self._seconds[0], self._expired)
            self._closed.append(array("H" if max(self._head, default=0) < 1 << 16 else "Q", self._head))
            self._head = [0] * len(self._head)
            self._seconds.append(0.0)
        self._edge += steps * self._slice_s
        if now >= self._edge:
            self._edge = now + self._slice_s
        self._settled = None

    def latency(self, now: float) -> Latency:
        """Mean and percentiles of the window."""
        if now >= self._edge:
            self.roll(now)
        before, running = self._sums(), list(accumulate(self._head))
        count = before[-1] + running[-1] if running else 0
        if not count:
            return EMPTY

        def rank(index: int) -> int:  # how many values are in this bin or a lower one
            return before[index] + running[index]

        indices, values, index = range(len(running)), [], 0
        for q in _QUANTILES:
            index = bisect_left(indices, max(1, math.ceil(q * count)), lo=index, key=rank)
            values.append(_VALUES[self._low + index])
        return Latency(count, sum(self._seconds) / count, *values)

    def bins(self, now: float) -> dict[int, int]:
        """The window as {bin: count}: the mergeable form; see value_of."""
        if now >= self._edge:
            self.roll(now)
        columns = zip(*self._closed, self._head, strict=True)
        return {self._low + i: n for i, n in enumerate(map(sum, columns)) if n}

    def lifetime(self) -> Lifetime:
        """All durations ever counted, per exported bucket (not cumulative) and summed."""
        whole = Lifetime(list(self._expired.buckets), self._expired.seconds)
        for bins, seconds in zip((*self._closed, self._head), self._seconds, strict=True):
            self._fold(bins, seconds, whole)
        return whole

    def clear(self) -> None:
        """Forget the window, keep the lifetime."""
        self._expired = self.lifetime()
        self._low, self._head = 0, []
        self._closed.clear()
        self._seconds = deque([0.0], maxlen=self._seconds.maxlen)
        self._settled = None

    def _sums(self) -> Sequence[int]:
        """How many values of the closed slices are in each bin or a lower one."""
        if self._settled is None:
            self._settled = list(accumulate(map(sum, zip(*self._closed, strict=True)))) or [0] * len(self._head)
        return self._settled

    def _fold(self, bins: Sequence[int], seconds: float, into: Lifetime) -> None:
        start = 0
        for bucket, last in enumerate((*_LE_BINS, BINS)):
            stop = max(start, last + 1 - self._low)
            into.buckets[bucket] += sum(bins[start:stop])
            start = stop
        into.seconds += seconds

    def _bump(self, index: int) -> None:
        if not self._low <= index < self._low + len(self._head):
            self._widen(index)
        self._head[index - self._low] += 1

    def _widen(self, wanted: int) -> None:
        """Grow every slice's range to hold bin *wanted*."""
        width = len(self._head)
        low = wanted if not width else min(self._low, wanted)
        high = wanted if not width else max(self._low + width - 1, wanted)
        low = max(0, low - low % _CHUNK)
        high = min(BINS - 1, high - high % _CHUNK + _CHUNK - 1)
        before, after = (self._low - low if width else 0), high - (self._low + width - 1 if width else low - 1)
        for i, bins in enumerate(self._closed):
            wider = array(bins.typecode, bytes(bins.itemsize * before))
            wider.extend(bins)
            wider.frombytes(bytes(bins.itemsize * after))
            self._closed[i] = wider
        self._head = [0] * before + self._head + [0] * after
        self._low, self._settled = low, None
