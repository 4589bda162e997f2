"""Cached calls: beside a plain model, one execution for equal calls at once, and nobody left waiting."""

import asyncio
import contextlib
import gc
import os
import random
import threading
import traceback
import weakref

import pytest

from resilience import (
    BulkheadFullError,
    Cache,
    CircuitBreaker,
    CircuitOpenError,
    ConfigError,
    Fallback,
    Pipeline,
    Registry,
    Retry,
    Timeout,
    cache,
    command,
    configure,
    explain,
    request_context,
)
from resilience.testing import assert_counts, restored, virtual_time
from tests.drivers.until import until
from tests.forked import forked
from tests.interrupts import interrupted
from tests.seeds import over_seeds

KINDS = ["def", "async def"]


def called(kind, decorate, body):
    """A plain way to call *body* guarded as a function of this kind, and the guarded function."""
    if kind == "def":
        def plain(*args, **kwargs):
            return body(*args, **kwargs)

        guarded = decorate(plain)
        return guarded, guarded

    async def coroutine(*args, **kwargs):
        return body(*args, **kwargs)

    guarded = decorate(coroutine)
    runner = asyncio.Runner()
    return guarded, lambda *args, **kwargs: runner.run(guarded(*args, **kwargs))


@pytest.fixture
def call_as(request):
    """called(), and its loops closed at the end."""
    with contextlib.ExitStack() as stack:

        def make(kind, decorate, body):
            guarded, call = called(kind, decorate, body)
            if kind != "def":
                stack.callback(call.__closure__[1].cell_contents.close)
            return guarded, call

        yield make


# -- histories


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(40))
def test_any_history_of_calls_runs_the_function_when_a_plain_dict_would(registry, clock, call_as, kind, seed):
    rng, runs = random.Random(seed), []
    policy = Cache(ttl=rng.choice([None, 2.0, 10.0]), max_size=1000, cache_none=rng.random() < 0.5,
                   cache_exceptions=rng.choice([(), (KeyError,)]))

    def body(key):
        runs.append(key)
        if key % 5 == 0:
            return None
        if key % 5 == 1:
            raise KeyError(key)
        if key % 5 == 2:
            raise OSError(key)
        return (key, len(runs))

    guarded, call = call_as(kind, Pipeline(policy, registry=registry, key="k"), body)
    kept, hits = {}, 0
    for _ in range(300):
        clock.advance(rng.choice([0.0, 0.5, rng.expovariate(1.0)]))
        key, before = rng.randrange(12), len(runs)
        if rng.random() < 0.02:
            guarded.resilience.clear_cache()
            kept.clear()
        try:
            outcome = call(key)
        except (KeyError, OSError) as error:
            outcome = (type(error), error.args)
        fresh = key not in kept or (policy.ttl is not None and clock() >= kept[key][0] + policy.ttl)
        assert fresh == (len(runs) > before)
        if not fresh:
            hits += 1
            assert kept[key][1] == outcome
            continue
        keeps = key % 5 in (3, 4) or (key % 5 == 0 and policy.cache_none) or (key % 5 == 1 and policy.cache_exceptions)
        if keeps:
            kept[key] = (clock(), outcome)
        else:
            kept.pop(key, None)
    assert (hits, len(runs)) == (guarded.resilience._runtime.recorder.totals()[0][13],
                                 sum(guarded.resilience._runtime.recorder.totals()[0][:2]))


@over_seeds(40)
def test_any_history_of_tasks_gets_right_answers_and_leaves_nobody_waiting(seed):
    rng = random.Random(seed)

    async def main():
        registry = Registry(clock=asyncio.get_running_loop().time)
        under_way, most = {}, 0

        async def fn(key):
            nonlocal most
            under_way[key] = under_way.get(key, 0) + 1
            most = max(most, under_way[key])
            try:
                await asyncio.sleep(rng.expovariate(2.0))
                if rng.random() < 0.2:
                    raise OSError(key)
                return [key]
            finally:
                under_way[key] -= 1

        guarded = Pipeline(Cache(ttl=1.0), registry=registry, key="k")(fn)

        async def caller(key):
            with contextlib.suppress(OSError):
                assert [key] == await guarded(key)

        tasks = []
        for _ in range(200):
            tasks.append(asyncio.create_task(caller(rng.randrange(5))))
            await asyncio.sleep(rng.expovariate(20.0))
            if rng.random() < 0.2:
                rng.choice(tasks).cancel()
            if rng.random() < 0.02:
                guarded.resilience.clear_cache()
        done, _ = await asyncio.wait(tasks)
        assert all(task.cancelled() or task.exception() is None for task in done)
        assert {asyncio.current_task()} == asyncio.all_tasks()
        assert {0} == set(under_way.values())
        return most

    assert virtual_time(main()) <= 3  # two only where the cache was cleared in between


