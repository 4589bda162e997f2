"""A command with a callable key is forgotten when it is idle or gives way to another, and counts from 0 when its key comes back.
OpenTelemetry takes a counter for one that only rises: exporters of differences sent -999 calls.
"""

from opentelemetry.sdk.metrics import Counter, MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader

from resilience import Registry, command
from resilience.integrations.opentelemetry import export_metrics

DELTA = {Counter: AggregationTemporality.DELTA, ObservableCounter: AggregationTemporality.DELTA}


def successes(reader):
    """Calls that succeeded, by key."""
    (resource,) = reader.get_metrics_data().resource_metrics
    metric = next(each for each in resource.scope_metrics[0].metrics if each.name == "resilience.command.events")
    return {point.attributes["resilience.command"]: point.value for point in metric.data.data_points
            if point.attributes["resilience.event"] == "success" and point.value}


def test_they_go_on_where_they_were():
    registry = Registry()
    differences, totals = InMemoryMetricReader(preferred_temporality=DELTA), InMemoryMetricReader()
    provider = MeterProvider([differences, totals], shutdown_on_exit=False)
    export_metrics(registry, meter_provider=provider)

    @command(key=lambda host: host, max_keys=1, registry=registry)
    def fetch(host):
        return host

    def called(host, times):
        for _ in range(times):
            fetch(host)
        return successes(differences), successes(totals)

    assert ({"a": 5}, {"a": 5}) == called("a", 5)
    assert ({"a": 2}, {"a": 7}) == called("a", 2)
    assert ({"b": 1}, {"b": 1}) == called("b", 1)
    assert ({"a": 3}, {"a": 10}) == called("a", 3)
    assert ({"b": 9}, {"b": 10}) == called("b", 9)
    assert ({"b": 1}, {"b": 11}) == called("b", 1)
    provider.shutdown()
