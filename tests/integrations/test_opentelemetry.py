"""OpenTelemetry's own SDK, with its exporters in memory."""

import asyncio

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from resilience import (
    AdaptiveLimit,
    Bulkhead,
    CircuitBreaker,
    CircuitOpenError,
    Hedge,
    Registry,
    Retry,
    ThreadPool,
    command,
)
from resilience.events import CallFailed
from resilience.integrations.opentelemetry import add_span_events, export_metrics
from resilience.testing import ManualClock


class Metrics:
    """What is collected from registries, by the name of the instrument."""

    def __init__(self, *registries):
        self._reader = InMemoryMetricReader()
        self._provider = MeterProvider([self._reader], shutdown_on_exit=False)
        export_metrics(*registries, meter_provider=self._provider)

    def metrics(self):
        data = self._reader.get_metrics_data()
        return {metric.name: metric for resource in (data.resource_metrics if data else ())
                for scope in resource.scope_metrics for metric in scope.metrics}

    def points(self, name, **wanted):
        """Value by the attributes beside the wanted ones, which are left out."""
        metric = self.metrics().get(f"resilience.{name}")
        wanted = {f"resilience.{key}": value for key, value in wanted.items()}
        found = {}
        for point in metric.data.data_points if metric else ():
            attributes = dict(point.attributes)
            if wanted.items() <= attributes.items():
                rest = tuple(value for key, value in sorted(attributes.items()) if key not in wanted)
                found[rest[0] if len(rest) == 1 else rest] = point.value
        return found

    def close(self):
        self._provider.shutdown()


