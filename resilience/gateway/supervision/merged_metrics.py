"""Merged metrics: what the gateways of all workers export beside their commands, as one gateway would.

Counters and histograms never fall: what a worker had counted when it was last asked is kept when it dies. Its gauges
go with it.

Written by one event loop; read by any thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from prometheus_client import Metric
from prometheus_client.registry import Collector

from ...metrics.prometheus import summed

#: The number of the parent, which is no worker.
PARENT: Final = -1


class MergedMetrics(Collector):
    """The further metrics of all workers, and of the parent."""

    def __init__(self) -> None:
        self._last: dict[int, list[Metric]] = {}
        self._departed: list[Metric] = []

    def take(self, worker: int, families: Sequence[Sequence[Any]]) -> None:
        """Keep what a *worker* exports; see report.family()."""
        self._last[worker] = summed([map(_metric, families)])

    def depart(self, worker: int) -> None:
        """A *worker* is no more; what it has counted stays."""
        gone = [metric for metric in self._last.pop(worker, ()) if metric.type != "gauge"]
        self._departed = summed([self._departed, gone])

    def collect(self) -> Iterator[Metric]:
        """The metrics of all workers at the moment when they were last asked."""
        yield from summed([self._departed, *list(self._last.values())])


def _metric(said: Sequence[Any]) -> Metric:
    name, documentation, kind, samples = said
    metric = Metric(name, documentation, kind)
    for sample in samples:
        metric.add_sample(*sample)
    return metric
