"""The sum over workers: exactly what one worker that had all the calls would show, whatever each of them had."""

from __future__ import annotations

import asyncio
import json
import marshal
import random
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from resilience import CircuitBreaker, Registry, command
from resilience.core.histogram import RollingHistogram, latency_of
from resilience.gateway.config import load
from resilience.gateway.gateway import Gateway
from resilience.gateway.supervision.merged import MergedRegistry
from resilience.gateway.supervision.merged_metrics import MergedMetrics
from resilience.gateway.supervision.report import family, lifetime, recent, rolling
from resilience.gateway.supervision.restarts import FIRST_S, LONGEST_S, STABLE_S, Restarts
from resilience.gateway.supervision.worker_process import WorkerProcess, WorkerSilentError
from resilience.metrics import hystrix, stream
from resilience.metrics.prometheus import Collector
from resilience.testing import virtual_time


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def service(registry: Registry, clock: Clock, key: str = "up"):
    """A command whose calls take as long as they are told, and fail if they are told."""

    @command(key=key, group="gateway", registry=registry, timeout=None, max_concurrent=7,
             breaker=CircuitBreaker(min_calls=1000))
    def call(seconds: float, fails: bool) -> None:
        clock.now += seconds
        if fails:
            raise OSError("down")

    def called(seconds: float, fails: bool) -> None:
        try:
            call(seconds, fails)
        except OSError:
            pass

    return called


@pytest.mark.parametrize("seed", range(3))
def test_the_merged_statistics_of_three_workers_are_those_of_one_with_all_calls(seed: int) -> None:
    rng, clock = random.Random(seed), Clock()
    registries, whole = [Registry(clock=clock) for _ in range(3)], Registry(clock=clock)
    calls, same = [service(each, clock) for each in registries], service(whole, clock)
    merged = MergedRegistry(clock)
    for _ in range(400):
        seconds, fails, worker = rng.lognormvariate(-4, 1.5), rng.random() < 0.2, rng.randrange(3)
        before = clock.now
        calls[worker](seconds, fails)
        clock.now = before
        same(seconds, fails)
        if rng.random() < 0.02:
            clock.now += rng.uniform(0, 15)
    for number, registry in enumerate(registries):
        merged.take(number, [lifetime(each) for each in registry])
    found, wanted = merged.get("up").snapshot(), whole["up"].snapshot()
    assert wanted.counts == found.counts
    assert list(wanted.counts) == list(found.counts)
    assert attrs.evolve(wanted.latency, mean=0.0) == attrs.evolve(found.latency, mean=0.0)
    assert wanted.latency.mean == pytest.approx(found.latency.mean)
    assert (wanted.requests, wanted.errors, wanted.state, 21) == (found.requests, found.errors, found.state, found.max_concurrent)
    totals, durations = merged.get("up").__recorder__.totals()
    assert (whole["up"].__recorder__.totals()[0], whole["up"].__recorder__.totals()[1].buckets) == (totals, durations.buckets)


def test_percentiles_from_bins_are_those_of_the_histogram() -> None:
    rng = random.Random(1)
    for _ in range(50):
        histogram = RollingHistogram(window=60.0, slices=6, now=0.0)
        for _ in range(rng.randrange(300)):
            histogram.add(rng.lognormvariate(-3, 2), 0.0)
        latency = histogram.latency(0.0)
        assert latency == latency_of(histogram.bins(0.0), latency.mean * latency.count) or latency.mean == pytest.approx(
            latency_of(histogram.bins(0.0), latency.mean * latency.count).mean)


def test_the_worst_circuit_is_shown_and_in_how_many_workers_it_is_so() -> None:
    clock, merged = Clock(), MergedRegistry(Clock())
    for number in range(3):
        registry = Registry(clock=clock)
        service(registry, clock)
        if number == 1:
            registry["up"].force_open()
        merged.take(number, [rolling(registry["up"])])
    snapshot = merged.get("up").snapshot()
    assert "forced_open" == snapshot.state
    assert str(snapshot.reason).endswith("(in 1 of 3 workers)")


