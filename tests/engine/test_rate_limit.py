"""The rate limit around calls: they wait in order, or are refused, and hold nothing meanwhile; sync and async."""

import asyncio
import threading

import pytest

from resilience import (
    Bulkhead,
    CircuitBreaker,
    ConfigError,
    Pipeline,
    RateLimit,
    RateLimitedError,
    Registry,
    Retry,
    command,
    configure,
    rate_limit,
)
from resilience.testing import assert_counts, assert_idle, virtual_time
from tests.core.hammer import hammer
from tests.drivers.until import until
from tests.forked import forked

KINDS = ["def", "async def", "generator", "async generator", "thread"]


def called(kind, registry, **settings):
    """A function of this kind under *settings*, and a plain way to call it; it returns the time."""
    def plain():
        return registry.clock()

    async def coroutine():
        return registry.clock()

    def generator():
        yield registry.clock()

    async def async_generator():
        yield registry.clock()

    async def first(items):
        return [item async for item in items][0]

    isolation = {"isolation": "thread"} if kind == "thread" else {}
    function = {"def": plain, "thread": plain, "async def": coroutine, "generator": generator,
                "async generator": async_generator}[kind]
    guarded = command(registry=registry, timeout=None, **settings, **isolation)(function)
    return guarded, {"async def": lambda: asyncio.run(guarded()), "generator": lambda: next(iter([*guarded()])),
                     "async generator": lambda: asyncio.run(first(guarded()))}.get(kind, guarded)


@pytest.mark.parametrize("kind", KINDS)
def test_every_flavour_waits_its_turn_and_its_latency_is_without_the_wait(registry, clock, kind):
    guarded, call = called(kind, registry, rate_limit=RateLimit(1, per=2.0, max_wait=10.0))
    began = clock()
    assert [began, began + 2.0, began + 4.0] == [call() for _ in range(3)]
    latency = guarded.resilience.snapshot().latency
    assert (3, True) == (latency.count, latency.p100 < 1e-6)
    registry.close()


@pytest.mark.parametrize("kind", KINDS)
def test_every_flavour_is_refused_and_counted_and_the_probe_comes_back(registry, clock, kind):
    guarded, call = called(kind, registry, rate_limit=RateLimit(1, per=100.0), breaker=CircuitBreaker(min_calls=1))
    call()
    guarded.resilience._runtime.circuit.settle(guarded.resilience._runtime.circuit.acquire(0.0), 1, 0.0, 0.0)
    assert "open" == guarded.resilience.state
    clock.advance(6.0)
    for _ in range(2):
        with pytest.raises(RateLimitedError):
            call()
    assert "half_open" == guarded.resilience.state
    clock.advance(94.0)
    call()
    assert "closed" == guarded.resilience.state
    assert_idle(guarded)
    registry.close()


def test_refusals_are_counted_and_the_fallback_answers(registry):
    @command(registry=registry, timeout=None, rate_limit=RateLimit(2, per=60.0), fallback=lambda: "later")
    def work():
        return "now"

    assert ["now", "now", "later"] == [work() for _ in range(3)]
    assert_counts(work, success=2, rate_limited=1, fallback_success=1)


def test_each_attempt_of_a_retry_meets_it(registry, clock):
    @command(registry=registry, timeout=None, rate_limit=RateLimit(1, per=5.0, max_wait=60.0),
             retry=Retry(attempts=3, base=0.0, jitter="none", budget=None))
    def work():
        began.append(clock())
        raise OSError

    began, start = [], clock()
    with pytest.raises(OSError):  # noqa: PT011 - a bare one
        work()
    assert [start, start + 5.0, start + 10.0] == began


def test_an_open_circuit_uses_nothing_up(registry):
    @command(registry=registry, timeout=None, rate_limit=RateLimit(1, per=60.0), breaker=CircuitBreaker())
    def work():
        return 7

    work.resilience.force_open()
    for _ in range(5):
        with pytest.raises(Exception, match="circuit is open"):
            work()
    work.resilience.release()
    assert 7 == work()


def test_tasks_wait_in_order_hold_no_slot_and_move_up_when_one_is_cancelled():
    async def main():
        loop = asyncio.get_running_loop()
        registry, began = Registry(clock=loop.time), []

        @command(registry=registry, timeout=1.0, max_concurrent=1, rate_limit=RateLimit(1, per=10.0, max_wait=1000.0))
        async def work(n):
            began.append((n, loop.time()))

        start = loop.time()
        tasks = [asyncio.create_task(work(n)) for n in range(5)]
        await asyncio.sleep(12.0)
        assert 0 == work.resilience.snapshot().in_flight
        tasks[3].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert_counts(work, success=sum(1 for n, at in began if at > loop.time() - 9.5), cancelled=0)
        return [(n, round(at - start, 6)) for n, at in began], tasks[3].cancelled()

    assert ([(0, 0.0), (1, 10.0), (2, 20.0), (4, 30.0)], True) == virtual_time(main())


def test_a_random_crowd_of_tasks_is_never_faster_than_the_limit_and_loses_nobody():
    import random

    async def main(seed):
        rng, loop, began = random.Random(seed), asyncio.get_running_loop(), []
        registry = Registry(clock=loop.time)

        @rate_limit(2, per=1.0, burst=rng.choice([1, 2]), max_wait=20.0, registry=registry)
        async def work():
            began.append(loop.time())

        async def caller():
            await asyncio.sleep(rng.uniform(0, 10))
            task = asyncio.create_task(work())
            if rng.random() < 0.3:
                await asyncio.sleep(rng.uniform(0, 5))
                task.cancel()
            return await asyncio.gather(task, return_exceptions=True)

        results = [result for [result] in await asyncio.gather(*(caller() for _ in range(40)))]
        assert len(began) == results.count(None)
        assert all(result is None or isinstance(result, (asyncio.CancelledError, RateLimitedError))
                   for result in results)
        burst = work.resilience.settings.rate_limit.burst
        for i, at in enumerate(began):
            assert all(n + 1 <= burst + (later - at) * 2 + 1e-6 for n, later in enumerate(began[i:]))

    for seed in range(15):
        virtual_time(main(seed))


