"""BatchStatistics: how many calls go together, for one collapsed function.

A batch is noted by appending to a deque, which takes no lock, and reckoned when
somebody reads or there are many. A signal handler that reads while its own thread
does so sees nothing (core.reentrance).

Windows are those of a command's statistics. Sizes are kept as durations are, in
bins that are exact to 1 % (core.histogram).
"""

from __future__ import annotations

from collections import deque
from typing import Final

import attrs

from ..core.histogram import EMPTY, Latency, RollingHistogram
from ..core.reentrance import MET, ReentryGuard
from ..core.window import TimeWindow
from .recorder import BUCKETS, LATENCY_SLICES, LATENCY_WINDOW_S, WINDOW_S

_MANY: Final = 256


@attrs.frozen
class Collapsed:
    """What was collapsed lately.

    Attributes:
        items: Asked for in batches, within the rolling window.
        batches: Calls of the batch function, within the rolling window.
        shared: Calls that shared the place of an equal one, within the rolling window.
        sizes: Items of a batch, within the rolling percentile window.
    """

    items: int
    batches: int
    shared: int
    sizes: Latency


class BatchStatistics:
    """Rolling statistics of one collapsed function. Every method may be called from any thread.

    Attributes:
        name: Of the batch function.
        window: Seconds.
        max_batch: Items at most.
        totals: Items, batches and shared calls since for ever, as far as they have been reckoned.
    """

    def __init__(self, name: str, *, window: float, max_batch: int, now: float) -> None:
        self.name, self.window, self.max_batch = name, window, max_batch
        self._guard = ReentryGuard()
        self.renew(now)

    def renew(self, now: float) -> None:
        """Start over in a forked child."""
        self._guard.renew()
        self._pending: deque[tuple[float, int, int]] = deque()
        self._counts = TimeWindow(3, window=WINDOW_S, buckets=BUCKETS, now=now)
        self._sizes = RollingHistogram(window=LATENCY_WINDOW_S, slices=LATENCY_SLICES, now=now)
        self.totals = [0, 0, 0]

    def note(self, items: int, calls: int, now: float) -> None:
        """Note a batch of so many items, which so many *calls* asked for."""
        self._pending.append((now, items, calls))
        if len(self._pending) >= _MANY:
            self._guard.ask(self._reckon, now)

    def read(self, now: float) -> Collapsed:
        """The statistics at *now*; all zeros for a signal handler that interrupted its own thread in here."""
        reading = self._guard.ask(self._reckon, now)
        return Collapsed(0, 0, 0, EMPTY) if reading is MET else reading

    def clear(self, now: float) -> None:
        """Empty the rolling windows; totals stay."""
        self._guard.do(self._clear, now)

    # -- under the lock

    def _clear(self, now: float) -> None:
        self._reckon(now)
        self._counts.clear()
        self._sizes.clear()

    def _reckon(self, now: float) -> Collapsed:
        while self._pending:
            self._add(*self._pending.popleft())
        items, batches, shared = self._counts.sums(now)
        return Collapsed(items, batches, shared, self._sizes.latency(now))

    def _add(self, now: float, items: int, calls: int) -> None:
        for column, n in enumerate((items, 1, calls - items)):
            self._counts.add(column, now, n)
            self.totals[column] += n
        self._sizes.add(items, now)