def test_totals_never_fall_when_workers_die_and_begin_anew() -> None:
    clock, merged, highest = Clock(), MergedRegistry(Clock()), 0
    for life in range(5):
        registry = Registry(clock=clock)
        call = service(registry, clock)
        for _ in range(10):
            call(0.01, False)
        merged.take(1, [lifetime(registry["up"])])
        total = sum(merged.get("up").__recorder__.totals()[0])
        assert total == highest + 10
        highest = total
        merged.depart(1)
        assert life < 5


def test_commands_are_idle_and_their_counters_stay_while_there_is_no_worker() -> None:
    def sample(name: str, **labels: str) -> list[float]:
        return [each.value for family in Collector(merged).collect() for each in family.samples
                if each.name == name and labels.items() <= each.labels.items()]

    clock, merged, registry = Clock(), MergedRegistry(Clock()), Registry(clock=Clock())
    call = service(registry, clock)
    service(registry, clock, "gone")
    for fails in (False, True, True):
        call(0.1, fails)
    for worker in (1, 2):
        merged.take(worker, [lifetime(each) for each in registry])
    merged.depart(1)
    merged.depart(2)
    assert ["up", "gone"] == [each.key for each in merged]
    assert ([4.0], [6.0]) == (sample("resilience_command_events_total", command="up", event="failure"),
                              sample("resilience_command_latency_seconds_count", command="up"))
    assert [0.0] == sample("resilience_command_in_flight", command="up")
    snapshot = merged.get("up").snapshot()
    assert (0, 0, 0, 0, ()) == (snapshot.requests, snapshot.errors, snapshot.in_flight, snapshot.max_in_flight, snapshot.transitions)
    assert list(stream.Encoder().opening(merged, 0))
    merged.take(1, [rolling(registry["up"])])
    assert ["up"] == [each.key for each in merged]
    assert (None, [4.0]) == (merged.get("gone"), sample("resilience_command_events_total", command="up", event="failure"))


def test_a_command_that_no_worker_mentions_any_more_is_forgotten() -> None:
    clock, merged, registry = Clock(), MergedRegistry(Clock()), Registry(clock=Clock())
    service(registry, clock, "a")
    service(registry, clock, "b")
    merged.take(1, [rolling(each) for each in registry])
    merged.take(2, [rolling(each) for each in registry])
    merged.take(1, [rolling(registry["a"])])
    assert ["a", "b"] == [each.key for each in merged]
    merged.take(2, [rolling(registry["a"])])
    assert ["a"] == [each.key for each in merged]


def test_every_encoder_reads_the_merged_registry() -> None:
    clock, registry = Clock(), Registry(clock=Clock())
    service(registry, clock)(0.1, True)
    merged = MergedRegistry(clock)
    merged.take(1, [lifetime(registry["up"])])
    merged.take(1, [recent(registry["up"])])
    assert '"errorCount":1' in next(iter(hystrix.Encoder().messages(merged, 0)))
    assert '"type":"OSError","message":"down"' in next(iter(stream.Encoder().messages(merged, 0)))
    assert list(stream.Encoder().opening(merged, 0))
    assert '"up"' in hystrix.config_message(merged)
    assert '"up"' in hystrix.utilization_message(merged)
    assert list(Collector(merged).collect())


def test_what_a_worker_has_counted_is_exported_as_nothing_until_it_was_asked_for_that() -> None:
    clock, registry = Clock(), Registry(clock=Clock())
    service(registry, clock)(0.1, True)
    merged = MergedRegistry(clock)
    merged.take(1, [rolling(registry["up"])])  # as a stream asks
    families = {family.name: family for family in Collector(merged).collect()}
    assert {0.0} == {sample.value for sample in families["resilience_command_latency_seconds"].samples}
    merged.take(1, [lifetime(registry["up"])])
    families = {family.name: family for family in Collector(merged).collect()}
    assert 1.0 in {sample.value for sample in families["resilience_command_latency_seconds"].samples}


class SlowChannel:
    """The channel to a worker that says something now and then, as often as it was told to, before its answer."""

    def __init__(self, parts: int, every_s: float) -> None:
        self._parts, self._every_s = parts, every_s
        self._said: asyncio.Queue[tuple[int, bool | None, int]] = asyncio.Queue()
        self._saying: asyncio.Task[None]

    def tell(self, question: tuple[int, str, None]) -> None:
        self._saying = asyncio.ensure_future(self._say(question[0]))

    async def _say(self, number: int) -> None:
        for part in range(self._parts):
            await asyncio.sleep(self._every_s)
            self._said.put_nowait((number, None, part))
        await asyncio.sleep(self._every_s)
        self._said.put_nowait((number, True, self._parts))

    async def receive(self) -> tuple[int, bool | None, int]:
        return await self._said.get()


