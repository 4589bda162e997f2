"""Expired answers of a cache: they stand in for calls that fail, and for no others."""

import asyncio
import contextlib
import gc
import random
import sys
import threading

import pytest

from resilience import (
    BadRequestError,
    Bulkhead,
    Cache,
    CallTimeoutError,
    CircuitBreaker,
    CircuitOpenError,
    ConfigError,
    Failover,
    FailureRules,
    Fallback,
    Hedge,
    NoTimeLeftError,
    Pipeline,
    Registry,
    Retry,
    Timeout,
    Verdict,
    command,
    configure,
    deadline,
    request_context,
)
from resilience.core.outcome import EVENT_NAMES
from resilience.testing import ManualClock, assert_counts, disabled, virtual_time
from tests.drivers.until import until
from tests.forked import forked
from tests.interrupts import interrupted
from tests.seeds import over_seeds

KINDS = ["def", "async def", "thread"]


class Target:
    """A function of any kind that does as it is told; *call* calls it guarded."""

    def __init__(self, kind, decorate):
        self.answer, self.runs = "fresh", []

        def plain(key):
            self.runs.append(key)
            if isinstance(self.answer, BaseException):
                raise self.answer
            return self.answer

        async def coroutine(key):
            return plain(key)

        self.guarded = self.call = decorate(coroutine if kind == "async def" else plain)
        if kind == "async def":
            self.call = lambda key: asyncio.run(self.guarded(key))


def target(kind, registry, *policies, **options):
    if kind == "thread":
        policies = (*policies, Timeout(60.0))
    order = {"Fallback": 0, "Cache": 1, "Retry": 2, "CircuitBreaker": 3, "Bulkhead": 4, "Timeout": 5, "FailureRules": 6}
    policies = sorted(policies, key=lambda policy: order[type(policy).__name__])
    return Target(kind, Pipeline(*policies, registry=registry, key="k", **options))


@pytest.mark.parametrize("kind", KINDS)
def test_any_history_gives_what_a_plain_list_of_rules_gives(kind):
    @over_seeds(8 if kind == "def" else 3)
    def histories(seed):
        clock, rng = ManualClock(), random.Random(seed)
        policy = Cache(ttl=4.0, stale_if_error=rng.choice([2.0, 8.0]), cache_none=rng.random() < 0.5,
                       cache_exceptions=rng.choice([(), (KeyError,)]))
        falls_back = rng.random() < 0.5
        policies = [policy, *([Fallback(lambda key: "fallback", on=(OSError,))] if falls_back else [])]
        fn = target(kind, Registry(clock=clock), *policies, ignore=(LookupError,))
        kept, counts = {}, dict.fromkeys(["stale_responses", "responses_from_cache", "failure", "bad_request", "success"], 0)

        def expected(key, at):
            """What the call gives: a value, or an exception."""
            there = kept.get(key)
            if there is not None and at < there[1] + 4.0:
                counts["responses_from_cache"] += 1
                return there[0]
            word = fn.answer
            if not isinstance(word, Exception):
                counts["success"] += 1
                if word is None and not policy.cache_none:
                    kept.pop(key, None)
                else:
                    kept[key] = (word, at)
                return word
            if isinstance(word, LookupError):  # the caller's fault
                counts["bad_request"] += 1
                if isinstance(word, policy.cache_exceptions):
                    kept[key] = (word, at)
                return word
            counts["failure"] += 1
            if there is not None and not isinstance(there[0], Exception) and at < there[1] + 4.0 + policy.stale_if_error:
                counts["stale_responses"] += 1
                return there[0]
            return "fallback" if falls_back and isinstance(word, OSError) else word

        for step in range(120):
            clock.advance(rng.choice([0.0, 0.5, 3.0]))
            fn.answer = rng.choice([step, step, None, OSError(step), ValueError(step), KeyError(step), IndexError(step)])
            key = rng.randrange(3)
            if rng.random() < 0.03:
                fn.guarded.resilience.clear_cache()
                kept.clear()
            wanted = expected(key, clock())
            try:
                found = fn.call(key)
            except Exception as error:
                assert (type(error), error.args) == (type(wanted), wanted.args)
            else:
                assert found == wanted
        totals = fn.guarded.resilience._runtime.recorder.totals()[0]
        assert counts == {name: totals[EVENT_NAMES.index(name)] for name in counts}

    histories()


@pytest.mark.parametrize("kind", KINDS)
def test_it_stands_before_the_fallback_and_the_call_is_a_failure_all_the_same(registry, clock, kind):
    fn = target(kind, registry, Fallback(lambda key: "fallback"), Cache(ttl=10.0, stale_if_error=5.0),
                CircuitBreaker(min_calls=2))
    fn.call("a")
    clock.advance(10.0)
    fn.answer = OSError()
    assert ["fresh"] * 3 == [fn.call("a") for _ in range(3)]
    assert ("open", 3) == (fn.guarded.resilience.state, len(fn.runs))
    assert_counts(fn.guarded, failure=2, short_circuited=1, stale_responses=3)
    assert "fallback" == fn.call("b")
    clock.advance(5.0)
    assert "fallback" == fn.call("a")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error", [BadRequestError(), KeyError("ignored"), TypeError("takes no such argument")])
