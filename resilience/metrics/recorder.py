"""Recorder: counts and times the calls of one command, at next to no cost for each.

A success is the common case and takes no lock: the compiled wrapper appends its
duration to ``pending`` (atomic in CPython) as long as ``now < edge``, and drains
it into the counts and the histogram a BATCH at a time. A refusal by an open
circuit, which must stay cheap too, is tallied. Everything else takes the lock.

A signal handler, or a finalizer that the garbage collector runs, may call in
while its own thread is at work under the lock (core.reentrance). What it counts then
is put off until that work is done; what it reads is the state it finds, without
latencies, which may be half changed.

Commands differ in what happens to them: a column for what is rare (the events
after CANCELLED) is there from its first event on.

Counts roll over 10 s in 10 slices and percentiles over 60 s in 6, Hystrix's
defaults. Readers see one consistent state, taken under the lock.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import ClassVar, Final

import attrs

from ..core.histogram import EMPTY, Latency, Lifetime, RollingHistogram
from ..core.outcome import EVENT_NAMES, REFUSALS, SUCCESS, Event
from ..core.reentrance import MET, ReentryGuard
from ..core.window import Tally, TimeWindow
from .history import PastRates, RateHistory

WINDOW_S: Final = 10.0
BUCKETS: Final = 10
LATENCY_WINDOW_S: Final = 60.0
LATENCY_SLICES: Final = 6
BATCH: Final = 256  # successes that may be pending, a power of two: a kilobyte, and one lock for all of them
_COMMON: Final = int(Event.CANCELLED) + 1
_ALL: Final = len(EVENT_NAMES)
_ERRORS: Final = (int(Event.FAILURE), int(Event.TIMEOUT), int(Event.BUSY),
                  *(EVENT_NAMES.index(name) for name in REFUSALS))
_CACHED: Final = (int(Event.RESPONSES_FROM_CACHE),)
_EMIT: Final = (int(Event.EMIT),)
_REFUSED: Final = (int(Event.SHORT_CIRCUITED), int(Event.FALLBACK_MISSING), int(Event.EXCEPTIONS_THROWN))


@attrs.frozen
class Reading:
    """One consistent look at a recorder.

    Attributes:
        counts: Per event, within the rolling window, shape ``(len(Event),)`` or longer, by those of users' policies.
        max_in_flight: Most calls at once within the rolling window.
        latency: Of executions, within the rolling percentile window, seconds.
    """

    counts: list[int]
    max_in_flight: int
    latency: Latency


class Recorder:
    """Rolling and lifetime statistics of one command. Every method may be called from any thread.

    Attributes:
        pending: Durations of successes that are yet to be counted, seconds.
        edge: Until when they may be pending.
        own_events: Names and numbers of the events of users' policies.
        is_sum: Whether it adds up what other recorders count, so that totals over commands leave it out.
    """

    is_sum: ClassVar[bool] = False

    __slots__ = ("_cached", "_counts", "_emitted", "_guard", "_histogram", "_past", "_peaks", "_refusals", "_take_peak",
                 "bump_refused", "edge", "own_events", "pending")

    def __init__(self, *, now: float, take_peak: Callable[[], int] = lambda: 0) -> None:
        self._take_peak = take_peak
        self.pending = array("f")  # seconds; wrappers hold on to it: emptied, never replaced
        self._cached: Tally | None = None  # as do caches
        self._emitted: list[int] = []  # items of streams that have ended, yet to be counted
        self.own_events: tuple[tuple[str, int], ...] = ()
        self._guard = ReentryGuard()
        self._start(now)

    def watch(self, take_peak: Callable[[], int]) -> None:
        """Ask *take_peak* from now on for the most calls in flight."""
        self._take_peak = take_peak

    def follow(self, name: str, number: int) -> None:
        """Show the event of a user's policy among the counts, from now on."""
        if (name, number) not in self.own_events:
            self.own_events += ((name, number),)

    def _start(self, now: float) -> None:
        self._guard.renew()
        self._counts = TimeWindow(_COMMON, window=WINDOW_S, buckets=BUCKETS, now=now)
        self._histogram = RollingHistogram(window=LATENCY_WINDOW_S, slices=LATENCY_SLICES, now=now)
        self._past = RateHistory()
        self._peaks = array("i", (0,))  # per slice, oldest first
        self._refusals = Tally()
        self.bump_refused = self._refusals.bump  # for a caller that has looked at ``edge``
        del self.pending[:], self._emitted[:]
        if self._cached is not None:
            self._cached.take()
        self.edge = self._counts.edge

    def horizon(self) -> float:
        """``edge`` at this moment."""
        return self.edge

    def success(self, started: float, now: float) -> None:
        """Count one success that ran from *started* to *now*."""
        if now >= self.edge:
            self.ran((SUCCESS,), started, now)
            return
        self.pending.append(now - started)
        if len(self.pending) >= BATCH:
            self.drain()

    def drain(self) -> None:
        """Count what is pending."""
        self._guard.do(self._drain)

    def refused(self, now: float) -> None:
        """Count one call that an open circuit refused, and that no fallback answers for."""
        if now >= self.edge:
            self.count(_REFUSED, now)
        else:
            self.bump_refused()

    def emitted(self, items: int, now: float) -> None:
        """Count the *items* of one stream."""
        if now >= self.edge:
            self.count(_EMIT, now, items)
            return
        self._emitted.append(items)
        if len(self._emitted) >= BATCH:
            self.drain()

    def tally_cached(self) -> Callable[[], object]:
        """What counts an answer from the cache, for a caller that has looked at ``edge``."""
        self._guard.ask(self._tally)
        assert self._cached is not None
        return self._cached.bump

    def ran(self, events: tuple[int, ...], started: float, now: float) -> None:
        """Count a call that ran from *started* to *now* and ended as *events* say."""
        self._guard.do(self._ran, events, started, now)

    def count(self, events: tuple[int, ...], now: float, n: int = 1) -> None:
        """Count *n* of each of *events* at *now*, without a duration."""
        self._guard.do(self._count, events, now, n)

    def read(self, now: float) -> Reading:
        """The rolling statistics."""
        reading = self._guard.ask(self._read, now)
        if reading is MET:
            return Reading(_whole(self._counts.glance()), max(self._peaks), EMPTY)
        return reading  # type: ignore[no-any-return]

    def totals(self) -> tuple[list[int], Lifetime]:
        """Counts per event, and durations, since for ever: they never fall."""
        totals = self._guard.ask(self._totals)
        if totals is MET:
            return _whole(self._counts.totals), self._histogram.expired()
        return totals  # type: ignore[no-any-return]

    def past(self, now: float) -> PastRates:
        """Requests and errors of the last two minutes; nothing while its own thread is at work."""
        past = self._guard.ask(self._read_past, now)
        return PastRates([], [], 0) if past is MET else past

    def bins(self, now: float) -> dict[int, int]:
        """The percentile window as mergeable {bin: count}; see core.histogram."""
        bins = self._guard.ask(self._bins, now)
        return {} if bins is MET else bins

    def clear(self) -> None:
        """Empty the rolling windows; lifetime totals stay."""
        self._guard.do(self._clear)

    def renew(self, now: float) -> None:
        """Start over in a forked child: its parent counts its own calls."""
        self._start(now)

    # -- under the lock

    def _tally(self) -> None:
        if self._cached is None:
            self._cached = Tally()

    def _totals(self) -> tuple[list[int], Lifetime]:
        self._drain()
        return _whole(self._counts.totals), self._histogram.lifetime()

    def _ran(self, events: tuple[int, ...], started: float, now: float) -> None:
        self._roll(now, 1)
        self._histogram.add(now - started, now)
        self._add(events, 1)

    def _count(self, events: tuple[int, ...], now: float, n: int) -> None:
        self._roll(now)
        self._add(events, n)

    def _add(self, events: tuple[int, ...], n: int) -> None:
        totals = self._counts.totals
        for event in events:
            if event >= len(totals):
                self._counts.widen(max(_ALL, event + 1))
            totals[event] += n

    def _read(self, now: float) -> Reading:
        self._roll(now)
        self._drain()
        self._peaks[-1] = max(self._peaks[-1], self._take_peak())
        return Reading(_whole(self._counts.sums(now)), max(self._peaks), self._histogram.latency(now))

    def _read_past(self, now: float) -> PastRates:
        self._roll(now)
        return self._past.read()

    def _bins(self, now: float) -> dict[int, int]:
        self._roll(now)
        self._drain()
        return self._histogram.bins(now)

    def _clear(self) -> None:
        self._drain()
        self._counts.clear()
        self._histogram.clear()
        self._peaks = array("i", (0,))
        self._take_peak()

    def _roll(self, now: float, ended: int = 0) -> None:
        """Begin a new slice if it is time; *ended* calls have just given back their slots."""
        if now < self._counts.edge:
            return
        self._drain()  # what is pending happened before the edge
        peak = self._take_peak()
        self._peaks[-1] = max(self._peaks[-1], peak)
        steps = self._counts.roll(now)
        totals = self._counts.totals
        bad = _ERRORS if not self.own_events else (*_ERRORS, *(number for _, number in self.own_events))
        errors = sum(totals[event] for event in bad if event < len(totals))
        self._past.close(totals[SUCCESS] + errors, errors, steps)
        self._peaks = (self._peaks + array("i", [0] * min(steps, BUCKETS)))[-BUCKETS:]
        self._peaks[-1] = min(peak, self._take_peak() + ended)  # what was in flight until now was so in the new slice
        self.edge = self._counts.edge

    def _drain(self) -> None:
        totals, pending = self._counts.totals, self.pending
        fresh = self._refusals.take()
        if fresh:
            for event in _REFUSED:
                totals[event] += fresh
        if self._cached is not None and (fresh := self._cached.take()):
            self._add(_CACHED, fresh)
        if self._emitted:
            items = self._emitted[:]
            del self._emitted[: len(items)]  # as below
            self._add(_EMIT, sum(items))
        if pending:
            batch = pending[:]
            del pending[: len(batch)]  # what is appended meanwhile stays
            self._histogram.add_many(batch, self.edge - WINDOW_S / BUCKETS)  # in the running slice
            totals[SUCCESS] += len(batch)


def _whole(counts: list[int]) -> list[int]:
    """A copy of *counts* with a number for every event."""
    return counts + [0] * (_ALL - len(counts))
