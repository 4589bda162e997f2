"""Merged statistics: the commands of all workers as those of one, for encoders and exporters.

A command of the same key in several workers is one command here: its counts are their sum, and its percentiles those of
all their calls, exactly (core.histogram). What cannot be summed is chosen. The circuit is shown as it is in the worker
that is worst off, since that is what an operator looks for, with the number of workers that are so. The most calls at
once are the sum of each worker's most, which is no less than the truth.

Counters never fall: what a worker had counted when it was last asked is kept when it dies. While there is no worker at
all, because all are started again, the commands are shown as idle, as the last one had them.

Written by one event loop; read by any thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final

import attrs

from ...core.events import State, StateChanged, Trigger
from ...core.histogram import LE_BOUNDS, Lifetime, latency_of
from ...drivers.system_clock import monotonic
from ...errors import LastFailure
from ...metrics.batch_statistics import BatchStatistics
from ...metrics.history import PastRates
from ...metrics.protocols import Pool
from ...metrics.recorder import LATENCY_WINDOW_S, WINDOW_S
from ...metrics.snapshot import Snapshot
from .report import Report

#: The worst first.
_SEVERITY: Final = (State.FORCED_OPEN, State.OPEN, State.HALF_OPEN, State.CLOSED, State.FORCED_CLOSED, State.DISABLED)


@attrs.frozen
class MergedBreaker:
    """What encoders show of a circuit breaker's settings; see resilience.CircuitBreaker."""

    failure_rate: float | None
    min_calls: int
    open_for: float
    window: float
    buckets: int


@attrs.frozen(kw_only=True)
class MergedSettings:
    """What encoders show of a command's settings; see metrics.protocols."""

    timeout: float | None
    max_concurrent: int | None
    isolation: str
    breaker: Any
    cache: Any
    fallback_max_concurrent: int
    has_fallback: bool
    shadow: tuple[str, ...]

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> MergedSettings:
        """The settings that a worker reports."""
        breaker = said["breaker"]
        return cls(**{**said, "breaker": None if breaker is None else MergedBreaker(*breaker)})


@attrs.define
class Totals:
    """What was counted since for ever; see Recorder.totals()."""

    events: list[int] = attrs.field(factory=list)
    buckets: list[int] = attrs.field(factory=lambda: [0] * (len(LE_BOUNDS) + 1))
    seconds: float = 0.0

    def add(self, other: Totals) -> None:
        """Count what *other* has counted."""
        self.events, self.buckets = _sums(self.events, other.events), _sums(self.buckets, other.buckets)
        self.seconds += other.seconds


def _sums(*lists: Sequence[int]) -> list[int]:
    return list(map(sum, zip_longest(*lists, fillvalue=0)))


class MergedRecorder:
    """What exporters read of a command beside its snapshot; see metrics.recorder.Recorder."""

    def __init__(self, command: MergedCommand) -> None:
        self._command = command
        self.own_events: tuple[tuple[str, int], ...] = ()
        self.is_sum = False

    def totals(self) -> tuple[list[int], Lifetime]:
        """Counts per event, and durations, since for ever."""
        whole = Totals()
        whole.add(self._command.departed)
        for totals in list(self._command.totals.values()):
            whole.add(totals)
        return whole.events, Lifetime(whole.buckets, whole.seconds)

    def past(self, now: float) -> PastRates:
        """Requests and errors of the last two minutes, to within a step: workers begin theirs at different moments."""
        reports = [report["past"] for report in list(self._command.reports.values()) if "past" in report]
        requests = _sums(*(requests[::-1] for requests, _, _ in reports))[::-1]
        errors = _sums(*(errors[::-1] for _, errors, _ in reports))[::-1]
        return PastRates(requests, errors, min((age for _, _, age in reports), default=0))


class MergedCommand:
    """One command of all workers; see metrics.protocols.Source.

    Attributes:
        key: The command's.
        group: Its group.
        reports: The last one of each worker.
        totals: What each worker has counted.
        departed: What was counted by workers that are no more.
    """

    def __init__(self, key: str, group: str, clock: Callable[[], float]) -> None:
        self.key, self.group, self._clock = key, group, clock
        self.reports: dict[int, Report] = {}
        self.totals: dict[int, Totals] = {}
        self.departed = Totals()
        self._last: Report = {}
        self.__recorder__: Any = MergedRecorder(self)
        self._settings: tuple[Mapping[str, Any], MergedSettings] | None = None

    @property
    def settings(self) -> MergedSettings:
        """What is in force; the same object until it changes."""
        said = self._last["settings"]
        if self._settings is None or self._settings[0] != said:
            self._settings = said, MergedSettings.of(said)
        return self._settings[1]

    def take(self, worker: int, report: Report) -> None:
        """Keep what a *worker* reports."""
        self.reports[worker] = self._last = report
        self.__recorder__.is_sum = report["is_sum"]
        if "totals" in report:
            self.totals[worker] = Totals(report["totals"], report["buckets"], report["lifetime_s"])
            self.__recorder__.own_events = tuple((name, number) for name, number in report["own_events"])

    def depart(self, worker: int) -> None:
        """A *worker* is no more; what it has counted stays."""
        self.reports.pop(worker, None)
        gone = self.totals.pop(worker, None)
        if gone is not None:
            self.departed.add(gone)

    def snapshot(self) -> Snapshot:
        """All workers at the moment of their last reports."""
        return merged(self.key, self.group, list(self.reports.values()) or [_idle(self._last)], self._clock())


