"""Prometheus: a collector that reads the commands when it is scraped, and costs calls nothing.

Counters never fall: they are kept since the command was made, whatever rolls out
of the windows or is reset. Latencies are observed into bins of under 1 % relative
width (core.histogram), so a bucket's bound is exact to that.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from math import inf
from typing import Final, Generic, Protocol, TypeVar

import attrs
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector as _Collector

from ..core.events import State
from ..core.histogram import LE_BOUNDS
from .batch_statistics import BatchStatistics
from .exports import as_utf8, events_of
from .protocols import Pool, Source, Sources

_POOL: Final[Mapping[str, tuple[type[GaugeMetricFamily | CounterMetricFamily], str, Callable[[Pool], int]]]] = {
    "threads": (GaugeMetricFamily, "Threads alive.", lambda pool: pool.threads),
    "jobs": (GaugeMetricFamily, "Calls that run on the pool, or wait for a thread.", lambda pool: pool.admitted),
    "max_jobs": (GaugeMetricFamily, "How many may run and wait at once.", lambda pool: pool.size + pool.max_queue),
    "completed": (CounterMetricFamily, "Calls that have ended on the pool.", lambda pool: pool.completed),
}

_COLLAPSE: Final = {
    "items": "Items asked for in batches.",
    "batches": "Calls of the batch function.",
    "shared": "Calls that shared the place of an equal one.",
}

_further: weakref.WeakKeyDictionary[Sources, list[Callable[[], Iterable[Metric]]]] = weakref.WeakKeyDictionary()


def export_further(registry: Sources, collect: Callable[[], Iterable[Metric]]) -> None:
    """Let whoever exports the commands of *registry* export further metrics, too.

    Args:
        registry: Whose commands are exported.
        collect: Returns the metrics, whose names no others have; called at each scrape.
    """
    _further.setdefault(registry, []).append(collect)


class HasMetrics(Protocol):
    """What has metrics of its own."""

    def collect(self) -> Iterable[Metric]:
        """The metrics at this moment."""
        ...


M = TypeVar("M", bound=HasMetrics)


class OncePerRegistry(Generic[M]):
    """One object for each registry, whose metrics are exported with those of its commands."""

    def __init__(self, make: Callable[[], M]) -> None:
        """There is none yet.

        Args:
            make: Makes one.
        """
        self._make = make
        self._made: weakref.WeakKeyDictionary[Sources, M] = weakref.WeakKeyDictionary()

    def known(self, registry: Sources) -> M | None:
        """The one of a registry; None: it was not made yet.

        Args:
            registry: Whose.
        """
        return self._made.get(registry)

    def of(self, registry: Sources) -> M:
        """The one of a registry, made and exported if that was not done yet.

        Args:
            registry: Whose.
        """
        made = self._made.get(registry)
        if made is None:
            made = self._made[registry] = self._make()
            export_further(registry, made.collect)
        return made


def further_metrics(registry: Sources) -> Iterator[Metric]:
    """What export_further() has been told of a registry, at this moment. A family may come several times.

    Args:
        registry: Whose.
    """
    for collect in _further.get(registry, ()):
        yield from collect()


def summed(parts: Iterable[Iterable[Metric]]) -> list[Metric]:
    """The metrics of several processes as one: what has the same name and labels is added up.

    Of gauges in seconds, and of those that count instances, the largest is shown: how late several loops are, and how
    many instances each has heard of, is no sum. Of moments it is the first: when the oldest certificate in use ends.

    Args:
        parts: Those of each process.
    """
    families: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for family in (family for part in parts for family in part):
        families.setdefault(family.name, family)
        known = values.setdefault(family.name, {})
        for sample in family.samples:
            key = sample.name, tuple(sample.labels.items())
            if family.type == "gauge" and family.name.endswith("_timestamp_seconds"):
                known[key] = min(known.get(key, inf), sample.value)
            elif family.type == "gauge" and family.name.endswith(("_seconds", "_instances")):
                known[key] = max(known.get(key, 0.0), sample.value)
            else:
                known[key] = known.get(key, 0.0) + sample.value
    whole = []
    for name, family in families.items():
        metric = Metric(name, family.documentation, family.type)
        for (of, labels), value in values[name].items():
            metric.add_sample(of, dict(labels), value)
        whole.append(metric)
    return whole


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
        self._observe_the_rest(families)
        yield from families.values()
        further: dict[str, Metric] = {}
        for family in further_metrics(self._registry):
            known = further.setdefault(family.name, family)
            if known is not family:
                known.samples.extend(family.samples)
        yield from further.values()

    def in_parts(self) -> Iterator[Iterable[Metric]]:
        """The same for who has others to serve meanwhile: the metrics of one command after another."""
        for command in self._registry:
            families = self._families()
            _observe(families, command)
            yield families.values()
        families = self._families()
        self._observe_the_rest(families)
        yield families.values()
        for family in further_metrics(self._registry):
            yield (family,)

    def _observe_the_rest(self, families: dict[str, Metric]) -> None:
        for name, pool in self._registry.pools().items():
            _observe_pool(families, [as_utf8(name)], pool)
        now = self._registry.clock()
        for collapses in self._registry.collapsers().values():
            _observe_collapses(families, [as_utf8(collapses.name)], collapses, now)

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


def _observe(families: dict[str, Metric], command: Source) -> None:
    labels = [as_utf8(command.key), as_utf8(command.group)]
    totals, lifetime = command.__recorder__.totals()
    snapshot = command.snapshot()
    for event, total in events_of(command, totals).items():
        families["events"].add_metric([*labels, event], total)  # type: ignore[attr-defined]
    for name, value in snapshot.gauges.items():
        policy, _, gauge = name.partition(".")
        families["gauges"].add_metric([*labels, policy, gauge], value)  # type: ignore[attr-defined]
    cumulative = list(accumulate(lifetime.buckets))
    bounds = [*(f"{bound:g}" for bound in LE_BOUNDS), "+Inf"]
    families["latency"].add_metric(  # type: ignore[attr-defined]
        labels, list(zip(bounds, cumulative, strict=True)), lifetime.seconds)
    families["in_flight"].add_metric(labels, snapshot.in_flight)  # type: ignore[attr-defined]
    families["abandoned"].add_metric(labels, snapshot.abandoned)  # type: ignore[attr-defined]
    if snapshot.max_concurrent is not None:
        families["max_concurrent"].add_metric(labels, snapshot.max_concurrent)  # type: ignore[attr-defined]
    for state in State:
        families["state"].add_metric([*labels, state.value], snapshot.state is state)  # type: ignore[attr-defined]


def _observe_pool(families: dict[str, Metric], labels: list[str], pool: Pool) -> None:
    for name, (_, _, read) in _POOL.items():
        families[f"pool_{name}"].add_metric(labels, read(pool))  # type: ignore[attr-defined]


def _observe_collapses(families: dict[str, Metric], labels: list[str], collapses: BatchStatistics, now: float) -> None:
    collapses.read(now)  # what is pending is reckoned
    for name, total in zip(_COLLAPSE, collapses.totals, strict=True):
        families[f"collapse_{name}"].add_metric(labels, total)  # type: ignore[attr-defined]


@attrs.frozen
class _Only(_Collector):
    """Stands for a registry that has these metrics, to an encoder of prometheus_client."""

    metrics: tuple[Metric, ...]

    def collect(self) -> Iterator[Metric]:
        """They."""
        yield from self.metrics


def exposition(parts: Iterable[Iterable[Metric]], encode: Callable[[_Collector], bytes]) -> Iterator[bytes]:
    """The text of metrics that come in parts: joined, it is what *encode* makes of all of them at once.

    While the parts are read it yields nothing but b"", after little work each; then the text, in pieces.

    Args:
        parts: A family may be in several of them, with other samples each time, but without ``_created`` ones.
        encode: One of prometheus_client's encoders.
    """
    end = encode(_Only(()))  # the last line of OpenMetrics
    texts: dict[str, list[bytes]] = {}
    for part in parts:
        for family in part:
            known = texts.setdefault(family.name, [])
            if known and not family.samples:
                continue
            text = encode(_Only((family,))).removesuffix(end)
            while known and text.startswith(b"# "):  # the head of the family is there already
                text = text.partition(b"\n")[2]
            known.append(text)
        yield b""
    for known in texts.values():
        yield from known
    yield end
