"""Prometheus: a collector that reads the commands when it is scraped, and costs calls nothing.

Counters never fall: they are kept since the command was made, whatever rolls out
of the windows or is reset. Latencies are observed into bins of under 1 % relative
width (core.histogram), so a bucket's bound is exact to that.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from math import inf
from typing import Generic, Protocol, TypeVar

from prometheus_client import Metric
from prometheus_client.registry import Collector as _Collector

from .families import empty_families, labels_of, observe, observe_collapses, observe_pool, reading
from .protocols import Sources, check_registry

__all__ = ["Collector"]

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

    Raises:
        TypeError: It is none.
    """

    def __init__(self, registry: Sources) -> None:
        check_registry(registry)
        self._registry = registry

    def describe(self) -> Iterable[Metric]:
        """The metrics without samples: registering must not read the commands."""
        return empty_families().values()

    def collect(self) -> Iterator[Metric]:
        """The metrics at this moment."""
        families = empty_families()
        for command in self._registry:
            observe(families, labels_of(command), *reading(command))
        _observe_the_rest(self._registry, families)
        yield from families.values()
        further: dict[str, Metric] = {}
        for family in further_metrics(self._registry):
            known = further.setdefault(family.name, family)
            if known is not family:
                known.samples.extend(family.samples)
        yield from further.values()


def beside_commands(registry: Sources) -> Iterator[Iterable[Metric]]:
    """The metrics of what is no command, in parts: for who has others to serve between them.

    Args:
        registry: Whose.
    """
    families = empty_families()
    _observe_the_rest(registry, families)
    yield families.values()
    for family in further_metrics(registry):
        yield (family,)


def _observe_the_rest(registry: Sources, families: dict[str, Metric]) -> None:
    for name, pool in registry.pools().items():
        observe_pool(families, name, pool)
    now = registry.clock()
    for collapses in registry.collapsers().values():
        observe_collapses(families, collapses, now)


def __dir__() -> list[str]:
    """The public names; what else is here is for exporters of ours."""
    return [*__all__]
