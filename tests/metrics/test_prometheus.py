"""The Prometheus collector, read back by prometheus_client's own parser."""

import asyncio
import threading

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from resilience import AdaptiveLimit, CircuitBreaker, Registry, ThreadPool, collapse, command
from resilience.core.outcome import EVENT_NAMES
from resilience.metrics.prometheus import Collector
from tests.drivers.until import until


def scrape(registry):
    """{metric name: {labels: value}} as a Prometheus server would read it."""
    exposed = CollectorRegistry()
    exposed.register(Collector(registry))
    families = text_string_to_metric_families(generate_latest(exposed).decode())
    return {(sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples}


def value(samples, name, **labels):
    return samples[(name, *sorted(labels.items()))]


def test_every_event_of_every_command_is_a_counter(registry):
    command(key="k", group="g", registry=registry, timeout=None)(len)("abc")

    samples = scrape(registry)

    for event in EVENT_NAMES:
        assert (event == "success") == value(samples, "resilience_command_events_total", command="k", group="g", event=event)


def test_counters_never_fall_when_windows_roll_or_are_reset(registry, clock):
    call = command(key="k", group="g", registry=registry, timeout=None)(len)
    for _ in range(5):
        for _ in range(7):
            call("")
        clock.advance(25.0)
    call.resilience.reset()

    samples = scrape(registry)

    assert 35 == value(samples, "resilience_command_events_total", command="k", group="g", event="success")
    assert 35 == value(samples, "resilience_command_latency_seconds_count", command="k", group="g")
    assert 0 == call.resilience.snapshot().counts["success"]


def test_the_latency_histogram_is_cumulative_and_sums_up(registry, clock):
    @command(key="k", group="g", registry=registry, timeout=None)
    def call(seconds):
        clock.advance(seconds)

    for seconds in (0.0007, 0.003, 0.03, 0.3, 3.0, 30.0):
        call(seconds)

    samples = scrape(registry)

    def below(le):
        return value(samples, "resilience_command_latency_seconds_bucket", command="k", group="g", le=le)

    assert [1, 2, 3, 4, 5, 6] == [below(le) for le in ("0.001", "0.005", "0.05", "0.5", "5", "+Inf")]
    assert pytest.approx(33.3337) == value(samples, "resilience_command_latency_seconds_sum", command="k", group="g")


def test_exactly_one_state_is_1(registry, clock):
    @command(key="k", group="g", registry=registry, timeout=None, breaker=CircuitBreaker(min_calls=1))
    def call():
        raise OSError

    with pytest.raises(OSError):
        call()
    states = {name[-1][1]: v for name, v in scrape(registry).items() if name[0] == "resilience_circuit_state"}

    assert 1 == sum(states.values())
    assert 1 == states["open"]


@pytest.mark.parametrize("name", ['"quotes"', "<b>", "two\nlines", "back\\slash", "x" * 500, "\ud800 lone"])
def test_any_name_can_be_scraped(registry, name):
    command(key=name, group=name, registry=registry, timeout=None)(len)

    labels = {dict(key[1:])["command"] for key in scrape(registry)}

    assert {name.encode("utf-8", "backslashreplace").decode()} == labels


def test_registering_reads_no_command(registry):
    """An unlabelled describe() makes prometheus_client call collect() at registration."""

    class Unreadable(Registry):
        def __iter__(self):
            raise AssertionError("read at registration")

    CollectorRegistry(auto_describe=True).register(Collector(Unreadable()))


def test_a_removed_command_leaves_the_exporter(registry):
    command(key="k", registry=registry, timeout=None)(len)
    registry.remove("k")

    assert {} == scrape(registry)


def test_how_many_may_run_at_once_is_shown_of_those_that_have_a_limit(registry):
    command(key="free", group="g", registry=registry, max_concurrent=None, timeout=None)(len)
    command(key="bound", group="g", registry=registry, max_concurrent=7, timeout=None)(len)
    command(key="found", group="g", registry=registry, adaptive_limit=AdaptiveLimit(initial=13), timeout=None)(len)

    found = {dict(name[1:])["command"]: v for name, v in scrape(registry).items()
             if name[0] == "resilience_command_max_concurrent"}

    assert {"bound": 7, "found": 13} == found


def test_a_pool_shows_how_full_it_is(registry):
    go, began = threading.Event(), threading.Event()

    @command(group='the "pool"', registry=registry, timeout=30.0, pool=ThreadPool(size=2, max_queue=3))
    def work():
        began.set()
        go.wait(10)

    caller = threading.Thread(target=work)
    caller.start()
    assert began.wait(10)
    busy = scrape(registry)
    go.set()
    caller.join()
    until(lambda: not work.resilience.pool.admitted)
    idle = scrape(registry)

    names = ("threads", "jobs", "max_jobs", "completed_total")
    assert [1, 1, 5, 0] == [value(busy, f"resilience_pool_{name}", pool='the "pool"') for name in names]
    assert [1, 0, 5, 1] == [value(idle, f"resilience_pool_{name}", pool='the "pool"') for name in names]


def test_batches_and_their_items_are_counted_for_ever(registry, clock):
    @collapse(max_batch=2)
    @command(registry=registry, timeout=None)
    async def lengths(words):
        return [len(word) for word in words]

    async def main():
        for _ in range(3):
            assert [2, 2, 1] == await asyncio.gather(lengths("bb"), lengths("bb"), lengths("a"))
            clock.advance(100.0)

    asyncio.run(main())

    samples, name = scrape(registry), lengths.__qualname__
    found = {key[0]: v for key, v in samples.items() if name in dict(key[1:]).get("function", "")}
    assert {"resilience_collapse_items_total": 6, "resilience_collapse_batches_total": 3,
            "resilience_collapse_shared_total": 3} == found
