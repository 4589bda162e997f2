"""A caller's deadline around guarded calls: what is refused, cut short or not waited for, and what that counts as."""

import asyncio
import contextlib
import pickle
import threading
import time

import pytest

from resilience import (
    AdaptiveLimit,
    BulkheadFullError,
    CallTimeoutError,
    CircuitBreaker,
    DeadlineExceededError,
    NoTimeLeftError,
    RateLimit,
    RateLimitedError,
    Registry,
    RejectedError,
    Retry,
    RetryBudget,
    ThreadPool,
    Throttle,
    bulkhead,
    circuit_breaker,
    command,
    deadline,
    remaining,
    retry,
    timeout,
)
from resilience.core.budget import Budget
from resilience.events import CallFailed, CallRejected
from resilience.testing import assert_counts, assert_idle, virtual_time
from tests.drivers.until import until

KINDS = ["def", "async def", "generator", "async generator", "thread"]


def called(kind, registry, body=lambda: "done", **settings):
    """A function of this kind under *settings*, and a plain way to call it, which keeps the context."""
    def plain():
        return body()

    async def coroutine():
        return body()

    def generator():
        yield body()

    async def async_generator():
        yield body()

    async def first(items):
        return [item async for item in items][0]

    isolation = {"isolation": "thread"} if kind == "thread" else {}
    function = {"def": plain, "thread": plain, "async def": coroutine, "generator": generator,
                "async generator": async_generator}[kind]
    guarded = command(registry=registry, timeout=None, **settings, **isolation)(function)
    return guarded, {"async def": lambda: asyncio.run(guarded()), "generator": lambda: next(iter([*guarded()])),
                     "async generator": lambda: asyncio.run(first(guarded()))}.get(kind, guarded)


# -- refused


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("retried", [False, True])
def test_a_call_that_begins_too_late_is_refused_before_any_gate_is_asked(registry, clock, kind, retried):
    told, ran = [], []
    if retried and kind.endswith("generator"):
        retried = False
    registry.subscribe(CallRejected, told.append)
    guarded, call = called(kind, registry, lambda: ran.append(1), breaker=CircuitBreaker(min_calls=1),
                           rate_limit=RateLimit(1, per=100.0), throttle=Throttle(),
                           retry=Retry(base=0.0, retry_rejections=True, budget=None) if retried else None)
    guarded.resilience._runtime.circuit.settle(guarded.resilience._runtime.circuit.acquire(0.0), 1, 0.0, 0.0)
    clock.advance(6.0)  # the next is a probe
    with deadline(1.0, clock=clock):
        clock.advance(1.0)
        for _ in range(3):
            with pytest.raises(NoTimeLeftError) as caught:
                call()
    assert (guarded.resilience.key, None, []) == (caught.value.key, caught.value.retry_after, ran)
    assert isinstance(caught.value, RejectedError)
    assert isinstance(caught.value, TimeoutError)
    assert_counts(guarded, no_time_left=3, exceptions_thrown=3, fallback_missing=3, retry=0, rate_limited=0)
    assert ["no_time_left"] * 3 == [event.event for event in told]
    assert 0 == guarded.resilience.snapshot().latency.count
    call()  # the probe's place and the rate's only token are still there
    assert ("closed", [1]) == (guarded.resilience.state, ran)
    assert_idle(guarded)
    registry.close()


@pytest.mark.parametrize("kind", KINDS)
def test_the_fallback_answers_for_it(registry, clock, kind):
    async def items():
        yield "instead"

    fallback = {"generator": lambda: iter(["instead"]), "async generator": items}.get(kind, lambda: "instead")
    guarded, call = called(kind, registry, fallback=fallback)
    with deadline(0.0, clock=clock):
        assert "instead" == call()
    assert_counts(guarded, no_time_left=1, fallback_success=1, exceptions_thrown=0)
    registry.close()


@pytest.mark.parametrize("decorator", [
    circuit_breaker, lambda **place: bulkhead(1, **place), lambda **place: retry(base=0.0, **place)])
def test_each_policy_by_itself_heeds_it(registry, clock, decorator):
    @decorator(registry=registry)
    def work():
        return "done"

    assert "done" == work()
    with deadline(5.0, clock=clock):
        assert "done" == work()
        clock.advance(5.0)
        with pytest.raises(NoTimeLeftError):
            work()
    assert "done" == work()
    assert_counts(work, success=3, no_time_left=1)


