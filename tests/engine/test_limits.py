"""Adaptive limit and throttle around calls: refused, queued, counted, and given back, sync and async."""

import asyncio
import threading

import pytest

from resilience import (
    AdaptiveLimit,
    Bulkhead,
    BulkheadFullError,
    CircuitBreaker,
    ConfigError,
    Pipeline,
    Registry,
    Throttle,
    ThrottledError,
    Timeout,
    adaptive_limit,
    command,
    throttle,
)
from resilience.testing import assert_counts, virtual_time
from tests.drivers.until import until
from tests.interrupts import interrupted

TWO = AdaptiveLimit(initial=2, max_limit=2)


def test_a_call_beyond_the_limit_is_refused_and_counted(registry):
    @command(registry=registry, timeout=None, adaptive_limit=TWO)
    def nested(depth):
        return nested(depth - 1) if depth else "in"

    assert "in" == nested(1)
    with pytest.raises(BulkheadFullError):
        nested(2)

    snapshot = nested.resilience.snapshot()
    assert (0, 2, 2) == (snapshot.in_flight, snapshot.max_in_flight, snapshot.max_concurrent)
    assert 1 == snapshot.counts["semaphore_rejected"]


async def held_and_waiting(registry, queue):
    go = asyncio.Event()

    @command(registry=registry, timeout=None, adaptive_limit=AdaptiveLimit(initial=1, max_limit=1, max_queue=queue))
    async def work(n):
        await go.wait()
        return n

    tasks = [asyncio.create_task(work(n)) for n in range(3)]
    for _ in range(5):
        await asyncio.sleep(0)
    return work, go, tasks


def test_a_task_waits_its_turn_and_one_too_many_does_not(registry):
    async def main():
        work, go, tasks = await held_and_waiting(registry, queue=1)
        with pytest.raises(BulkheadFullError):
            await tasks[2]
        go.set()
        assert [0, 1] == await asyncio.gather(*tasks[:2])
        assert 0 == work.resilience.snapshot().in_flight

    virtual_time(main())


def test_a_task_gives_up_waiting_when_its_time_is_up(registry):
    async def main():
        work, go, tasks = await held_and_waiting(registry, queue=2)
        await asyncio.sleep(0.2)
        assert [BulkheadFullError] * 2 == [type(task.exception()) for task in tasks[1:]]
        go.set()
        assert 0 == await tasks[0]

    virtual_time(main())


def test_a_cancelled_waiter_leaves_its_place_to_the_next(registry):
    async def main():
        work, go, tasks = await held_and_waiting(registry, queue=2)
        tasks[1].cancel()
        go.set()
        assert [0, 2] == [await tasks[0], await tasks[2]]
        assert (0, 1) == (work.resilience.snapshot().in_flight, work.resilience.snapshot().counts["cancelled"])

    virtual_time(main())


def test_a_thread_waits_its_turn(registry):
    go, results = threading.Event(), []

    @command(registry=registry, timeout=None,
             adaptive_limit=AdaptiveLimit(initial=1, max_limit=1, max_queue=1, max_queue_for=10.0))
    def work(n):
        go.wait(10)
        return n

    threads = [threading.Thread(target=lambda n=n: results.append(work(n))) for n in range(2)]
    for thread in threads:
        thread.start()
        until(lambda: work.resilience.snapshot().in_flight)
    until(lambda: work.resilience._runtime.named("adaptive_limit").waiting)
    go.set()
    for thread in threads:
        thread.join(10)

    assert [0, 1] == sorted(results)
    assert 0 == work.resilience.snapshot().in_flight


def test_what_is_important_may_use_what_is_kept_from_the_rest(registry):
    limit = AdaptiveLimit(initial=10, max_limit=10, reserved=0.5, priorities=lambda depth, level: level)

    @command(registry=registry, timeout=None, adaptive_limit=limit)
    def nested(depth, level):
        return nested(depth - 1, level) if depth else "in"

    assert "in" == nested(4, 1)
    with pytest.raises(BulkheadFullError):  # the tenth grant: every twentieth is for the less important
        nested(5, 1)
    assert "in" == nested(9, 0)
    with pytest.raises(TypeError, match="whole number"):
        nested(0, "high")
    assert 0 == nested.resilience.snapshot().in_flight


