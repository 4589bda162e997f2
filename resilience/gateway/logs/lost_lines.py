"""Lost lines: how many an access log lacks, and why, for whoever watches."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Final

import attrs
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily

from ...metrics.prometheus import OncePerRegistry


@attrs.define
class LostLines:
    """The lines that one log lacks.

    Attributes:
        dropped: They found no room among those that wait to be written.
        failed: They could not be written.
    """

    dropped: int = 0
    failed: int = 0


class LostLinesMetrics:
    """What Prometheus is told of the access logs of gateways with one registry. Written by one thread, read by any."""

    def __init__(self) -> None:
        self._known: list[tuple[Callable[[], object], LostLines]] = []

    def adopt(self, writer: object, lost: LostLines) -> None:
        """Export what a log lacks, beside what those before it do: the counters never fall.

        Args:
            writer: Of the log; it may lose lines for as long as it is there.
            lost: What it counts.
        """
        ended, known = LostLines(), list[tuple[Callable[[], object], LostLines]]()
        for there, each in self._known:
            if there() is None:
                ended = LostLines(ended.dropped + each.dropped, ended.failed + each.failed)
            else:
                known.append((there, each))
        # In one step: a thread may be reading.
        self._known = [(lambda: None, ended), *known, (weakref.ref(writer), lost)]

    def collect(self) -> Iterator[Metric]:
        """The metrics at this moment."""
        known = self._known
        family = CounterMetricFamily(
            "resilience_gateway_access_log_lost", "Requests of which the access log has no line, though it should.",
            labels=["reason"])
        family.add_metric(["queue_full"], sum(lost.dropped for _, lost in known))
        family.add_metric(["not_written"], sum(lost.failed for _, lost in known))
        yield family


#: The metrics of the access logs of gateways with one registry.
METRICS: Final = OncePerRegistry(LostLinesMetrics)