def test_the_errors_pickle_and_say_what_happened():
    refused, cut = (pickle.loads(pickle.dumps(e)) for e in (NoTimeLeftError("k"), DeadlineExceededError("k", 0.25)))
    assert "k: the caller's deadline has passed" == str(refused)
    assert "k: the caller's deadline passed after 0.25 s" == str(cut)
    assert ("k", 0.25, None) == (cut.key, cut.timeout, refused.retry_after)


# -- cut short


def test_a_coroutine_is_cut_short_at_the_deadline_and_its_target_is_not_to_blame():
    async def main():
        loop = asyncio.get_running_loop()
        registry, told = Registry(clock=loop.time), []
        registry.subscribe(CallFailed, told.append)

        @command(registry=registry, timeout=5.0, breaker=CircuitBreaker(min_calls=1), adaptive_limit=AdaptiveLimit(),
                 throttle=Throttle())
        async def work():
            await asyncio.sleep(60)

        began = loop.time()
        with deadline(2.0, clock=loop.time):
            with pytest.raises(DeadlineExceededError) as caught:
                await work()
        assert (began + 2.0, 2.0) == (loop.time(), caught.value.timeout)
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)
        assert 0 == asyncio.current_task().cancelling()
        assert_counts(work, timeout=1)
        assert ["timeout"] == [event.event for event in told]
        circuit, throttler = work.resilience._runtime.circuit, work.resilience._runtime.named("throttle")
        assert ("closed", [0, 0, 0, 0]) == (work.resilience.state, list(circuit.term.counts(loop.time())))
        assert (0, 0) == throttler.sums(loop.time())
        with pytest.raises(CallTimeoutError) as caught:
            await work()
        assert CallTimeoutError is type(caught.value)
        assert "open" == work.resilience.state
        assert_idle(work)

    virtual_time(main())


@pytest.mark.parametrize(("slow_call", "state"), [(1.9, "open"), (2.1, "closed")])
def test_it_counts_against_the_target_after_all_if_it_had_as_long_as_a_slow_call_takes(slow_call, state):
    async def main():
        loop = asyncio.get_running_loop()

        @command(registry=Registry(clock=loop.time), timeout=5.0,
                 breaker=CircuitBreaker(min_calls=1, slow_call=slow_call, slow_in_flight=False))
        async def work():
            await asyncio.sleep(60)

        with deadline(2.0, clock=loop.time), contextlib.suppress(DeadlineExceededError):
            await work()
        return work.resilience.state

    assert state == virtual_time(main())


def test_a_probe_that_is_cut_short_gives_its_place_to_the_next():
    async def main():
        loop = asyncio.get_running_loop()

        @command(registry=Registry(clock=loop.time), timeout=5.0, breaker=CircuitBreaker(min_calls=1, open_for=1.0))
        async def work(error, seconds):
            await asyncio.sleep(seconds)
            if error:
                raise OSError

        with contextlib.suppress(OSError):
            await work(True, 0)
        await asyncio.sleep(1.5)
        with deadline(2.0, clock=loop.time), contextlib.suppress(DeadlineExceededError):
            await work(False, 60)
        assert "half_open" == work.resilience.state
        await work(False, 0)
        return work.resilience.state

    assert "closed" == virtual_time(main())


def test_a_call_within_its_own_timeout_is_timed_out_as_ever_and_counts():
    async def main():
        loop = asyncio.get_running_loop()

        @command(registry=Registry(clock=loop.time), timeout=1.0, breaker=CircuitBreaker(min_calls=1))
        async def work():
            inside.append(remaining())
            await asyncio.sleep(60)

        inside = []
        with deadline(2.0, clock=loop.time):
            with pytest.raises(CallTimeoutError) as caught:
                await work()
            assert pytest.approx(1.0) == remaining()
        assert ((CallTimeoutError, 1.0), "open") == ((type(caught.value), caught.value.timeout), work.resilience.state)
        assert [pytest.approx(1.0)] == inside  # its timeout is a deadline for what it calls

    virtual_time(main())


def test_without_a_deadline_around_it_a_timeout_is_none_for_what_it_calls():
    async def main():
        @timeout(1.0, registry=Registry())
        async def work():
            return remaining()

        return await work()

    assert virtual_time(main()) is None


def test_a_users_cancellation_stays_one_even_when_it_comes_with_the_deadline():
    async def main():
        loop = asyncio.get_running_loop()

        @timeout(5.0, registry=Registry(clock=loop.time))
        async def work():
            await asyncio.sleep(60)

        async def caller():
            with deadline(2.0, clock=loop.time):
                await work()

        for at in (1.0, 2.0):
            task = asyncio.create_task(caller())
            await asyncio.sleep(0)
            loop.call_later(at, task.cancel)
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()
        assert_counts(work, cancelled=2)
        assert_idle(work)
        await asyncio.sleep(10)  # nothing comes later

    virtual_time(main())