def test_a_worker_that_answers_in_parts_is_slow_and_not_silent() -> None:
    async def asked(parts: int, every_s: float) -> tuple[int, list[int]]:
        worker = WorkerProcess(1, SimpleNamespace(pid=1), SlowChannel(parts, every_s))
        try:
            return await worker.ask("report", None, 1.0)
        finally:
            worker._listening.cancel()

    assert (9, list(range(9))) == virtual_time(asked(9, 0.9))
    for parts in (0, 9):
        with pytest.raises(WorkerSilentError):
            virtual_time(asked(parts, 1.1))


def test_a_worker_that_dies_once_is_started_at_once_and_one_that_cannot_live_ever_more_rarely() -> None:
    deaths = Restarts()
    assert 0.0 == deaths.died(STABLE_S * 10, 0.0)
    assert [FIRST_S, FIRST_S * 2, FIRST_S * 4] == [deaths.died(0.1, 0.0) for _ in range(3)]
    for _ in range(2000):
        last = deaths.died(0.0, 0.0)
    assert LONGEST_S == last
    assert LONGEST_S / 2 == deaths.died(-5.0, 1.0)
    assert (0.0, 1, 2006) == (deaths.died(STABLE_S, 0.5), deaths.in_a_row, deaths.total)


def test_waits_between_restarts_never_fall_while_a_worker_keeps_dying() -> None:
    for seed in range(20):
        rng, deaths, last = random.Random(seed), Restarts(), -1.0
        for _ in range(30):
            delay = deaths.died(rng.uniform(0.0, STABLE_S * 0.99), 0.0)
            assert LONGEST_S >= delay >= last
            last = delay


SERVICES = """
[services.orders]
endpoints = ["http://127.0.0.1:9001", "http://127.0.0.1:9002"]

[services.pricing]
endpoints = ["http://127.0.0.1:9003"]

[[routes]]
path = "/orders/*"
service = "orders"

[[routes]]
path = "/pricing/*"
service = "pricing"
"""


def test_the_stream_marks_the_command_that_is_the_sum_of_its_endpoints_and_no_other(tmp_path) -> None:
    file, registry, merged = tmp_path / "gateway.toml", Registry(), MergedRegistry()
    file.write_text(SERVICES)
    Gateway(load(file), registry=registry)
    merged.take(1, [rolling(each) for each in registry])
    merged.take(2, [lifetime(each) for each in registry])

    for sources in (registry, merged):
        messages = [json.loads(text) for text in stream.Encoder().messages(sources, 0)]
        assert {"orders", "orders@127.0.0.1:9001", "orders@127.0.0.1:9002", "pricing"} == {each["key"] for each in messages}
        assert [("orders", True)] == [(each["key"], each["sum"]) for each in messages if "sum" in each]


def test_what_workers_export_beside_their_commands_is_summed_and_its_counters_never_fall() -> None:
    def exported(counted: int, limit: float, lag: float) -> Any:
        counter = CounterMetricFamily("asked", "Requests.", labels=("route",))
        counter.add_metric(["/x"], counted)
        gauges = [GaugeMetricFamily(name, "Now.", value=value) for name, value in (("limit", limit), ("lag_seconds", lag))]
        return marshal.loads(marshal.dumps([family(each) for each in (counter, *gauges)]))

    def shown() -> dict[str, float]:
        return {sample.name: sample.value for metric in metrics.collect() for sample in metric.samples}

    metrics = MergedMetrics()
    assert {} == shown()
    metrics.take(1, exported(3, 20, 0.5))
    metrics.take(2, exported(4, 30, 0.1))
    assert {"asked_total": 7, "limit": 50, "lag_seconds": 0.5} == shown()
    metrics.depart(1)
    metrics.depart(1)
    assert {"asked_total": 7, "limit": 30, "lag_seconds": 0.1} == shown()
    metrics.take(1, exported(1, 20, 0.0))
    assert {"asked_total": 8, "limit": 50, "lag_seconds": 0.1} == shown()