def test_threads_wait_for_real_and_an_interrupted_one_gives_its_turn_back():
    registry = Registry()
    pace = RateLimit(1, per=0.05, max_wait=60.0)

    @command(registry=registry, timeout=None, rate_limit=pace)
    def work():
        return registry.clock()

    threads, times, began = [threading.Thread(target=lambda: times.append(work())) for _ in range(4)], [], registry.clock()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert all(at > began + n * 0.05 - 0.005 for n, at in enumerate(sorted(times)))  # a starved thread is late, and none early
    assert 4 == len(times)


def test_a_waiting_thread_is_woken_when_the_one_ahead_gives_up():
    registry = Registry()

    @command(registry=registry, timeout=None, rate_limit=RateLimit(1, per=3600.0, max_wait=86_400.0))
    def work():
        return "in"

    limiter, results = work.resilience._runtime.named("rate_limit"), []
    assert "in" == work()
    now = registry.clock()
    ahead = limiter.reserve(now)
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()
    until(lambda: limiter.pace.waiting == 2 and limiter.pace.last.wake is not None)
    behind = limiter.pace.last
    before = behind.at
    limiter.withdraw(ahead, registry.clock())
    assert behind.at < before - 3500
    work.resilience.configure(rate_limit=RateLimit(1000, per=1.0, max_wait=86_400.0))  # its turn comes
    thread.join(30)
    assert ["in"] == results


def test_each_user_has_a_limit_and_methods_have_theirs(registry):
    class Client:
        @rate_limit(1, per=60.0, by=lambda self, user: user, registry=registry)
        def send(self, user):
            return f"to {user}"

    client = Client()
    assert ["to ann", "to bob"] == [client.send("ann"), client.send(user="bob")]
    with pytest.raises(RateLimitedError):
        client.send("ann")


def test_a_function_that_names_the_user_and_raises_comes_through_and_takes_nothing(registry):
    @command(registry=registry, timeout=None, rate_limit=RateLimit(1, per=60.0, by=lambda user: user.name))
    def work(user):
        return 7

    with pytest.raises(AttributeError):
        work(None)
    assert_idle(work)


def test_in_shadow_nobody_waits_and_what_would_be_refused_is_counted(registry, clock):
    @rate_limit(1, per=10.0, max_wait=10.0, registry=registry, shadow=True)
    def work():
        return clock()

    began = clock()
    assert [began] * 4 == [work() for _ in range(4)]
    assert_counts(work, success=4, shadow_rejected=2)


def test_live_changes_and_files_reach_it(registry):
    @command(registry=registry, key="k", timeout=None, rate_limit=RateLimit(1, per=1000.0))
    def work():
        return 7

    work()
    configuration = configure({"commands": {"k": {"rate_limit": {"calls": 1000, "max_wait": 5.0}}}}, registry=registry)
    assert (1000, 1000.0, 5.0) == (work.resilience.settings.rate_limit.calls, work.resilience.settings.rate_limit.per,
                                   work.resilience.settings.rate_limit.max_wait)
    configuration.close()
    work.resilience.configure(rate_limit=RateLimit(7))
    assert 7 == work.resilience.settings.rate_limit.calls
    with pytest.raises(ConfigError, match="no rate_limit to configure"):
        command(registry=registry, key="other")(len).resilience.configure(rate_limit=RateLimit(7))
    for table in ({"defaults": {"rate_limit": {"per": 5.0}}}, {"groups": {"g": {"rate_limit": {"max_wait": 5.0}}}}):
        configure(table, registry=registry).close()  # says nothing to those that have none


def test_a_forked_child_owes_nothing(registry):
    @rate_limit(1, per=1000.0, registry=registry)
    def work():
        return 7

    def child():
        assert 7 == work()

    work()
    assert 0 == forked(child)
    with pytest.raises(RateLimitedError):
        work()


def test_its_place_is_above_the_bulkhead_and_below_the_breaker():
    with pytest.raises(ConfigError, match="RateLimit must stand above Bulkhead"):
        Pipeline(Bulkhead(3), RateLimit(3))
    with pytest.raises(ConfigError, match="CircuitBreaker must stand above RateLimit"):
        Pipeline(RateLimit(3), CircuitBreaker())


def test_threads_through_wrappers_get_no_more_than_the_limit(registry):
    @rate_limit(500, per=1000.0, registry=registry)
    def work():
        begun.append(1)

    def crowd():
        for _ in range(500):
            try:
                work()
            except RateLimitedError:
                continue

    begun = []
    hammer(crowd, threads=8)
    assert 500 == len(begun)


def test_a_limit_that_is_made_to_go_by_keys_does_so_from_then_on(registry):
    @rate_limit(1, per=1000.0, registry=registry)
    def work(user):
        return user

    assert "ann" == work("ann")
    work.resilience.configure(rate_limit=RateLimit(1, per=1000.0, by=lambda user: user))
    assert ["ann", "bob"] == [work("ann"), work("bob")]
    with pytest.raises(RateLimitedError):
        work("ann")