def test_it_does_not_cover_up_what_is_the_callers_own_fault(registry, clock, kind, error):
    fn = target(kind, registry, Cache(ttl=10.0, stale_if_error=5.0), ignore=(KeyError, TypeError))
    fn.call("a")
    clock.advance(10.0)
    fn.answer = error
    with pytest.raises(type(error)):
        fn.call("a")
    fn.answer = OSError()
    assert "fresh" == fn.call("a")  # whoever is to blame, the answer is as good as it was


def test_arguments_that_do_not_fit_are_the_callers_fault_too(registry):
    guarded = Pipeline(Cache(stale_if_error=5.0), registry=registry)(lambda key: key)
    with pytest.raises(TypeError):
        guarded(1, 2)
    assert_counts(guarded, bad_request=1, exceptions_thrown=1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_failure_rules_say_what_is_a_failure(registry, clock, kind):
    def judge(ending):
        return {"ill": Verdict.FAILED, "busy": Verdict.BUSY, "wrong": Verdict.CALLER_FAULT}.get(ending.result)

    fn = target(kind, registry, Cache(ttl=10.0, stale_if_error=5.0), FailureRules(judge))
    fn.call("a")
    clock.advance(10.0)
    given = []
    for fn.answer in ("ill", "busy", "wrong"):
        given.append(fn.call("a"))
    assert ["fresh", "fresh", "wrong"] == given
    assert_counts(fn.guarded, failure=1, busy=1, bad_request=1, stale_responses=2)
    fn.answer = "ill"
    assert "ill" == fn.call("b")
    assert_counts(fn.guarded, failure=2, busy=1, bad_request=1, stale_responses=2)


def test_every_refusal_of_our_own_gates_is_answered_for(registry, clock):
    fn = target("def", registry, Cache(ttl=10.0, stale_if_error=5.0), Bulkhead(1))
    fn.call("a")
    clock.advance(10.0)
    inner = []

    def within():
        inner.append(fn.call("a"))
        return "slot"

    class Calls(str):
        __slots__ = ()

    fn.answer = Calls("outer")
    plain = fn.runs.append
    fn.runs = type("Runs", (), {"append": lambda self, key: within() if key == "b" else plain(key)})()
    assert "outer" == fn.call("b")
    assert ["fresh"] == inner
    assert_counts(fn.guarded, success=1, semaphore_rejected=1, stale_responses=1)


def test_a_timeout_and_a_callers_short_deadline_are_answered_for_and_a_cancelled_caller_is_not():
    async def main():
        loop = asyncio.get_running_loop()
        slow = [0.0]

        @command(registry=Registry(clock=loop.time), key="k", timeout=2.0, cache=Cache(ttl=10.0, stale_if_error=1000.0))
        async def price(sku):
            await asyncio.sleep(slow[0])
            return sku

        await price("a")
        slow[0] = 100.0
        await asyncio.sleep(10.0)
        assert "a" == await price("a")
        with deadline(1.0, clock=loop.time):
            assert "a" == await price("a")
            await asyncio.sleep(5.0)
            assert "a" == await price("a")  # there is no time left, nor is any needed
            with pytest.raises(NoTimeLeftError):
                await price("b")
        task = asyncio.create_task(price("a"))
        await asyncio.sleep(1.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(CallTimeoutError):
            await price("b")
        assert_counts(price, timeout=3, no_time_left=2, cancelled=1, stale_responses=3,
                      fallback_missing=2, exceptions_thrown=2)

    virtual_time(main())


def test_who_waits_for_a_call_that_fails_gets_the_expired_answer_too_and_a_cancelled_leader_leaves_it_to_others():
    async def main():
        loop, runs = asyncio.get_running_loop(), []

        @command(registry=Registry(clock=loop.time), key="k", timeout=None, cache=Cache(ttl=10.0, stale_if_error=100.0))
        async def price(sku):
            runs.append(sku)
            if len(runs) > 1:
                await asyncio.sleep(1.0)
                raise OSError
            return sku

        await price("a")
        await asyncio.sleep(10.0)
        tasks = [asyncio.create_task(price("a")) for _ in range(5)]
        await asyncio.sleep(0.5)
        tasks[0].cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert ["a"] * 4 == found[1:]
        assert 3 == len(runs)
        assert_counts(price, failure=1, cancelled=1, stale_responses=4)

    virtual_time(main())


def test_threads_that_wait_for_a_call_that_fails_get_the_expired_answer_too(registry, clock):
    go, runs, answers = threading.Event(), [], []

    @command(registry=registry, key="k", timeout=None, cache=Cache(ttl=10.0, stale_if_error=5.0))
    def price(sku):
        runs.append(sku)
        if len(runs) > 1:
            go.wait(30)
            raise OSError
        return [sku]

    first = price("a")
    clock.advance(10.0)
    threads = [threading.Thread(target=lambda: answers.append(price("a"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    leading = next(iter(price.resilience._runtime.named("cache")))._shared.flights._leading
    until(lambda: leading and len(next(iter(leading.values())).group().gates) == 3)
    go.set()
    for thread in threads:
        thread.join(30)
    assert (2, 4, {id(first)}) == (len(runs), len(answers), set(map(id, answers)))
    assert_counts(price, failure=1, stale_responses=4)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_cleared_while_the_call_ran_does_not_come_back(registry, clock, kind):
    fn = target(kind, registry, Cache(ttl=10.0, stale_if_error=5.0))
    fn.call("a")
    clock.advance(10.0)
    fn.answer, plain = OSError("new"), fn.runs.append
    fn.runs = type("Runs", (), {"append": lambda self, key: (fn.guarded.resilience.clear_cache(), plain(key))})()
    with pytest.raises(OSError, match="new"):
        fn.call("a")


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_that_is_not_kept_takes_the_older_one_away(registry, clock, kind):
    fn = target(kind, registry, Cache(ttl=10.0, stale_if_error=50.0))
    fn.call("a")
    clock.advance(10.0)
    fn.answer = None
    assert None is fn.call("a")
    fn.answer = OSError()
    with pytest.raises(OSError):
        fn.call("a")


@pytest.mark.parametrize("kind", KINDS)
def test_none_is_an_answer_if_it_is_kept(registry, clock, kind):
    fn = target(kind, registry, Fallback(lambda key: 1), Cache(ttl=10.0, stale_if_error=50.0, cache_none=True))
    fn.answer = None
    fn.call("a")
    clock.advance(10.0)
    fn.answer = OSError()
    assert None is fn.call("a")


@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_that_is_kept_is_the_newer_answer(registry, clock, kind):
    fn = target(kind, registry, Cache(ttl=10.0, stale_if_error=50.0, cache_exceptions=(KeyError,)))
    fn.call("a")
    clock.advance(10.0)
    fn.answer = KeyError("gone")
    with pytest.raises(KeyError):
        fn.call("a")
    clock.advance(10.0)
    fn.answer = OSError()
    with pytest.raises(OSError):  # neither the value before it, nor the exception for another
        fn.call("a")


@pytest.mark.parametrize("kind", KINDS)
def test_all_attempts_of_a_retry_come_first(registry, clock, kind):
    fn = target(kind, registry, Cache(ttl=10.0, stale_if_error=5.0), Retry(attempts=3, base=0.0))
    fn.call("a")
    clock.advance(10.0)
    fn.answer = OSError()
    assert "fresh" == fn.call("a")
    assert_counts(fn.guarded, failure=3, retry=2, stale_responses=1)


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_all_targets_of_a_failover_come_first(registry, clock, kind):
    down, asked = [False], []

    def plain(sku, region=None):
        asked.append(region)
        if down[0]:
            raise OSError
        return region

    async def coroutine(sku, region=None):
        return plain(sku, region)

    guarded = Pipeline(Fallback(lambda sku: "fallback"), Cache(ttl=10.0, stale_if_error=5.0),
                       Failover(("eu", "us"), argument="region"), registry=registry,
                       key="k")(plain if kind == "def" else coroutine)
    call = guarded if kind == "def" else lambda sku: asyncio.run(guarded(sku))
    assert "eu" == call("a")
    clock.advance(10.0)
    down[0] = True
    assert ["eu", "fallback"] == [call("a"), call("b")]
    assert ["eu", "eu", "us"] == asked[:3]
    assert 1 == registry["k"].snapshot().counts["stale_responses"]


def test_all_attempts_of_a_hedge_come_first():
    async def main():
        loop, runs = asyncio.get_running_loop(), []

        @command(registry=Registry(clock=loop.time), key="k", timeout=10.0, hedge=Hedge(idempotent=True, delay=0.5),
                 cache=Cache(ttl=10.0, stale_if_error=100.0))
        async def price(sku):
            runs.append(sku)
            if len(runs) > 1:
                await asyncio.sleep(1.0)
                raise OSError
            return sku

        await price("a")
        await asyncio.sleep(10.0)
        assert ("a", 3) == (await price("a"), len(runs))
        assert_counts(price, failure=1, hedge=1, stale_responses=1)

    virtual_time(main())


def test_a_request_has_expired_answers_of_its_own(registry, clock):
    fn = target("def", registry, Cache(ttl=10.0, stale_if_error=5.0, scope="request"))
    with request_context():
        fn.call("a")
        clock.advance(10.0)
        fn.answer = OSError()
        assert "fresh" == fn.call("a")
    with pytest.raises(OSError), request_context():
        fn.call("a")
    with pytest.raises(OSError):
        fn.call("a")


def test_a_call_that_is_not_cached_has_no_expired_answer_and_its_fallback_answers(registry):
    fn = target("def", registry, Fallback(lambda key: "fallback"), Cache(stale_if_error=5.0, by=lambda key: None))
    fn.answer = OSError()
    assert "fallback" == fn.call("a")


def test_a_fallback_handles_the_error_that_it_answers_for(registry):
    seen = []

    def fall_back(key):
        seen.append(sys.exception())
        raise LookupError("none either")

    fn = target("def", registry, Fallback(fall_back), Cache(stale_if_error=5.0))
    fn.answer = OSError("down")
    with pytest.raises(LookupError) as caught:
        fn.call("a")
    assert [fn.answer] == seen
    assert fn.answer is caught.value.__context__


def test_its_seconds_are_changed_live_and_it_is_put_on_at_decoration_alone(registry, clock):
    fn = target("def", registry, Cache(ttl=10.0, stale_if_error=5.0))
    fn.call("a")
    clock.advance(20.0)
    fn.answer = OSError()
    with pytest.raises(OSError):
        fn.call("a")
    document = {"commands": {"k": {"cache": {"stale_if_error": 15.0}}}}
    with contextlib.closing(configure(document, registry=registry, environ={})):
        assert "fresh" == fn.call("a")
    fn.guarded.resilience.configure(cache=Cache(ttl=10.0))
    with pytest.raises(OSError):
        fn.call("a")
    without = Pipeline(Cache(ttl=10.0), registry=registry, key="without")(lambda key: key)
    with pytest.raises(ConfigError, match="decorated without stale_if_error"):
        without.resilience.configure(cache=Cache(ttl=10.0, stale_if_error=5.0))


def test_a_test_that_disables_the_policies_disables_expired_answers(registry, clock):
    fn = target("def", registry, Cache(ttl=10.0, stale_if_error=5.0))
    fn.call("a")
    clock.advance(1.0)
    fn.answer = OSError()
    with disabled(fn.guarded), pytest.raises(OSError):
        fn.call("a")


def test_a_child_has_none_of_its_parents_expired_answers(registry, clock):
    fn = target("def", registry, Cache(ttl=10.0, stale_if_error=5.0))
    fn.call("a")
    clock.advance(10.0)
    fn.answer = OSError()

    def child():
        with pytest.raises(OSError):
            fn.call("a")

    assert 0 == forked(child)
    assert "fresh" == fn.call("a")


def test_an_open_circuit_refuses_where_there_is_nothing_to_answer_with(registry):
    fn = target("def", registry, Cache(ttl=10.0, stale_if_error=5.0), CircuitBreaker())
    fn.guarded.resilience.force_open()
    with pytest.raises(CircuitOpenError):
        fn.call("a")
    assert_counts(fn.guarded, short_circuited=1, fallback_missing=1, exceptions_thrown=1)


def test_a_function_that_moves_to_worker_threads_keeps_its_expired_answers(registry, clock):
    runs = []

    @command(registry=registry, key="k", cache=Cache(ttl=10.0, stale_if_error=5.0))
    def price(sku):
        runs.append(threading.current_thread())
        if len(runs) > 1:
            raise OSError
        return sku

    price("a")
    clock.advance(10.0)
    price.resilience.configure(timeout=60.0)
    assert "a" == price("a")
    assert runs[0] is not runs[1]
    registry.close()


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")  # struck before its first step
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of a loop that was struck
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_an_interrupt_anywhere_of_a_call_that_is_answered_for_leaves_no_slot_taken_and_nobody_waiting(registry, clock, kind):
    fn = target(kind, registry, Fallback(lambda key: "fallback"), Cache(ttl=10.0, stale_if_error=5.0), Bulkhead(3))
    fn.call("a")
    clock.advance(10.0)
    fn.answer = OSError()
    caching = next(iter(fn.guarded.resilience._runtime.named("cache")))
    call = fn.call if kind == "def" else lambda key: virtual_time(fn.guarded(key))
    points = 0
    for points in interrupted(lambda: (call("a"), call("b")), every=5 if kind == "def" else 7):  # noqa: B007
        if kind != "def":
            gc.collect()
        assert (0, 0) == (len(caching._shared.flights), fn.guarded.resilience.in_flight)
        fn.guarded.resilience.reset()
        fn.answer = "fresh"
        fn.call("a")
        clock.advance(10.0)
        fn.answer = OSError()
    assert points > 10