def test_the_limit_falls_while_calls_are_lost_and_is_shown():
    async def main():
        @adaptive_limit(registry=Registry(clock=asyncio.get_running_loop().time), initial=20, slow_call=1.0)
        async def slow():
            await asyncio.sleep(2.0)

        async def caller():
            for _ in range(10):
                try:
                    await slow()
                except BulkheadFullError:
                    await asyncio.sleep(0.5)

        await asyncio.gather(*(caller() for _ in range(40)))
        return slow.resilience.snapshot()

    snapshot = virtual_time(main())

    assert snapshot.max_concurrent < 20
    assert 0 == snapshot.in_flight


@pytest.mark.parametrize("flavour", ["sync", "thread", "generator"])
def test_no_interrupt_costs_a_permit(registry, flavour):
    guard = command(registry=registry, timeout=5.0 if flavour == "thread" else None, adaptive_limit=TWO,
                    throttle=Throttle())

    def plain():
        return [1]

    def generator():
        yield 1

    guarded = guard(generator if flavour == "generator" else plain)
    for _ in interrupted(lambda: list(guarded())):
        until(lambda: 0 == guarded.resilience.snapshot().in_flight)


def test_a_target_that_accepts_nothing_is_spared(registry):
    @command(registry=registry, timeout=None, breaker=None, throttle=Throttle(min_calls=4))
    def fails(error=OSError):
        if error:
            raise error

    refused = 0
    for _ in range(400):
        try:
            fails()
        except OSError:
            pass
        except ThrottledError as error:
            refused += 1
            assert fails.resilience.key == error.key
    assert 200 < refused < 400
    assert_counts(fails, failure=400 - refused, throttled=refused)


def test_a_target_that_accepts_all_is_never_throttled(registry):
    @throttle(registry=registry, key="fine")
    def fine():
        return 1

    assert [1] * 1000 == [fine() for _ in range(1000)]


@pytest.mark.parametrize("flavour", ["async", "thread"])
def test_a_throttled_call_takes_nothing(registry, flavour):
    guard = command(registry=registry, timeout=5.0, throttle=Throttle(min_calls=1, max_rejection_rate=0.999, k=1.0),
                    breaker=CircuitBreaker(min_calls=1000), max_concurrent=1)

    def work():
        raise OSError

    async def awork():
        raise OSError

    guarded = guard(awork if flavour == "async" else work)
    for _ in range(50):
        with pytest.raises((OSError, ThrottledError)):
            asyncio.run(guarded()) if flavour == "async" else guarded()
        until(lambda: 0 == guarded.resilience.snapshot().in_flight)
    assert guarded.resilience.snapshot().counts["throttled"]


def test_live_changes(registry):
    @command(registry=registry, timeout=None, throttle=Throttle(), adaptive_limit=TWO)
    def guarded():
        pass

    guarded.resilience.configure(adaptive_limit=AdaptiveLimit(initial=5, min_limit=5, max_limit=5), throttle=Throttle(k=3.0))
    assert 5 == guarded.resilience.snapshot().max_concurrent
    for bad in (dict(adaptive_limit=3), dict(throttle=3)):
        with pytest.raises(ConfigError):
            guarded.resilience.configure(**bad)

    @command(key="plain", registry=registry, timeout=None)
    def plain():
        pass

    with pytest.raises(ConfigError):
        plain.resilience.configure(throttle=Throttle())


@pytest.mark.parametrize(("settings", "option"), [
    (dict(adaptive_limit=TWO, max_concurrent=3), "adaptive_limit"),
    (dict(adaptive_limit=AdaptiveLimit(max_queue=3), timeout=1.0), "max_queue"),
    (dict(adaptive_limit=AdaptiveLimit(priorities=len), isolation="thread"), "priorities"),
])
def test_contradictions_are_refused_by_name(registry, settings, option):
    with pytest.raises(ConfigError) as refused:
        command(registry=registry, **{"timeout": None, **settings})(lambda: None)

    assert option == refused.value.option


@pytest.mark.parametrize("wrong", [
    (Throttle(), CircuitBreaker()), (Bulkhead(), Throttle()), (Timeout(1.0), AdaptiveLimit()),
    (Bulkhead(), AdaptiveLimit()), (AdaptiveLimit(), Bulkhead())])
def test_an_impossible_order_is_refused(registry, wrong):
    with pytest.raises(ConfigError):
        Pipeline(*wrong, registry=registry)