def _idle(last: Report) -> Report:
    """What a command does while there is nobody who has it, by the *last* report of it."""
    return {**last, "counts": dict.fromkeys(last["counts"], 0), "bins": {}, "seconds": 0.0, "in_flight": 0,
            "max_in_flight": 0, "abandoned": 0, "gauges": {}, "retry_after": None, "transitions": []}


def merged(key: str, group: str, reports: Sequence[Report], now: float) -> Snapshot:
    """One snapshot of what several workers report of a command."""
    counts = Counter[str]()
    bins = Counter[int]()
    gauges = Counter[str]()
    for report in reports:
        counts.update(report["counts"])
        bins.update(report["bins"])
        gauges.update(report["gauges"])
    limits = [report["max_concurrent"] for report in reports]
    return Snapshot(
        key=key, group=group, at=now,
        counts={name: counts[name] for report in reports[:1] for name in report["counts"]} | dict(counts),
        custom_rejections=tuple(dict.fromkeys(name for report in reports for name in report["custom_rejections"])),
        gauges={name: value / sum(name in report["gauges"] for report in reports) for name, value in gauges.items()},
        window=WINDOW_S,
        latency=latency_of(bins, sum(report["seconds"] for report in reports)),
        latency_window=LATENCY_WINDOW_S,
        in_flight=sum(report["in_flight"] for report in reports),
        max_in_flight=sum(report["max_in_flight"] for report in reports),
        max_concurrent=None if None in limits else sum(limits),
        abandoned=sum(report["abandoned"] for report in reports),
        **_circuit(key, group, reports, now),
    )


def _circuit(key: str, group: str, reports: Sequence[Report], now: float) -> dict[str, Any]:
    """The circuit of the worker that is worst off."""
    worst = min(reports, key=lambda report: _SEVERITY.index(State(report["state"])))
    alike = sum(report["state"] == worst["state"] for report in reports)
    reason = worst["reason"]
    if reason is not None and alike < len(reports):
        reason = f"{reason} (in {alike} of {len(reports)} workers)"
    failures = [report["last_failure"] for report in reports if report["last_failure"] is not None]
    kind, message, age, number = min(failures, key=lambda each: each[2], default=("", "", 0.0, 0))
    return {
        "state": State(worst["state"]),
        "retry_after": worst["retry_after"],
        "state_since": _moment(worst["state_since"], now),
        "opened_at": _moment(worst["opened_at"], now),
        "reason": reason,
        "last_failure": LastFailure(kind, message, now - age, number) if failures else None,
        "transitions": tuple(
            StateChanged(key, group, State(old), State(new), Trigger(trigger), term, now - age, why)
            for old, new, trigger, term, age, why in worst["transitions"]),
    }


def _moment(age: float | None, now: float) -> float | None:
    return None if age is None else now - age


class MergedRegistry:
    """The commands of all workers; see metrics.protocols.Sources.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._commands: dict[str, MergedCommand] = {}
        self._workers: set[int] = set()  # that have said anything

    @property
    def clock(self) -> Callable[[], float]:
        """The clock of the snapshots."""
        return self._clock

    def __iter__(self) -> Iterator[Any]:
        return iter([command for command in list(self._commands.values()) if command.reports or not self._workers])

    def get(self, key: str) -> MergedCommand | None:
        """The command with this key; None if no worker has one."""
        command = self._commands.get(key)
        return command if command is not None and (command.reports or not self._workers) else None

    def take(self, worker: int, reports: Sequence[Report]) -> None:
        """Keep what a *worker* reports of all of its commands; those that it does not mention it has no more."""
        self._workers.add(worker)
        for report in reports:
            command = self._commands.get(report["key"])
            if command is None:
                command = self._commands[report["key"]] = MergedCommand(report["key"], report["group"], self._clock)
            command.take(worker, report)
        mentioned = {report["key"] for report in reports}
        for key, command in list(self._commands.items()):
            if key not in mentioned and worker in command.reports:
                command.depart(worker)
                if not command.reports:
                    del self._commands[key]

    def depart(self, worker: int) -> None:
        """A *worker* is no more."""
        self._workers.discard(worker)
        for command in self._commands.values():
            command.depart(worker)

    def pools(self) -> Mapping[str, Pool]:
        """The thread pools: a gateway's commands have none."""
        return {}

    def collapsers(self) -> Mapping[str, BatchStatistics]:
        """The collapsed functions: a gateway has none."""
        return {}
