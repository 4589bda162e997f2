"""Refresh ahead: a hit in the last part of an answer's life renews it in the background, through the whole guard."""

import asyncio
import gc
import random
import subprocess
import sys
import threading
import weakref
from contextvars import ContextVar

import pytest

from resilience import (
    BulkheadFullError,
    Cache,
    CircuitBreaker,
    Fallback,
    Pipeline,
    Registry,
    Retry,
    ThreadPoolClosedError,
    Timeout,
    collapse,
    command,
    deadline,
    request_context,
    retried_by,
)
from resilience.core.outcome import EVENT_NAMES
from resilience.drivers.background_calls import MOST
from resilience.drivers.deadline_context import remaining
from resilience.events import CallFailed, RefreshFailed
from resilience.testing import ManualClock, assert_counts, virtual_time
from tests.drivers.until import until
from tests.forked import forked
from tests.interrupts import interrupted
from tests.seeds import over_seeds


def cache_of(guarded):
    return next(iter(guarded.resilience._runtime.named("cache")))


def idle(guarded):
    """Whether no refresh runs on a thread."""
    background = cache_of(guarded)._background
    return background._slots.in_flight == 0 and not cache_of(guarded)._shared.flights


@pytest.mark.parametrize("kind", ["def", "async def", "thread"])
def test_any_history_is_refreshed_when_a_plain_list_would(kind):
    @over_seeds(6 if kind == "def" else 3)
    def histories(seed):
        rng, runs = random.Random(seed), []
        word = [0]

        def body(key):
            runs.append(key)
            if isinstance(word[0], Exception):
                raise word[0]
            return word[0]

        async def coroutine(key):
            return body(key)

        async def main():
            clock = ManualClock() if kind != "async def" else asyncio.get_running_loop().time
            policy = Cache(ttl=8.0, refresh_ahead=4.0, stale_if_error=rng.choice([0.0, 4.0]))
            policies = [Fallback(lambda key: "fallback"), policy, *([Timeout(60.0)] if kind == "thread" else [])]
            registry = Registry(clock=clock)
            guarded = Pipeline(*policies, registry=registry, key="k")(coroutine if kind == "async def" else body)
            kept, expected_runs, events = {}, 0, dict.fromkeys(["refresh", "refresh_failure", "stale_responses"], 0)
            for step in range(60):
                pause = rng.choice([0.0, 0.25, 1.0, 3.0])
                if kind == "async def":
                    await asyncio.sleep(pause)
                else:
                    clock.advance(pause)
                word[0], key, now = rng.choice([step, None, OSError(step)]), rng.randrange(2), clock()
                answer = kept.get(key)  # value, when it came, when it was last tried
                age = None if answer is None else now - answer[1]
                if age is not None and age < 8.0:
                    wanted = answer[0]
                    if age >= 4.0 and (answer[2] is None or now >= answer[2] + 0.4):
                        answer[2] = now
                        events["refresh"] += 1
                        expected_runs += 1
                        if isinstance(word[0], Exception):
                            events["refresh_failure"] += 1
                        elif word[0] is None:
                            del kept[key]
                        else:
                            kept[key] = [word[0], now, None]
                else:
                    expected_runs += 1
                    wanted = word[0]
                    if isinstance(wanted, Exception):
                        wanted = "fallback"
                        if age is not None and age < 8.0 + policy.stale_if_error:
                            wanted = answer[0]
                            events["stale_responses"] += 1
                    elif wanted is None:
                        kept.pop(key, None)
                    else:
                        kept[key] = [wanted, now, None]
                if kind == "async def":
                    assert wanted == await guarded(key)
                    for _ in range(5):
                        await asyncio.sleep(0)
                else:
                    assert wanted == guarded(key)
                    until(lambda: idle(guarded))  # noqa: B023 - of this round
                assert expected_runs == len(runs)
            totals = guarded.resilience._runtime.recorder.totals()[0]
            assert events == {name: totals[EVENT_NAMES.index(name)] for name in events}
            registry.close()

        virtual_time(main())

    histories()


