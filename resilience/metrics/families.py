"""Families: what Prometheus is told of commands, of thread pools and of collapsed functions, and how they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from typing import Final

import attrs
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from ..core.events import State
from ..core.histogram import LE_BOUNDS
from .batch_statistics import BatchStatistics
from .exports import as_utf8, events_of
from .protocols import Pool, Source

_POOL: Final[Mapping[str, tuple[type[GaugeMetricFamily | CounterMetricFamily], str, Callable[[Pool], int]]]] = {
    "threads": (GaugeMetricFamily, "Threads alive.", lambda pool: pool.threads),
    "jobs": (GaugeMetricFamily, "Calls that run on the pool, or wait for a thread.", lambda pool: pool.admitted),
    "max_jobs": (GaugeMetricFamily, "How many may run and wait at once.", lambda pool: pool.size + pool.max_queue),
    "completed": (CounterMetricFamily, "Calls that have ended on the pool.", lambda pool: pool.completed),
}

#: Of the buckets of latencies.
_BOUNDS: Final = [*(f"{bound:g}" for bound in LE_BOUNDS), "+Inf"]

_COLLAPSE: Final = {
    "items": "Items asked for in batches.",
    "batches": "Calls of the batch function.",
    "shared": "Calls that shared the place of an equal one.",
}


def empty_families() -> dict[str, Metric]:
    """Families without samples, by the names under which those who observe find what they fill."""
    labels = ("command", "group")
    return {
        "events": CounterMetricFamily(
            "resilience_command_events", "Calls by how they ended, in Hystrix's terms.", labels=(*labels, "event")),
        "latency": HistogramMetricFamily(
            "resilience_command_latency_seconds", "How long executions took.", labels=labels),
        "in_flight": GaugeMetricFamily(
            "resilience_command_in_flight", "Calls running now, abandoned ones included.", labels=labels),
        "max_concurrent": GaugeMetricFamily(
            "resilience_command_max_concurrent", "How many calls may run at once now.", labels=labels),
        "abandoned": GaugeMetricFamily(
            "resilience_command_abandoned", "Calls that run on although their caller gave up.", labels=labels),
        "state": GaugeMetricFamily(
            "resilience_circuit_state", "1 for the state the circuit is in.", labels=(*labels, "state")),
        "gauges": GaugeMetricFamily(
            "resilience_policy_value", "What policies show of themselves: calls that wait, gauges of users' own.",
            labels=(*labels, "policy", "gauge")),
        **{f"pool_{name}": family(f"resilience_pool_{name}", text, labels=("pool",))
           for name, (family, text, _) in _POOL.items()},
        **{f"collapse_{name}": CounterMetricFamily(f"resilience_collapse_{name}", text, labels=("function",))
           for name, text in _COLLAPSE.items()},
    }


@attrs.frozen
class Form:
    """What the metrics of some commands have in common: all but their labels ``command`` and ``group``, and values.

    Attributes:
        events: The names of the events that are counted.
        gauges: The names of the gauges that their policies show.
        is_limited: Whether there is a most of calls that may run at once.
    """

    events: tuple[str, ...]
    gauges: tuple[str, ...]
    is_limited: bool


def labels_of(command: Source) -> list[str]:
    """What the labels ``command`` and ``group`` say of a command."""
    return [as_utf8(command.key), as_utf8(command.group)]


def reading(command: Source) -> tuple[Form, list[float]]:
    """The form of what a command shows, and its values at this moment, in the order in which observe() takes them."""
    totals, lifetime = command.__recorder__.totals()
    snapshot = command.snapshot()
    events, limit = events_of(command, totals), snapshot.max_concurrent
    values = [*events.values(), *snapshot.gauges.values(), *accumulate(lifetime.buckets), lifetime.seconds,
              snapshot.in_flight, snapshot.abandoned, *(() if limit is None else (limit,)),
              *(snapshot.state is state for state in State)]
    return Form(tuple(events), tuple(snapshot.gauges), limit is not None), values


def observe(families: Mapping[str, Metric], labels: list[str], form: Form, values: Iterable[float]) -> None:
    """Put what reading() has returned into *families*, those of empty_families()."""
    left = iter(values)

    def add(name: str, *further: str) -> None:
        families[name].add_metric([*labels, *further], next(left))  # type: ignore[attr-defined]

    for event in form.events:
        add("events", event)
    for name in form.gauges:
        policy, _, gauge = name.partition(".")
        add("gauges", policy, gauge)
    buckets = list(zip(_BOUNDS, left, strict=False))  # the last of which takes nothing
    families["latency"].add_metric(labels, buckets, next(left))  # type: ignore[attr-defined]
    for name in ("in_flight", "abandoned", *(("max_concurrent",) if form.is_limited else ())):
        add(name)
    for state in State:
        add("state", state.value)


def observe_pool(families: Mapping[str, Metric], name: str, pool: Pool) -> None:
    """Put what a pool of this *name* shows into *families*."""
    labels = [as_utf8(name)]
    for kind, (_, _, read) in _POOL.items():
        families[f"pool_{kind}"].add_metric(labels, read(pool))  # type: ignore[attr-defined]


def observe_collapses(families: Mapping[str, Metric], collapses: BatchStatistics, now: float) -> None:
    """Put what a collapsed function shows into *families*."""
    labels = [as_utf8(collapses.name)]
    collapses.read(now)  # what is pending is reckoned
    for name, total in zip(_COLLAPSE, collapses.totals, strict=True):
        families[f"collapse_{name}"].add_metric(labels, total)  # type: ignore[attr-defined]
