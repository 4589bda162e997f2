"""Requests by route, service and consumer, as Prometheus reads them: beside plain counts, and bounded in labels."""

import pickle
import random
from collections import Counter

from prometheus_client import generate_latest

from resilience import Registry
from resilience.gateway.logs.request_statistics import OTHER, RequestStatistics, statistics_of
from resilience.metrics.prometheus import Collector, further_metrics, summed


class ObservedRequest:
    route, service, consumer, status, received, sent, duration_s = "/x", "up", None, 200, 0, 0, 0.01


def observed(**said):
    made = ObservedRequest()
    for name, value in said.items():
        setattr(made, name, value)
    return made


def samples(statistics, name):
    return {tuple(sample.labels.values()): sample.value for metric in statistics.collect() for sample in metric.samples
            if sample.name == name}


def test_requests_are_counted_by_route_service_and_class_of_status():
    statistics = RequestStatistics()
    for status in (200, 204, 301, 404, 503, 503, 0):
        statistics.count(observed(status=status, sent=10, received=2))
    statistics.count(observed(route=None, service=None, status=404))

    assert samples(statistics, "resilience_gateway_requests_total") == {
        ("/x", "up", "2xx"): 2, ("/x", "up", "3xx"): 1, ("/x", "up", "4xx"): 1, ("/x", "up", "5xx"): 2,
        ("/x", "up", "client_gone"): 1, ("none", "", "4xx"): 1}
    assert samples(statistics, "resilience_gateway_response_bytes_total")["/x", "up"] == 70
    assert samples(statistics, "resilience_gateway_request_bytes_total")["/x", "up"] == 14


def test_durations_fall_into_the_buckets_of_the_commands():
    statistics = RequestStatistics()
    for duration in (0.0005, 0.001, 0.0011, 0.2, 100.0):
        statistics.count(observed(duration_s=duration))
    found = samples(statistics, "resilience_gateway_request_duration_seconds_bucket")
    assert [found["/x", "up", bound] for bound in ("0.001", "0.0025", "0.1", "0.25", "10", "+Inf")] == [2, 3, 3, 4, 4, 5]
    assert abs(samples(statistics, "resilience_gateway_request_duration_seconds_sum")["/x", "up"] - 100.2026) < 1e-9


def test_the_consumers_that_ask_most_are_shown_and_no_sum_ever_falls():
    for seed in range(3):
        dice, statistics, plain = random.Random(seed), RequestStatistics(max_consumers=5), Counter()
        names = [*(f"rare {n}" for n in range(3000)), OTHER]
        last_other = 0
        for step in range(20_000):
            name = dice.choice(["big 1", "big 2", "big 3"]) if dice.random() < 0.5 and step > 1000 else dice.choice(names)
            statistics.count(observed(consumer=name, status=dice.choice([200, 503])))
            plain[name] += 1
            if step % 1000 == 0:
                found = samples(statistics, "resilience_gateway_consumer_requests_total")
                other = sum(value for key, value in found.items() if key[0] == OTHER)
                assert other >= last_other
                last_other = other
        found = samples(statistics, "resilience_gateway_consumer_requests_total")
        assert sum(found.values()) == sum(plain.values())
        shown = {key[0] for key in found} - {OTHER}
        assert len(shown) == 5
        assert {"big 1", "big 2", "big 3"} <= shown
        assert all(sum(value for key, value in found.items() if key[0] == name) <= plain[name] for name in shown)
        assert len(statistics._candidates) <= 1000


def test_the_counts_of_several_workers_travel_and_add_up():
    workers = [RequestStatistics() for _ in range(3)]
    for worker, statistics in enumerate(workers):
        for _ in range(worker + 1):
            statistics.count(observed(consumer="ada", duration_s=0.2))
    workers[0].count(observed(route="/other"))
    parts = [pickle.loads(pickle.dumps(list(statistics.collect()))) for statistics in workers]

    found = {(sample.name, *sample.labels.values()): sample.value for metric in summed(parts) for sample in metric.samples}
    assert found["resilience_gateway_requests_total", "/x", "up", "2xx"] == 6
    assert found["resilience_gateway_requests_total", "/other", "up", "2xx"] == 1
    assert found["resilience_gateway_request_duration_seconds_bucket", "/x", "up", "0.25"] == 6
    assert found["resilience_gateway_request_duration_seconds_bucket", "/x", "up", "0.1"] == 0
    assert abs(found["resilience_gateway_request_duration_seconds_sum", "/x", "up"] - 1.2) < 1e-9
    assert found["resilience_gateway_consumer_requests_total", "ada", "2xx"] == 6


def test_gateways_of_one_registry_count_together_and_the_registry_s_collector_exports_it():
    registry = Registry()
    statistics_of(registry).count(observed())
    statistics_of(registry).count(observed())
    assert statistics_of(Registry()) is not statistics_of(registry)
    assert {metric.name for metric in further_metrics(registry)} <= {metric.name for metric in Collector(registry).collect()}
    assert samples(statistics_of(registry), "resilience_gateway_requests_total")["/x", "up", "2xx"] == 2


def test_the_private_listener_has_numbers_of_its_own_with_a_label_more():
    registry = Registry()
    public, private = statistics_of(registry), statistics_of(registry, "private")
    public.count(observed(consumer="ada"))
    for _ in range(2):
        private.count(observed(consumer="ada"))
    lines = generate_latest(Collector(registry)).decode().splitlines()
    assert {'resilience_gateway_requests_total{route="/x",service="up",status="2xx"} 1.0',
            'resilience_gateway_requests_total{listener="private",route="/x",service="up",status="2xx"} 2.0',
            'resilience_gateway_consumer_requests_total{consumer="ada",status="2xx"} 1.0',
            'resilience_gateway_consumer_requests_total{consumer="ada",listener="private",status="2xx"} 2.0'} <= set(lines)
    assert 1 == sum(line == "# TYPE resilience_gateway_requests_total counter" for line in lines)