# -- one execution for equal calls at once


def test_of_many_threads_one_executes(registry):
    go, runs = threading.Event(), []

    @cache(registry=registry, key="k")
    def slow(key):
        runs.append(key)
        go.wait(30)
        return object()

    answers = []
    threads = [threading.Thread(target=lambda: answers.append(slow("a"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: len(next(iter(slow.resilience._runtime.named("cache")))._shared.flights._leading["a",].group().gates) == 7)
    go.set()
    for thread in threads:
        thread.join(30)
    assert (["a"], 8, 1) == (runs, len(answers), len(set(map(id, answers))))
    assert_counts(slow, success=1, responses_from_cache=7)


def test_of_many_tasks_one_executes_and_its_error_is_everybodys_own():
    async def main():
        registry, runs = Registry(clock=asyncio.get_running_loop().time), []

        @cache(registry=registry)
        async def slow(key):
            runs.append(key)
            await asyncio.sleep(1.0)
            raise OSError(key)

        found = await asyncio.gather(*(slow("a") for _ in range(50)), return_exceptions=True)
        assert (["a"], 50) == (runs, len(set(map(id, found))))
        assert all(("a",) == error.args and "slow" in "".join(traceback.format_tb(error.__traceback__)) for error in found)
        assert_counts(slow, failure=1, responses_from_cache=49)

    virtual_time(main())


def test_a_leader_that_is_cancelled_harms_nobody():
    async def main():
        runs = []

        @cache(registry=Registry(clock=asyncio.get_running_loop().time))
        async def slow(key):
            runs.append(asyncio.get_running_loop().time())
            await asyncio.sleep(2.0)
            return key

        tasks = [asyncio.create_task(slow("a")) for _ in range(4)]
        await asyncio.sleep(1.0)
        tasks[2].cancel()  # one who waits
        tasks[0].cancel()  # who leads
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert ["CancelledError", "a", "CancelledError", "a"] == [
            each if isinstance(each, str) else type(each).__name__ for each in found]
        assert 2 == len(runs)

    virtual_time(main())


def test_a_leading_thread_that_is_interrupted_leaves_the_lead_to_another(registry):
    go, began, answers = threading.Event(), [], []

    @cache(registry=registry, key="k")
    def slow(key):
        began.append(key)
        if len(began) == 1:
            go.wait(30)
            raise KeyboardInterrupt
        return "answer"

    def lead():
        with pytest.raises(KeyboardInterrupt):
            slow("a")

    leader = threading.Thread(target=lead)
    leader.start()
    until(lambda: began)
    followers = [threading.Thread(target=lambda: answers.append(slow("a"))) for _ in range(3)]
    for thread in followers:
        thread.start()
    go.set()
    for thread in (leader, *followers):
        thread.join(30)
    assert (["answer"] * 3, 2) == (answers, len(began))


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")  # struck before its first step
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of a loop that was struck
@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupt_anywhere_leaves_nothing_that_others_would_wait_for(registry, kind):
    if kind == "def":
        guarded = cache(registry=registry, key="k")(lambda key: key)
        work = lambda: guarded("a")  # noqa: E731
    else:
        async def fn(key):
            await asyncio.sleep(0)
            return key

        guarded = cache(registry=registry, key="k")(fn)
        work = lambda: virtual_time(guarded("a"))  # noqa: E731
    caching = next(iter(guarded.resilience._runtime.named("cache")))
    points = 0
    for points in interrupted(work):  # noqa: B007 - counted
        gc.collect()
        assert 0 == len(caching._shared.flights)
        guarded.resilience.clear_cache()
    assert points > 10


def test_a_child_does_not_wait_for_its_parents_executions(registry):
    go, began = threading.Event(), []

    @cache(registry=Registry(), key="k")
    def slow(key):
        began.append(key)
        if os.getpid() == parent:
            go.wait(30)
        return os.getpid()

    def child():
        assert os.getpid() == slow("a")

    parent = os.getpid()
    leader = threading.Thread(target=slow, args=("a",))
    leader.start()
    until(lambda: began)
    assert 0 == forked(child)
    go.set()
    leader.join(30)


def test_a_function_that_calls_itself_with_equal_arguments_does_not_wait_for_itself(registry):
    depth = []

    @cache(registry=registry)
    def recursive(key):
        depth.append(key)
        return recursive(key) + 1 if len(depth) < 3 else 0

    assert 2 == recursive("a")

    async def main():
        @cache(registry=Registry())
        async def recursive(key):
            depth.append(key)
            return await asyncio.create_task(recursive(key)) + 1 if len(depth) < 6 else 0

        return await recursive("a")

    assert 2 == asyncio.run(main())


def test_two_that_would_wait_for_each_other_do_not():
    async def main():
        registry, runs = Registry(), []

        @cache(registry=registry, key="a")
        async def a(key):
            runs.append("a")
            await asyncio.sleep(0.1)
            return await b(key) if len(runs) < 5 else "a"

        @cache(registry=registry, key="b")
        async def b(key):
            runs.append("b")
            await asyncio.sleep(0.1)
            return await a(key) if len(runs) < 5 else "b"

        found = await asyncio.wait_for(asyncio.gather(a("x"), b("x")), 60.0)
        assert {"a", "b"} >= set(found)

    virtual_time(main())


# -- below the fallback, above the rest


@pytest.mark.parametrize("kind", KINDS)
def test_a_fallbacks_answer_is_never_kept(registry, call_as, kind):
    down = [True]

    def body(key):
        if down[0]:
            raise OSError
        return "fresh"

    guarded, call = call_as(kind, Pipeline(Fallback(lambda key: "stale"), Cache(), registry=registry, key="k"), body)
    assert ["stale", "stale"] == [call("a"), call("a")]
    down[0] = False
    assert ["fresh", "fresh"] == [call("a"), call("a")]
    assert_counts(guarded, failure=2, fallback_success=2, success=1, responses_from_cache=1)


@pytest.mark.parametrize("kind", KINDS)
def test_with_an_error_that_is_kept_the_fallback_answers_again(registry, call_as, kind):
    asked = []

    def body(key):
        asked.append(key)
        raise KeyError(key)

    _, call = call_as(kind, Pipeline(Fallback(lambda key: f"no {key}"), Cache(cache_exceptions=(KeyError,)),
                                     registry=registry, key="k"), body)
    assert (["no a", "no a"], ["a"]) == ([call("a"), call("a")], asked)


@pytest.mark.parametrize("kind", KINDS)
def test_it_answers_while_the_circuit_is_open_and_takes_no_slot(registry, clock, call_as, kind):
    guarded, call = call_as(kind, command(registry=registry, key="k", cache=Cache(ttl=10.0), timeout=None,
                                          max_concurrent=1), lambda key: key)
    call("a")
    guarded.resilience.force_open()
    assert "a" == call("a")
    with pytest.raises(CircuitOpenError):
        call("b")
    clock.advance(10.0)
    with pytest.raises(CircuitOpenError):
        call("a")


def test_a_refusal_is_no_answer_even_if_exceptions_are_kept(registry):
    guarded = Pipeline(Cache(cache_exceptions=(Exception,)), CircuitBreaker(), registry=registry, key="k")(lambda key: key)
    guarded.resilience.force_open()
    with pytest.raises(CircuitOpenError):
        guarded("a")
    guarded.resilience.release()
    assert "a" == guarded("a")


def test_a_full_bulkhead_refuses_those_that_follow_too():
    async def main():
        guarded = command(registry=Registry(), max_concurrent=1, cache=Cache(), key="k")(slow)
        first = asyncio.create_task(guarded("a"))
        await asyncio.sleep(0)
        with pytest.raises(BulkheadFullError):
            await guarded("b")
        await first

    async def slow(key):
        await asyncio.sleep(0.5)

    virtual_time(main())


def test_retries_are_below_it(registry):
    runs = []

    @Pipeline(Cache(), Retry(base=0.0), registry=registry, key="k")
    def flaky(key):
        runs.append(key)
        if len(runs) < 3:
            raise OSError
        return key

    assert ("a", "a", 3) == (flaky("a"), flaky("a"), len(runs))


@pytest.mark.parametrize("inner", [Retry(), CircuitBreaker(), Timeout(1.0)])
def test_another_order_is_refused(registry, inner):
    with pytest.raises(ConfigError, match=f"Cache must stand above {type(inner).__name__}"):
        Pipeline(inner, Cache(), registry=registry)
    with pytest.raises(ConfigError, match="Fallback must stand above Cache"):
        Pipeline(Cache(), Fallback(str), registry=registry)


# -- keys


def test_by_position_and_by_name_are_equal_and_a_default_left_out_is_not_filled_in(registry):
    runs = []

    @cache(registry=registry)
    def fn(a, b=2, *rest, c=3, **more):
        runs.append((a, b, rest, c, more))
        return len(runs)

    assert [1, 1, 2, 2, 2] == [fn(1), fn(a=1), fn(1, 2), fn(1, b=2), fn(b=2, a=1)]
    assert [3, 4, 4] == [fn(1, 2, 3), fn(1, d=4, c=5), fn(1, c=5, d=4)]
    assert 4 == len(runs)


def test_what_cannot_be_hashed_is_missed_by_name(registry):
    @cache(registry=registry, key="k")
    def fn(a, b): ...

    with pytest.raises(TypeError, match="'?b'?.*hash|hash.*'?b'?"):
        fn(1, [2])
    with pytest.raises(TypeError, match="by"):
        fn(1, [2])
    assert_counts(fn)


def test_by_says_what_is_equal_and_none_is_not_cached(registry):
    runs = []

    @cache(registry=registry, by=lambda items: len(items) or None)
    def fn(items):
        runs.append(items)
        return items

    assert [1] == fn([1]) == fn([2])
    assert [[], []] == [fn([]), fn([])]
    assert [[1], [], []] == runs


def test_methods_of_two_objects_are_two_and_an_object_is_let_go_with_its_answer(registry):
    class Client:
        @cache(registry=registry, max_size=1)
        def get(self, key):
            return (id(self), key)

    one, other = Client(), Client()
    assert one.get("a") != other.get("a")
    gone = weakref.ref(one)
    del one
    gc.collect()
    assert None is gone()


# -- scopes, commands, steering


def test_an_answer_is_kept_for_the_request_and_no_longer(registry):
    runs = []

    @cache(scope="request", registry=registry)
    def user(number):
        runs.append(number)
        return number

    user(1), user(1)
    with request_context():
        user(1), user(1)
        with request_context():
            user(1)
        user(1)
    with request_context():
        user(1)
    assert 5 == len(runs)


def test_tasks_of_a_request_share_its_answers_and_workers_see_it():
    async def main():
        runs = []

        @cache(scope="request", registry=Registry())
        async def user(number):
            runs.append(number)
            await asyncio.sleep(0.1)
            return number

        async def page():
            with request_context():
                await asyncio.gather(*(user(1) for _ in range(5)))

        await asyncio.gather(page(), page())
        assert [1, 1] == runs

    virtual_time(main())
    runs = []
    registry = Registry()

    @cache(scope="request", registry=registry, key="inner")
    def inner(number):
        runs.append(number)
        return number

    @command(registry=registry, key="outer", isolation="thread", timeout=30.0)
    def outer():
        inner(1)

    with request_context():
        outer()
        outer()
        inner(1)
    assert [1] == runs


def test_each_key_has_answers_of_its_own(registry):
    runs = []

    @command(key=lambda host, path: host, registry=registry, timeout=None, cache=Cache())
    def get(host, path):
        runs.append((host, path))
        return len(runs)

    assert [1, 2, 3, 1, 2] == [get("a", "/"), get("b", "/"), get("a", "/x"), get("a", "/"), get("b", "/")]
    get.resilience["a"].clear_cache()
    assert [4, 2] == [get("a", "/"), get("b", "/")]


def test_cleared_while_it_executes_it_is_not_kept():
    async def main():
        runs = []

        @cache(registry=Registry(), key="k")
        async def price(sku):
            runs.append(sku)
            run = len(runs)
            await asyncio.sleep(1.0)
            return run

        first = asyncio.create_task(price("a"))
        await asyncio.sleep(0.5)
        price.resilience.clear_cache()
        assert [2, 1] == [await price("a"), await first]
        assert 2 == await price("a")

    virtual_time(main())


def test_it_is_configured_live_and_from_a_file(registry, clock):
    runs = []

    @command(key="k", registry=registry, timeout=None, cache=Cache(ttl=100.0))
    def fn(key):
        runs.append(key)

    fn.resilience.configure(cache=Cache(ttl=100.0, cache_none=True))
    fn("a")
    fn("a")
    assert 1 == len(runs)
    clock.advance(5.0)
    with contextlib.closing(configure({"commands": {"k": {"cache": {"ttl": 4.0}}}}, registry=registry, environ={})):
        fn("a")
        assert 2 == len(runs)
        assert "Cache > " in str(explain(fn))
    fn.resilience.configure(cache=None)
    fn("a")
    fn("a")
    assert 4 == len(runs)


def test_a_test_that_is_over_leaves_nothing_in_it(registry):
    runs = []

    @cache(registry=registry)
    def fn(key):
        runs.append(key)
        return key

    with restored(registry):
        fn("a")
    fn("a")
    assert 2 == len(runs)


def test_a_generator_is_refused(registry):
    def generator():
        yield

    async def async_generator():
        yield

    for fn in (generator, async_generator):
        with pytest.raises(ConfigError, match="no result to keep"):
            cache(registry=registry)(fn)