@pytest.fixture
def collect():
    made = []

    def make(*registries):
        made.append(Metrics(*registries))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def spans(monkeypatch):
    """A tracer, and the spans that it has finished."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider.get_tracer("test"), exporter
    provider.shutdown()


def events_of(spans):
    [span] = spans[1].get_finished_spans()
    return [(event.name.removeprefix("resilience."), {key.removeprefix("resilience."): value for key, value in event.attributes.items()})
            for event in span.events]


def test_counters_are_those_of_the_commands_and_never_fall(registry, clock, collect):
    metrics = collect(registry)

    @command(key="stock", group="shop", registry=registry, timeout=None, max_concurrent=None)
    def stock(sku):
        clock.advance(0.5)
        if sku is None:
            raise LookupError
        return 7

    for _ in range(3):
        stock("apple")
    with pytest.raises(LookupError):
        stock(None)
    events = metrics.points("command.events", command="stock", group="shop")
    assert {"success": 3, "failure": 1, "fallback_missing": 1, "exceptions_thrown": 1} == {name: n for name, n in events.items() if n}
    assert stock.resilience.snapshot().counts == events
    clock.advance(3600.0)
    stock.resilience.reset()
    assert events == metrics.points("command.events", command="stock", group="shop")
    assert {"shop": 2.0} == metrics.points("command.duration", command="stock")


def test_latency_is_in_seconds_by_quantile(registry, clock, collect):
    @command(key="stock", registry=registry, group="shop", timeout=None)
    def stock(seconds):
        clock.advance(seconds)

    for seconds in (0.1, 0.1, 0.1, 2.0):
        stock(seconds)
    latency = collect(registry).points("command.latency", command="stock", group="shop")
    assert {0.5: pytest.approx(0.1, rel=0.01), 1.0: pytest.approx(2.0, rel=0.01)} == {q: latency[q] for q in (0.5, 1.0)}
    assert set(latency) == {0.5, 0.9, 0.95, 0.99, 1.0}


def test_state_calls_in_flight_and_limit_are_read_at_the_time_of_collection(registry, collect):
    metrics, seen = collect(registry), []

    @command(key="stock", group="shop", registry=registry, timeout=None, max_concurrent=4)
    def stock():
        seen.append([metrics.points(f"command.{name}", command="stock")["shop"] for name in ("in_flight", "max_concurrent", "abandoned")])

    stock()
    stock.resilience.configure(max_concurrent=9)
    stock.resilience.force_open()
    assert [[1, 4, 0]] == seen
    assert {"shop": 9} == metrics.points("command.max_concurrent", command="stock")
    states = metrics.points("circuit.state", command="stock", group="shop")
    assert ["forced_open"] == [state for state, value in states.items() if value]
    assert len(states) == 6


def test_a_command_without_a_limit_has_none_in_the_metrics(registry, collect):
    command(key="free", registry=registry, max_concurrent=None, timeout=None)(lambda: None)
    metrics = collect(registry)
    assert {} == metrics.points("command.max_concurrent")
    assert 1 == len(metrics.points("command.in_flight"))


def test_commands_that_come_and_go_do_so_in_the_metrics(registry, collect):
    metrics = collect(registry)
    assert {} == metrics.points("command.events")
    command(key="late\ud800", registry=registry, group="g", timeout=None)(lambda: None)
    assert {("late\\ud800", "g")} == set(metrics.points("command.in_flight"))
    registry.remove("late\ud800")
    assert {} == metrics.points("command.in_flight")


def test_several_registries_are_exported_together(collect):
    registries = [Registry(clock=ManualClock()) for _ in range(2)]
    for name, registry in zip("ab", registries, strict=True):
        command(key=name, registry=registry, group="g", timeout=None)(lambda: None)()
    assert {("success", "a", "g"), ("success", "b", "g")} <= {
        (event, key, group) for key, event, group in collect(*registries).points("command.events")}


def test_pools_are_exported_by_name(collect):
    registry = Registry()
    slow = command(key="k", registry=registry, group="books", timeout=60.0, pool=ThreadPool(size=3, max_queue=2))(lambda: 1)
    assert slow() == 1
    registry.close()
    metrics = collect(registry)
    assert ({"books": 5}, {"books": 0}) == (metrics.points("pool.max_jobs"), metrics.points("pool.jobs"))


def test_the_units_and_kinds_of_the_instruments(registry, collect):
    command(key="k", registry=registry, timeout=None)(lambda: None)()
    metrics = collect(registry).metrics()
    assert ("s", "{call}", "1") == tuple(metrics[f"resilience.{name}"].unit for name in ("command.latency", "command.events", "circuit.state"))
    assert metrics["resilience.command.events"].data.is_monotonic
    assert not metrics["resilience.command.in_flight"].data.is_monotonic
    assert all(metric.description.endswith(".") for metric in metrics.values())


def test_no_instrument_has_its_kind_in_its_name(registry, collect):
    """Exported to Prometheus, it would be told by promtool not to have it, as a metric of ours would."""
    call = command(key="stock", registry=registry, timeout=None, max_concurrent=Bulkhead(1, max_wait=1.0))(len)
    call("")

    names = collect(registry).metrics().keys()
    assert "resilience.policy.value" in names
    assert not [name for name in names for kind in ("gauge", "counter", "histogram") if kind in name]


def test_nothing_is_read_before_a_collection_nor_any_event_made_for_metrics(registry, collect):
    collect(registry)
    handle = command(key="k", registry=registry, timeout=None)(lambda: None).resilience
    assert not handle._internals.runtime.recorder.totals()[0][0]
    from resilience.registry import table_of
    assert {} == table_of(registry).emitter.listeners


# -- span events


def test_what_happens_to_a_call_becomes_events_of_its_span(registry, spans):
    end = add_span_events(registry)

    @command(key="stock", group="shop", registry=registry, timeout=None, retry=Retry(attempts=2, base=0.5, jitter="none"),
             breaker=CircuitBreaker(min_calls=2), fallback=lambda: 0)
    def stock():
        raise ConnectionError("secret")

    with spans[0].start_as_current_span("request"):
        assert (stock(), stock()) == (0, 0)
    end()
    with spans[0].start_as_current_span("later"):
        stock()
    request, later = spans[1].get_finished_spans()
    told = {"command": "stock", "group": "shop"}
    assert [
        ("call.retried", {**told, "event": "failure", "attempt": 1, "delay": 0.5, "error.type": "ConnectionError"}),
        ("circuit.state_changed", {**told, "state.old": "closed", "state.new": "open", "trigger": "failure_rate", "reason": "2 of 2 calls failed"}),
        ("call.failed", {**told, "event": "failure", "duration": 0.0, "error.type": "ConnectionError"}),
        ("call.fell_back", {**told, "event": "fallback_success"}),
        ("call.rejected", {**told, "event": "short_circuited", "error.type": "CircuitOpenError"}),
        ("call.fell_back", {**told, "event": "fallback_success"}),
    ] == [(event.name.removeprefix("resilience."), {key.removeprefix("resilience."): value for key, value in event.attributes.items()}) for event in request.events]
    assert () == tuple(later.events)
    assert "secret" not in request.to_json()


def test_a_call_on_a_worker_thread_tells_the_span_of_its_caller(spans):
    registry = Registry()
    add_span_events(registry)

    @command(key="stock", registry=registry, group="shop", timeout=60.0)
    def stock():
        raise LookupError

    with spans[0].start_as_current_span("request"), pytest.raises(LookupError):
        stock()
    registry.close()
    assert ["call.failed"] == [name for name, _ in events_of(spans)]


async def test_each_task_tells_its_own_span(registry, spans):
    add_span_events(registry)

    @command(key="stock", registry=registry, group="shop", timeout=None)
    async def stock(number):
        await asyncio.sleep(0)
        raise LookupError

    async def request(number):
        with spans[0].start_as_current_span(f"request {number}"):
            for _ in range(number):
                with pytest.raises(LookupError):
                    await stock(number)

    async with asyncio.TaskGroup() as group:
        for number in range(1, 4):
            group.create_task(request(number))
    assert {f"request {number}": number for number in range(1, 4)} == {
        span.name: len(span.events) for span in spans[1].get_finished_spans()}


async def test_a_hedge_is_told_too(spans):
    registry, release = Registry(), asyncio.Event()
    add_span_events(registry)
    runs = []

    @command(key="stock", registry=registry, group="shop", timeout=None, hedge=Hedge(idempotent=True, delay=0.001))
    async def stock():
        runs.append(None)
        if len(runs) == 1:
            await release.wait()
        return 7

    with spans[0].start_as_current_span("request"):
        assert await stock() == 7
    [(name, attributes)] = events_of(spans)
    assert (name, attributes["attempt"]) == ("call.hedged", 2)


def test_without_a_recording_span_nothing_happens(registry):
    heard = []
    add_span_events(registry)
    registry.subscribe(CallFailed, heard.append)

    @command(key="k", registry=registry, timeout=None, adaptive_limit=AdaptiveLimit())
    def call():
        raise LookupError

    with pytest.raises(LookupError):
        call()
    call.resilience.force_open()
    with pytest.raises(CircuitOpenError):
        call()
    assert 1 == len(heard)