def test_a_hit_is_answered_at_once_and_many_of_them_start_one_refresh():
    async def main():
        loop, runs = asyncio.get_running_loop(), []

        @command(registry=Registry(clock=loop.time), key="k", timeout=None, cache=Cache(ttl=10.0, refresh_ahead=3.0))
        async def price(sku):
            runs.append(loop.time())
            await asyncio.sleep(1.0)
            return len(runs)

        await price("a")
        await asyncio.sleep(7.0)
        before = loop.time()
        assert [1] * 100 == await asyncio.gather(*(price("a") for _ in range(100)))
        assert before == loop.time()
        await asyncio.sleep(0.5)
        assert 1 == await price("a")
        await asyncio.sleep(1.0)
        assert 2 == await price("a")
        assert 2 == len(runs)
        assert_counts(price, success=2, responses_from_cache=102, refresh=1)

    virtual_time(main())


def test_who_comes_when_the_answer_has_expired_waits_for_the_refresh_that_is_under_way():
    async def main():
        loop, runs = asyncio.get_running_loop(), []

        @command(registry=Registry(clock=loop.time), key="k", timeout=None, cache=Cache(ttl=10.0, refresh_ahead=3.0))
        async def price(sku):
            runs.append(sku)
            await asyncio.sleep(0.0 if len(runs) == 1 else 5.0)
            return len(runs)

        await price("a")
        await asyncio.sleep(9.0)
        assert 1 == await price("a")
        await asyncio.sleep(2.0)
        assert ([2, 2], 2) == (await asyncio.gather(price("a"), price("a")), len(runs))

    virtual_time(main())


def test_a_refresh_that_fails_answers_for_nobody_who_waits_for_it():
    async def main():
        loop, runs = asyncio.get_running_loop(), []

        @command(registry=Registry(clock=loop.time), key="k", timeout=None, cache=Cache(ttl=10.0, refresh_ahead=3.0),
                 fallback=lambda sku: "fallback")
        async def price(sku):
            runs.append(sku)
            if len(runs) > 1:
                await asyncio.sleep(5.0)
                raise OSError
            return 1

        await price("a")
        await asyncio.sleep(9.0)
        assert 1 == await price("a")
        await asyncio.sleep(2.0)
        assert (["fallback"] * 2, 3) == (await asyncio.gather(price("a"), price("a")), len(runs))
        assert_counts(price, failure=2, fallback_success=1, responses_from_cache=1, refresh_failure=1)  # of ten seconds

    virtual_time(main())


@pytest.mark.parametrize("mistake", [OSError("down"), TypeError("mine"), KeyError("ignored")])
def test_what_a_refresh_raises_is_told_and_raised_to_nobody(registry, clock, mistake):
    runs, told, failed = [], [], []
    registry.subscribe(RefreshFailed, told.append)
    registry.subscribe(CallFailed, failed.append)

    @Pipeline(Cache(ttl=10.0, refresh_ahead=3.0), registry=registry, key="k", group="g", ignore=(KeyError,))
    def price(sku):
        runs.append(sku)
        if len(runs) > 1:
            raise mistake
        return 1

    price("a")
    clock.advance(7.0)
    assert 1 == price("a")
    until(lambda: told)
    assert [RefreshFailed("k", "g", mistake, 7.0)] == told
    assert (not isinstance(mistake, KeyError)) == bool(failed)
    until(lambda: idle(price))
    assert (1, 2) == (price("a"), len(runs))  # not at once again
    clock.advance(0.3)
    assert 1 == price("a")
    until(lambda: len(told) == 2)
    registry.close()


