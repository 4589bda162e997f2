"""Rolling latency percentiles: log-linear bins, bounded memory, at most 1 % relative error.

A bin's bounds grow by a factor of e**0.02, so a value reported as the middle of
its bin is off by at most tanh(0.01), just under 1 % (the scheme of DDSketch,
Masson et al., VLDB 2019). From 1 us to 100,000 s there are 1,267 bins; what lies
outside is counted in the first or the last.

Bins are 16-bit counters, as wide as the values seen (typically 200 to 350 bins,
half a kilobyte) and widened to 64 bits when a bin overflows. All slices of a
window share one range, so that merging them is one pass in C. Adding a value
allocates nothing but when the range grows.

The window is ``slices`` equal slices of time. A slice that leaves it is folded
into ``Lifetime``: what Prometheus wants to see never fall. Not locked.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from operator import add
from typing import Final

import attrs

from .checks import number

BINS_PER_E: Final = 50.0  # bin i holds the durations with int(log(d) * 50 + 691) == i
LOWEST_S: Final = 1e-6
HIGHEST_S: Final = 1e5
_SHIFT: Final = 691.0  # -log(LOWEST_S) * BINS_PER_E, rounded up: the bin of LOWEST_S is 0
BINS: Final = int(math.log(HIGHEST_S) * BINS_PER_E + _SHIFT) + 1
RELATIVE_ERROR: Final = math.tanh(0.5 / BINS_PER_E)
_CHUNK: Final = 16  # bins by which the range grows

#: Upper bounds of the exported buckets, seconds; prometheus-client's defaults with a finer start.
LE_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def bin_of(duration: float) -> int:
    """The bin of a *duration* in seconds."""
    if duration <= LOWEST_S:
        return 0
    if duration >= HIGHEST_S:
        return BINS - 1
    return int(math.log(duration) * BINS_PER_E + _SHIFT)


def value_of(index: int) -> float:
    """The duration, seconds, that stands for a bin: its bounds' harmonic-weighted middle."""
    low = math.exp((index - _SHIFT) / BINS_PER_E)
    growth = math.exp(1.0 / BINS_PER_E)
    return low * 2.0 * growth / (1.0 + growth)


_LE_BINS: Final = tuple(bin_of(bound) for bound in LE_BOUNDS)


@attrs.frozen
class Latency:
    """Percentiles of the rolling window, seconds; 0.0 when nothing was measured.

    Each percentile is within 1 % of the true one; mean is exact.
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

    __slots__ = ("_bins", "_edge", "_expired", "_head", "_low", "_seconds", "_settled", "_slice_s", "_slices")

    def __init__(self, *, window: float, slices: int, now: float) -> None:
        number(above=0)(None, attrs.fields(Latency).mean, window)
        self._slice_s = window / slices
        self._edge = now + self._slice_s
        self._low = 0
        self._head: array[int] = array("H")  # bins of the running slice: the last of _slices
        self._slices = deque([self._head], maxlen=slices)
        self._seconds = deque([0.0], maxlen=slices)  # sum of durations per slice
        self._expired = Lifetime([0] * (len(LE_BOUNDS) + 1), 0.0)
        self._settled: list[int] | None = None  # sums over the closed slices, kept until the next roll

    def add(self, duration: float, now: float) -> None:
        """Count one *duration*, seconds, at *now*."""
        if now >= self._edge:
            self.roll(now)
        self._seconds[-1] += duration
        index = bin_of(duration) - self._low
        if not 0 <= index < len(self._head):
            index = self._widen(index + self._low)
        try:
            self._head[index] += 1
        except OverflowError:
            self._head = self._slices[-1] = array("Q", self._head)
            self._head[index] += 1

    def roll(self, now: float) -> None:
        """Close the slices that ended before *now*."""
        steps = int((now - self._edge) // self._slice_s) + 1
        width = len(self._head)
        for _ in range(min(steps, self._slices.maxlen or 1)):
            if len(self._slices) == self._slices.maxlen:
                self._fold(self._slices[0], self._seconds[0])
            self._head = array("H", bytes(2 * width))
            self._slices.append(self._head)
            self._seconds.append(0.0)
        self._edge += steps * self._slice_s
        if now >= self._edge:
            self._edge = now + self._slice_s
        self._settled = None

    def latency(self, now: float) -> Latency:
        """Mean and percentiles of the window."""
        if now >= self._edge:
            self.roll(now)
        running = list(accumulate(map(add, self._closed(), self._head)))
        count = running[-1] if running else 0
        if not count:
            return EMPTY
        ranks = (max(1, math.ceil(q * count)) for q in _QUANTILES)
        values = (value_of(self._low + bisect_left(running, rank)) for rank in ranks)
        return Latency(count, sum(self._seconds) / count, *values)

    def bins(self, now: float) -> dict[int, int]:
        """The window as {bin: count}: the mergeable form; see value_of."""
        if now >= self._edge:
            self.roll(now)
        return {self._low + i: n for i, n in enumerate(map(add, self._closed(), self._head)) if n}

    def lifetime(self) -> Lifetime:
        """All durations ever counted, per exported bucket (not cumulative) and summed."""
        whole = Lifetime(list(self._expired.buckets), self._expired.seconds)
        for bins, seconds in zip(self._slices, self._seconds, strict=True):
            self._fold(bins, seconds, whole)
        return whole

    def clear(self) -> None:
        """Forget the window, keep the lifetime."""
        self._expired = self.lifetime()
        self._low, self._head = 0, array("H")
        self._slices = deque([self._head], maxlen=self._slices.maxlen)
        self._seconds = deque([0.0], maxlen=self._seconds.maxlen)
        self._settled = None

    def _closed(self) -> Sequence[int]:
        if self._settled is None:
            *closed, _ = self._slices
            self._settled = list(map(sum, zip(*closed, strict=True))) if closed else [0] * len(self._head)
        return self._settled

    def _fold(self, bins: array[int], seconds: float, into: Lifetime | None = None) -> None:
        into = into or self._expired
        start = 0
        for bucket, last in enumerate((*_LE_BINS, BINS)):
            stop = max(start, last + 1 - self._low)
            into.buckets[bucket] += sum(bins[start:stop])
            start = stop
        into.seconds += seconds

    def _widen(self, wanted: int) -> int:
        """Grow every slice's range to hold bin *wanted*; returns its new index."""
        width = len(self._head)
        low = wanted if not width else min(self._low, wanted)
        high = wanted if not width else max(self._low + width - 1, wanted)
        low = max(0, low - low % _CHUNK)
        high = min(BINS - 1, high - high % _CHUNK + _CHUNK - 1)
        before, after = (self._low - low if width else 0), high - (self._low + width - 1 if width else low - 1)
        for i, bins in enumerate(self._slices):
            zeros = array(bins.typecode, bytes(bins.itemsize * before))
            zeros.extend(bins)
            zeros.frombytes(bytes(bins.itemsize * after))
            self._slices[i] = zeros
        self._head, self._low, self._settled = self._slices[-1], low, None
        return wanted - low