def test_an_inner_call_cut_short_is_not_the_outer_targets_fault_either_unless_the_haste_was_its_own():
    async def main():
        loop = asyncio.get_running_loop()
        registry = Registry(clock=loop.time)

        @command(registry=registry, key="inner", timeout=5.0)
        async def inner():
            await asyncio.sleep(60)

        @command(registry=registry, key="outer", timeout=None, breaker=CircuitBreaker(min_calls=1))
        async def outer(seconds):
            with deadline(seconds, clock=loop.time):
                await inner()

        with deadline(2.0, clock=loop.time):
            with pytest.raises(DeadlineExceededError):
                await outer(None)
        assert "closed" == outer.resilience.state
        with pytest.raises(DeadlineExceededError):
            await outer(0.5)
        return outer.resilience.state

    assert "open" == virtual_time(main())


def test_an_async_generator_has_the_time_left_for_each_item():
    async def main():
        loop = asyncio.get_running_loop()

        @command(registry=Registry(clock=loop.time), timeout=1.0)
        async def items():
            for n in range(10):
                await asyncio.sleep(0.8)
                yield n, remaining()

        seen = []
        before = loop.time()
        with deadline(2.0, clock=loop.time):
            with pytest.raises(DeadlineExceededError):
                async for n, left in items():
                    assert pytest.approx(2.0 - (loop.time() - before)) == remaining()
                    seen.append((n, left))
        assert pytest.approx(before + 2.0) == loop.time()
        assert [(0, pytest.approx(0.2)), (1, pytest.approx(0.2))] == seen  # its step's own timeout, less what it took
        assert remaining() is None
        assert_idle(items)
        source = items()
        with deadline(2.0, clock=loop.time):
            await anext(source)
            await source.aclose()
            assert pytest.approx(1.2) == remaining()
        assert_idle(items)

    virtual_time(main())


def test_a_command_without_a_timeout_is_never_cut_short():
    async def main():
        loop = asyncio.get_running_loop()

        @command(registry=Registry(clock=loop.time), timeout=None)
        async def work():
            await asyncio.sleep(3.0)
            return "written"

        with deadline(2.0, clock=loop.time):
            return await work()

    assert "written" == virtual_time(main())


# -- worker threads


def test_the_caller_of_a_worker_leaves_at_the_deadline_and_what_the_worker_calls_then_is_refused():
    registry, go, late = Registry(), threading.Event(), []

    @command(registry=registry, key="inner", timeout=None)
    def inner():
        return "done"

    @command(registry=registry, key="outer", timeout=60.0, breaker=CircuitBreaker(min_calls=1))
    def outer():
        assert "done" == inner()
        go.wait(10)
        with pytest.raises(NoTimeLeftError):
            inner()
        late.append(True)

    with deadline(0.3):  # by then it has begun
        began = time.monotonic()
        with pytest.raises(DeadlineExceededError) as caught:
            outer()
        assert 0.29 < time.monotonic() - began < 10.0
        assert 0 < caught.value.timeout <= 0.3
    assert ("closed", 1) == (outer.resilience.state, outer.resilience.snapshot().abandoned)
    assert_counts(outer, timeout=1)
    go.set()
    until(lambda: late)
    until(lambda: not outer.resilience.in_flight)
    assert_counts(inner, success=1, no_time_left=1)
    registry.close()


def test_a_workers_own_timeout_is_a_deadline_for_what_it_calls():
    registry = Registry()

    @command(registry=registry, timeout=5.0)
    def work():
        return remaining()

    with deadline(60.0):
        assert 4.0 < work() <= 5.0
        assert 50.0 < remaining() <= 60.0
    assert work() is None
    registry.close()


@pytest.mark.parametrize("seconds", [60.0, None])
def test_a_call_that_waits_for_a_thread_until_the_deadline_never_starts(seconds):
    registry, go, started, ran = Registry(), threading.Event(), threading.Event(), []

    @command(registry=registry, timeout=seconds, isolation="thread", pool=ThreadPool(size=1, max_queue=5),
             max_concurrent=None)
    def work(name):
        if name == "first":
            started.set()
            go.wait(10)
        ran.append(name)

    first = threading.Thread(target=work, args=("first",))
    first.start()
    assert started.wait(10)
    with deadline(0.05), pytest.raises(DeadlineExceededError):
        work("late")
    go.set()
    first.join(10)
    work("last")
    assert ["first", "last"] == ran
    until(lambda: not work.resilience.in_flight and not work.resilience.pool.admitted)
    registry.close()