def test_breaker_and_statistics_count_it_and_an_open_circuit_refuses_it(registry, clock):
    down, told = [False], []
    registry.subscribe(RefreshFailed, told.append)

    @command(registry=registry, key="k", timeout=None, breaker=CircuitBreaker(min_calls=2, open_for=100.0),
             cache=Cache(ttl=10.0, refresh_ahead=5.0))
    def price(sku):
        if down[0]:
            raise OSError
        return 1

    price("a")
    down[0] = True
    for n in range(1, 5):
        clock.advance(5.0 if n == 1 else 0.5)
        assert 1 == price("a")
        until(lambda: len(told) == n)  # noqa: B023
    assert ["OSError", *["CircuitOpenError"] * 3] == [type(each.error).__name__ for each in told]
    assert "open" == price.resilience.state
    assert_counts(price, success=1, failure=1, short_circuited=3, responses_from_cache=4, refresh=4, refresh_failure=4)
    registry.close()


def test_without_a_thread_the_hit_is_answered_all_the_same_and_a_later_one_tries_again(registry, clock):
    runs, told = [], []
    registry.subscribe(RefreshFailed, told.append)

    @command(registry=registry, key="k", timeout=None, cache=Cache(ttl=10.0, refresh_ahead=5.0))
    def price(sku):
        runs.append(sku)
        return len(runs)

    price("a")
    clock.advance(5.0)
    registry.close()
    assert [1, 1] == [price("a"), price("a")]
    clock.advance(0.5)
    assert 1 == price("a")
    assert [ThreadPoolClosedError] * 2 == [type(each.error) for each in told]
    assert_counts(price, success=1, responses_from_cache=3, refresh=0, refresh_failure=2)


def test_threads_of_refreshes_that_hang_are_bounded_and_no_thread_is_left(clock):
    registry, go, runs, told = Registry(clock=clock), threading.Event(), [], []
    registry.subscribe(RefreshFailed, told.append)

    @command(registry=registry, key="k", timeout=None, max_concurrent=None, cache=Cache(ttl=10.0, refresh_ahead=5.0))
    def price(sku):
        runs.append(sku)
        if len(runs) > 100:
            go.wait(60)
        return sku

    for sku in range(100):
        price(sku)
    clock.advance(5.0)
    before = set(threading.enumerate())  # those of other tests may end meanwhile
    assert list(range(100)) == [price(sku) for sku in range(100)]
    until(lambda: len(runs) == 100 + MOST)
    assert (MOST, 100 - MOST) == (len(set(threading.enumerate()) - before), len(told))
    assert {BulkheadFullError} == {type(each.error) for each in told}
    go.set()
    until(lambda: idle(price))
    registry.close()
    until(lambda: not set(threading.enumerate()) - before)


def test_tasks_of_refreshes_that_hang_are_bounded():
    async def main():
        loop, runs = asyncio.get_running_loop(), []

        @command(registry=Registry(clock=loop.time), key="k", timeout=None, max_concurrent=None,
                 cache=Cache(ttl=10.0, refresh_ahead=5.0))
        async def price(sku):
            runs.append(sku)
            if len(runs) > 100:
                await asyncio.sleep(1000.0)
            return sku

        for sku in range(100):
            await price(sku)
        await asyncio.sleep(5.0)
        assert list(range(100)) == [await price(sku) for sku in range(100)]
        await asyncio.sleep(0.0)
        assert (100 + MOST, MOST + 1) == (len(runs), len(asyncio.all_tasks()))

    virtual_time(main())


def test_a_full_bulkhead_refuses_a_refresh_and_the_hit_is_answered():
    async def main():
        loop = asyncio.get_running_loop()

        @command(registry=Registry(clock=loop.time), key="k", timeout=None, max_concurrent=1,
                 cache=Cache(ttl=10.0, refresh_ahead=5.0))
        async def price(sku):
            await asyncio.sleep(0.0 if sku == "a" else 2.0)
            return loop.time()

        first = await price("a")
        await asyncio.sleep(5.0)
        other = asyncio.create_task(price("b"))
        await asyncio.sleep(0.0)
        assert first == await price("a")
        await other
        assert_counts(price, success=2, semaphore_rejected=1, responses_from_cache=1, refresh=1, refresh_failure=1)
        assert first == await price("a")
        await asyncio.sleep(1.0)
        assert first < await price("a")

    virtual_time(main())


