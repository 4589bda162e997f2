"""Recorder: counts and times the calls of one command, at next to no cost for each.

A success is the common case and takes no lock: its duration is appended to
``pending`` (atomic in CPython) and sorted into the counts and the histogram a
batch at a time. Everything else takes the lock.

Counts roll over 10 s in 10 slices and percentiles over 60 s in 6, Hystrix's
defaults. Readers see one consistent state, taken under the lock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

import attrs

from ..core.histogram import Latency, Lifetime, RollingHistogram
from ..core.outcome import EVENT_NAMES, SUCCESS
from ..core.window import TimeWindow

WINDOW_S: Final = 10.0
BUCKETS: Final = 10
LATENCY_WINDOW_S: Final = 60.0
LATENCY_SLICES: Final = 6
_BATCH: Final = 32  # successes that may be pending: a kilobyte, and a lock every 32 calls


@attrs.frozen
class Reading:
    """One consistent look at a recorder.

    Attributes:
        counts: Per event, within the rolling window, shape ``(len(Event),)``.
        max_in_flight: Most calls at once within the rolling window.
        latency: Of executions, within the rolling percentile window, seconds.
    """

    counts: list[int]
    max_in_flight: int
    latency: Latency


class Recorder:
    """Rolling and lifetime statistics of one command. Every method may be called from any thread."""

    __slots__ = ("_counts", "_histogram", "_lock", "_peaks", "_take_peak", "edge", "pending")

    def __init__(self, *, now: float, take_peak: Callable[[], int] = lambda: 0) -> None:
        self._take_peak = take_peak
        self._start(now)

    def _start(self, now: float) -> None:
        self._lock = threading.Lock()
        self._counts = TimeWindow(len(EVENT_NAMES), window=WINDOW_S, buckets=BUCKETS, now=now)
        self._histogram = RollingHistogram(window=LATENCY_WINDOW_S, slices=LATENCY_SLICES, now=now)
        self._peaks: deque[int] = deque([0], maxlen=BUCKETS)
        self.pending: deque[float] = deque()
        self.edge = self._counts.edge

    def success(self, started: float, now: float) -> None:
        """Count one success that ran from *started* to *now*."""
        if now >= self.edge:
            with self._lock:
                self._roll(now)
        self.pending.append(now - started)
        if len(self.pending) >= _BATCH:
            with self._lock:
                self._drain()

    def ran(self, events: tuple[int, ...], started: float, now: float) -> None:
        """Count a call that ran from *started* to *now* and ended as *events* say."""
        with self._lock:
            self._roll(now)
            self._histogram.add(now - started, now)
            totals = self._counts.totals
            for event in events:
                totals[event] += 1

    def count(self, events: tuple[int, ...], now: float, n: int = 1) -> None:
        """Count *n* of each of *events* at *now*, without a duration."""
        with self._lock:
            self._roll(now)
            totals = self._counts.totals
            for event in events:
                totals[event] += n

    def read(self, now: float) -> Reading:
        """The rolling statistics."""
        with self._lock:
            self._roll(now)
            self._drain()
            self._peaks[-1] = max(self._peaks[-1], self._take_peak())
            return Reading(self._counts.sums(now), max(self._peaks), self._histogram.latency(now))

    def totals(self) -> tuple[list[int], Lifetime]:
        """Counts per event, and durations, since for ever: they never fall."""
        with self._lock:
            self._drain()
            return list(self._counts.totals), self._histogram.lifetime()

    def bins(self, now: float) -> dict[int, int]:
        """The percentile window as mergeable {bin: count}; see core.histogram."""
        with self._lock:
            self._roll(now)
            self._drain()
            return self._histogram.bins(now)

    def clear(self) -> None:
        """Empty the rolling windows; lifetime totals stay."""
        with self._lock:
            self._drain()
            self._counts.clear()
            self._histogram.clear()
            self._peaks = deque([0], maxlen=BUCKETS)

    def renew(self, now: float) -> None:
        """Start over in a forked child: its parent counts its own calls."""
        self._start(now)

    def _roll(self, now: float) -> None:
        if now < self._counts.edge:
            return
        self._drain()  # what is pending happened before the edge
        self._peaks[-1] = max(self._peaks[-1], self._take_peak())
        steps = self._counts.roll(now)
        self._peaks.extend([0] * min(steps, BUCKETS))
        self.edge = self._counts.edge

    def _drain(self) -> None:
        pending, histogram = self.pending, self._histogram
        at = self.edge - WINDOW_S / BUCKETS  # within the running slice
        n = len(pending)
        for _ in range(n):
            histogram.add(pending.popleft(), at)
        self._counts.totals[SUCCESS] += n