def test_a_worker_without_a_timeout_that_has_begun_is_waited_for():
    registry, go = Registry(), threading.Event()

    @command(registry=registry, timeout=None, isolation="thread")
    def work():
        go.wait(10)
        return "written"

    threading.Timer(0.4, go.set).start()
    with deadline(0.3):  # by then it has begun
        assert "written" == work()
        assert remaining() < 0
    registry.close()


# -- retries and waits


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_pause_that_would_outlast_the_deadline_is_not_begun_and_the_last_error_says_so(registry, clock, kind):
    def fail():
        began.append(clock())
        raise OSError("down")

    began, start = [], clock()
    guarded, call = called(kind, registry, fail, retry=Retry(attempts=10, base=1.0, factor=1.0, jitter="none"))
    with deadline(2.5, clock=clock), pytest.raises(OSError, match="down") as caught:
        call()
    assert [start, start + 1.0, start + 2.0] == began
    key = guarded.resilience.key
    assert [f"{key}: the caller's deadline leaves no time for another attempt",
            f"{key}: attempt 3 of at most 10, 2 s after the first began"] == caught.value.__notes__
    assert_counts(guarded, failure=3, retry=2, no_time_left=0)


def test_a_result_that_is_no_answer_is_the_answer_when_there_is_no_time_for_another(registry, clock):
    @command(registry=registry, timeout=None,
             retry=Retry(attempts=10, base=1.0, factor=1.0, jitter="none", on_result=lambda result: result < 10))
    def work():
        began.append(1)
        return len(began)

    began = []
    with deadline(2.5, clock=clock):
        assert 3 == work()


def test_the_budget_pays_nothing_for_an_attempt_that_is_not_made(registry, clock):
    @command(registry=registry, timeout=None, retry=Retry(base=1.0, jitter="none"))
    def work():
        raise OSError("down")

    asked = []

    class Spy(Budget):
        def withdraw(self, now):
            asked.append(now)
            return super().withdraw(now)

    work.resilience._runtime.named("retry").budget = Spy(RetryBudget(), clock())
    with deadline(0.5, clock=clock), pytest.raises(OSError, match="down"):
        work()
    assert [] == asked


@pytest.mark.parametrize("kind", KINDS)
def test_a_turn_that_comes_after_the_deadline_is_not_waited_for_and_goes_to_the_next(registry, clock, kind):
    guarded, call = called(kind, registry, rate_limit=RateLimit(1, per=10.0, max_wait=100.0))
    call()
    with deadline(9.0, clock=clock):
        for _ in range(3):
            with pytest.raises(RateLimitedError) as caught:
                call()
        assert (10.0, 9.0) == (caught.value.retry_after, remaining())
    assert_counts(guarded, success=1, rate_limited=3)
    start = clock()
    with deadline(11.0, clock=clock):
        call()
    assert start + 10.0 == clock()
    assert_idle(guarded)
    registry.close()


def test_the_wait_for_an_adaptive_limits_permit_ends_with_the_deadline():
    async def main():
        loop = asyncio.get_running_loop()

        @command(registry=Registry(clock=loop.time), timeout=None,
                 adaptive_limit=AdaptiveLimit(initial=1, min_limit=1, max_limit=1, max_queue=5, max_queue_for=10.0))
        async def work(seconds):
            await asyncio.sleep(seconds)

        holder = asyncio.create_task(work(60.0))
        await asyncio.sleep(0)
        began = loop.time()
        with deadline(2.0, clock=loop.time), pytest.raises(BulkheadFullError):
            await work(0)
        assert began + 2.0 == loop.time()
        holder.cancel()
        await asyncio.gather(holder, return_exceptions=True)
        await work(0)
        assert_idle(work)
        assert not work.resilience._runtime.named("adaptive_limit").queue.crowd

    virtual_time(main())


def test_a_thread_waits_for_an_adaptive_limits_permit_until_the_deadline():
    registry, go, started = Registry(), threading.Event(), threading.Event()

    @command(registry=registry, timeout=None, isolation="semaphore",
             adaptive_limit=AdaptiveLimit(initial=1, min_limit=1, max_limit=1, max_queue=5, max_queue_for=60.0))
    def work(wait):
        if wait:
            started.set()
            go.wait(10)

    holder = threading.Thread(target=work, args=(True,))
    holder.start()
    assert started.wait(10)
    began = time.monotonic()
    with deadline(0.05), pytest.raises(BulkheadFullError):
        work(False)
    assert time.monotonic() - began < 10.0
    go.set()
    holder.join(10)
    work(False)
    assert_idle(work)