_language = ContextVar("language", default="en")


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_it_sees_its_callers_context_but_neither_a_deadline_nor_a_retry_of_theirs(clock, kind):
    registry, seen = Registry(clock=clock), []

    def body(sku):
        seen.append((_language.get(), remaining(), retried_by()))

    async def coroutine(sku):
        body(sku)
        return sku

    def plain(sku):
        body(sku)
        return sku

    price = Pipeline(Cache(ttl=10.0, refresh_ahead=5.0), registry=registry)(plain if kind == "def" else coroutine)
    outer = Pipeline(Retry(), registry=registry, key="outer")

    async def main():
        await price("a")
        clock.advance(5.0)
        with deadline(1.0, clock=clock):
            await outer(outer_call)()
        while len(seen) < 2:
            await asyncio.sleep(0)

    async def outer_call():
        _language.set("ko")
        return await price("a")

    def outer_plain():
        _language.set("ko")
        return price("a")

    if kind == "async def":
        asyncio.run(main())
    else:
        price("a")
        clock.advance(5.0)
        with deadline(1.0, clock=clock):
            outer(outer_plain)()
        until(lambda: len(seen) == 2)
        registry.close()
    assert ("ko", None, None) == seen[1]
    _language.set("en")


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_what_was_cleared_or_replaced_while_a_refresh_ran_stays_so(clock, kind):
    registry, runs = Registry(clock=clock), []
    go = threading.Event()

    def plain(sku):
        runs.append(sku)
        run = len(runs)
        if run == 2:
            go.wait(60)
        return run

    async def coroutine(sku):
        runs.append(sku)
        run = len(runs)
        while run == 2 and not go.is_set():
            await asyncio.sleep(0)
        return run

    guarded = Pipeline(Cache(ttl=10.0, refresh_ahead=5.0), registry=registry)(plain if kind == "def" else coroutine)

    async def main():
        call = guarded if kind == "async def" else lambda sku: asyncio.sleep(0, guarded(sku))
        assert 1 == await call("a")
        clock.advance(5.0)
        assert 1 == await call("a")
        while len(runs) < 2:
            await asyncio.sleep(0)
        guarded.resilience.clear_cache()
        assert 3 == await call("a")
        go.set()
        if kind == "def":
            until(lambda: idle(guarded))
        for _ in range(5):
            await asyncio.sleep(0)
        assert 3 == await call("a")

    asyncio.run(main())
    registry.close()


def test_a_refresh_that_the_newer_answer_of_another_loop_overtook_is_not_kept(clock):
    runs, go = [], []

    @Pipeline(Cache(ttl=10.0, refresh_ahead=5.0), registry=Registry(clock=clock))
    async def price(sku):
        runs.append(sku)
        run = len(runs)
        while run == 2 and not go:
            await asyncio.sleep(0)
        return run

    async def refresh():
        clock.advance(5.0)
        assert 1 == await price("a")
        await asyncio.sleep(0)
        clock.advance(5.0)  # it has expired
        thread = threading.Thread(target=lambda: asyncio.run(price("a")))
        thread.start()
        thread.join(60)
        go.append(True)
        for _ in range(5):
            await asyncio.sleep(0)
        assert 3 == await price("a")

    asyncio.run(price("a"))
    asyncio.run(refresh())


def test_none_that_is_not_kept_ends_the_older_answer(registry, clock):
    runs = []

    @command(registry=registry, key="k", timeout=None, cache=Cache(ttl=10.0, refresh_ahead=5.0))
    def price(sku):
        runs.append(sku)
        return 1 if len(runs) == 1 else None

    price("a")
    clock.advance(5.0)
    assert 1 == price("a")
    until(lambda: idle(price) and len(runs) == 2)
    assert (None, 3) == (price("a"), len(runs))
    registry.close()


