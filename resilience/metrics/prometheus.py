"""Prometheus: a collector that reads the commands when it is scraped, and costs calls nothing.

Counters never fall: they are kept since the command was made, whatever rolls out
of the windows or is reset. Latencies are observed into bins of under 1 % relative
width (core.histogram), so a bucket's bound is exact to that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector as _Collector

from ..core.events import State
from ..core.histogram import LE_BOUNDS
from ..core.outcome import EVENT_NAMES
from .source import Source, Sources


class Collector(_Collector):
    """Exports a registry's commands; ``prometheus_client.REGISTRY.register(Collector(registry))``.

    Args:
        registry: Its commands are read at each scrape, those added later too.
    """

    def __init__(self, registry: Sources) -> None:
        self._registry = registry

    def describe(self) -> Iterable[Metric]:
        """The metrics without samples: registering must not read the commands."""
        return self._families().values()

    def collect(self) -> Iterator[Metric]:
        """The metrics at this moment."""
        families = self._families()
        for command in self._registry:
            _observe(families, command)
        yield from families.values()

    @staticmethod
    def _families() -> dict[str, Metric]:
        labels = ("command", "group")
        return {
            "events": CounterMetricFamily(
                "resilience_command_events", "Calls by how they ended, in Hystrix's terms.", labels=(*labels, "event")),
            "latency": HistogramMetricFamily(
                "resilience_command_latency_seconds", "How long executions took.", labels=labels),
            "in_flight": GaugeMetricFamily(
                "resilience_command_in_flight", "Calls running now, abandoned ones included.", labels=labels),
            "abandoned": GaugeMetricFamily(
                "resilience_command_abandoned", "Calls that run on although their caller gave up.", labels=labels),
            "state": GaugeMetricFamily(
                "resilience_circuit_state", "1 for the state the circuit is in.", labels=(*labels, "state")),
        }


def _observe(families: dict[str, Metric], command: Source) -> None:
    labels = [_clean(command.key), _clean(command.group)]
    totals, lifetime = command.recorder.totals()
    snapshot = command.snapshot()
    for event, total in zip(EVENT_NAMES, totals, strict=True):
        families["events"].add_metric([*labels, event], total)  # type: ignore[attr-defined]
    cumulative = list(accumulate(lifetime.buckets))
    bounds = [*(f"{bound:g}" for bound in LE_BOUNDS), "+Inf"]
    families["latency"].add_metric(  # type: ignore[attr-defined]
        labels, list(zip(bounds, cumulative, strict=True)), lifetime.seconds)
    families["in_flight"].add_metric(labels, snapshot.in_flight)  # type: ignore[attr-defined]
    families["abandoned"].add_metric(labels, snapshot.abandoned)  # type: ignore[attr-defined]
    for state in State:
        families["state"].add_metric([*labels, state.value], snapshot.state is state)  # type: ignore[attr-defined]


def _clean(name: str) -> str:
    """The name as UTF-8 can carry it: lone surrogates are written out."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
