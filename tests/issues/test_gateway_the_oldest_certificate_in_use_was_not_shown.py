"""A worker that cannot read the new certificate goes on with the old one; /metrics told when the new one ends."""

from __future__ import annotations

from prometheus_client.core import GaugeMetricFamily

from resilience.gateway.supervision.merged_metrics import MergedMetrics
from resilience.gateway.supervision.report import family

NAME = "resilience_gateway_certificate_expiry_timestamp_seconds"


def test_of_what_workers_say_of_a_moment_the_first_is_shown() -> None:
    merged = MergedMetrics()
    for worker, ends_at in enumerate((2e9, 1e9, 3e9)):
        gauge = GaugeMetricFamily(NAME, "When it ends.", labels=["file"])
        gauge.add_metric(["a.pem"], ends_at)
        merged.take(worker, [family(gauge)])
    assert [1e9] == [sample.value for metric in merged.collect() for sample in metric.samples]