def test_an_exception_that_is_kept_is_a_new_answer_and_is_refreshed_like_one(registry, clock):
    runs = []

    @command(registry=registry, key="k", timeout=None, fallback=lambda sku: "none",
             cache=Cache(ttl=10.0, refresh_ahead=5.0, cache_exceptions=(KeyError,)))
    def price(sku):
        runs.append(sku)
        if len(runs) == 2:
            raise KeyError(sku)
        return len(runs)

    price("a")
    given = []
    for n in (2, 3):
        clock.advance(5.0)
        given.append(price("a"))
        until(lambda: idle(price) and len(runs) == n)  # noqa: B023
    assert ([1, "none"], 3) == (given, price("a"))
    assert 0 == price.resilience.snapshot().counts["refresh_failure"]
    registry.close()


def test_the_end_of_the_loop_is_the_end_of_its_refreshes(clock):
    runs = []

    @Pipeline(Cache(ttl=10.0, refresh_ahead=5.0), registry=Registry(clock=clock))
    async def price(sku):
        runs.append(sku)
        if len(runs) == 2:
            await asyncio.sleep(1000.0)
        return len(runs)

    async def twice():
        await price("a")
        clock.advance(5.0)
        await price("a")
        await asyncio.sleep(0)

    asyncio.run(twice())
    assert (2, 0, set()) == (len(runs), len(cache_of(price)._shared.flights), cache_of(price)._background._tasks)
    clock.advance(5.0)
    assert 3 == asyncio.run(price("a"))


def test_refreshes_that_a_closed_loop_left_pending_take_no_room_for_ever(clock):
    stuck = [True]

    @Pipeline(Cache(ttl=10.0, refresh_ahead=5.0), registry=Registry(clock=clock))
    async def price(sku):
        if stuck[0] and clock() >= 5.0:
            await asyncio.sleep(1000.0)
        return clock()

    async def hits():
        for sku in range(MOST):
            await price(sku)
        clock.advance(5.0)
        for sku in range(MOST):
            await price(sku)
        await asyncio.sleep(0)

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)
    loop.run_until_complete(hits())
    loop.close()
    stuck[0] = False
    clock.advance(1.0)

    async def again():
        assert 0.0 == await price(0)
        for _ in range(5):
            await asyncio.sleep(0)
        assert 6.0 == await price(0)

    asyncio.run(again())
    gc.collect()


def test_the_interpreter_ends_while_a_refresh_hangs():
    program = """
import threading, time
from resilience import Cache, Registry, command
from resilience.testing import ManualClock
clock = ManualClock()
began = threading.Event()
@command(registry=Registry(clock=clock), timeout=None, cache=Cache(ttl=10.0, refresh_ahead=5.0))
def price(sku):
    if clock():
        began.set()
        time.sleep(1000)
    return sku
price("a")
clock.advance(5.0)
print(price("a"))
began.wait(30)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (0, "a\n", "") == (ended.returncode, ended.stdout, ended.stderr)


def test_a_child_refreshes_with_threads_of_its_own(clock):
    registry, go, runs = Registry(clock=clock), threading.Event(), []

    @command(registry=registry, key="k", timeout=None, cache=Cache(ttl=10.0, refresh_ahead=5.0))
    def price(sku):
        runs.append(sku)
        if len(runs) > 1:
            go.wait(60)
        return len(runs)

    price("a")
    clock.advance(5.0)
    price("a")
    until(lambda: len(runs) == 2)

    def child():
        go.set()
        assert 3 == price("a")
        clock.advance(5.0)
        assert 3 == price("a")
        until(lambda: price("a") == 4)

    assert 0 == forked(child)
    go.set()
    until(lambda: idle(price))
    registry.close()


def test_an_interrupt_anywhere_of_a_hit_that_is_due_leaves_nothing_that_others_would_wait_for(clock):
    registry = Registry(clock=clock)

    @command(registry=registry, key="k", timeout=None, cache=Cache(ttl=1000.0, refresh_ahead=900.0))
    def price(sku):
        return clock()

    price("a")
    clock.advance(200.0)
    store, points = cache_of(price)._shared.store, 0

    def work():
        store.find(("a",)).put_off(0.0)
        price("a")

    for points in interrupted(work):  # noqa: B007 - counted
        until(lambda: idle(price))
        price("a")
        until(lambda: idle(price))
    assert points > 10
    registry.close()


def test_its_seconds_are_changed_live(registry, clock):
    runs = []

    @command(registry=registry, key="k", timeout=None, cache=Cache(ttl=10.0))
    def price(sku):
        runs.append(sku)
        return len(runs)

    price("a")
    clock.advance(5.0)
    price("a")
    price.resilience.configure(cache=Cache(ttl=10.0, refresh_ahead=5.0))
    assert 1 == price("a")
    until(lambda: len(runs) == 2 and idle(price))
    assert 2 == price("a")
    clock.advance(9.0)
    price.resilience.configure(cache=Cache(ttl=10.0))
    assert (2, 2) == (price("a"), len(runs))
    registry.close()


def test_a_function_that_is_dropped_is_not_held_by_its_refreshes(registry, clock):
    runs = []

    def refreshed():
        @Pipeline(Cache(ttl=10.0, refresh_ahead=5.0), registry=registry)
        def price(sku):
            runs.append(sku)
            return sku

        price("a")
        clock.advance(5.0)
        price("a")
        until(lambda: len(runs) == 2 and idle(price))
        return weakref.ref(price)

    gone = refreshed()
    until(lambda: gc.collect() >= 0 and gone() is None)
    registry.close()


def test_what_is_collapsed_below_a_cache_is_refreshed_and_answered_for_too():
    async def main():
        loop, batches = asyncio.get_running_loop(), []

        @collapse(window=0.5)
        @command(registry=Registry(clock=loop.time), key="batch", timeout=None)
        async def prices(skus):
            batches.append(sorted(skus))
            if len(batches) > 2:
                raise OSError
            return {sku: (sku, len(batches)) for sku in skus}

        price = Pipeline(Cache(ttl=10.0, refresh_ahead=5.0, stale_if_error=60.0), registry=Registry(clock=loop.time),
                         key="k")(prices)
        await asyncio.gather(price("a"), price("b"))
        await asyncio.sleep(6.0)
        assert [("a", 1), ("b", 1)] == await asyncio.gather(price("a"), price("b"))
        await asyncio.sleep(1.0)
        assert [("a", 2), ("b", 2)] == await asyncio.gather(price("a"), price("b"))
        await asyncio.sleep(20.0)
        assert [("a", 2), ("b", 2)] == await asyncio.gather(price("a"), price("b"))
        assert [["a", "b"]] * 3 == batches
        assert_counts(price, failure=2, stale_responses=2)

    virtual_time(main())


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_each_request_and_each_key_refresh_their_own(clock, kind):
    registry, runs = Registry(clock=clock), []

    def plain(sku):
        runs.append(sku)
        return len(runs)

    async def coroutine(sku):
        return plain(sku)

    guarded = Pipeline(Cache(ttl=10.0, refresh_ahead=5.0, scope="request"),
                       registry=registry)(plain if kind == "def" else coroutine)

    async def main():
        call = guarded if kind == "async def" else lambda sku: asyncio.sleep(0, guarded(sku))
        with request_context():
            assert 1 == await call("a")
            clock.advance(5.0)
            assert 1 == await call("a")
            while len(runs) < 2:
                await asyncio.sleep(0)
            if kind == "def":
                until(lambda: idle(guarded))
            for _ in range(5):
                await asyncio.sleep(0)
            assert 2 == await call("a")
        with request_context():
            assert 3 == await call("a")

    asyncio.run(main())
    registry.close()
