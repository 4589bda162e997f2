"""Permits, in every flavour: who gives them back when a call is cancelled, dropped, closed, thrown into or fails."""

import asyncio
import concurrent.futures
import contextlib
import contextvars
import gc
import os
import threading
import weakref

import pytest

from resilience import (
    BadRequestError,
    CallTimeoutError,
    CircuitBreaker,
    CircuitOpenError,
    Fallback,
    FallbackRejectedError,
    command,
)

EAGER = CircuitBreaker(min_calls=1, open_for=5.0)


def counts(f):
    return {name: n for name, n in f.resilience.snapshot().counts.items() if n}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError,
                                   concurrent.futures.CancelledError])
@pytest.mark.parametrize("isolation", ["semaphore", "thread"])
def test_what_ends_a_task_or_the_process_is_neither_success_nor_failure(registry, error, isolation):
    """pybreaker tripped on KeyboardInterrupt; purgatory and circuitbreaker counted cancellations."""
    @command(key="k", registry=registry, timeout=None, isolation=isolation, breaker=EAGER, max_concurrent=1,
             fallback=lambda: "fallback")
    def call():
        raise error

    for _ in range(3):
        with pytest.raises(error):
            call()

    assert {"cancelled": 3} == counts(call)
    assert "closed" == call.resilience.state
    assert 0 == call.resilience.snapshot().in_flight


def test_a_neutral_probe_gives_its_place_to_the_next(registry, clock):
    """Polly closes on a cancelled probe; Hystrix re-opens on a bad request as the probe (its defect a)."""
    plan = iter([OSError, BadRequestError, KeyboardInterrupt, None])

    @command(key="k", registry=registry, timeout=None, breaker=EAGER)
    def call():
        error = next(plan)
        if error:
            raise error

    with pytest.raises(OSError):
        call()
    clock.advance(5.0)
    for error in (BadRequestError, KeyboardInterrupt):
        with pytest.raises(error):
            call()
        assert "half_open" == call.resilience.state
    call()
    assert "closed" == call.resilience.state


async def test_cancellation_at_every_await_gives_every_permit_back(registry):
    steps = 6

    @command(key="k", registry=registry, timeout=30.0, max_concurrent=1, breaker=EAGER, fallback=lambda: None)
    async def call():
        for _ in range(steps):
            await asyncio.sleep(0)

    for turns in range(1, steps + 1):
        task = asyncio.create_task(call())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert 0 == call.resilience.snapshot().in_flight
    assert {"cancelled": steps} == counts(call)
    assert "closed" == call.resilience.state


async def test_a_users_timeout_error_stays_the_users(registry):
    """interlock turned it into its own."""
    mine = TimeoutError("mine")

    @command(key="k", registry=registry, timeout=30.0)
    async def call():
        raise mine

    with pytest.raises(TimeoutError) as caught:
        await call()

    assert mine is caught.value
    assert 1 == counts(call)["failure"]


async def test_context_set_inside_is_kept_and_the_task_is_the_callers(registry):
    """hyx's timeout ran the function in a new task, where what it set was lost."""
    variable = contextvars.ContextVar("variable", default="before")

    @command(key="k", registry=registry, timeout=30.0)
    async def call():
        variable.set("inside")
        return asyncio.current_task()

    assert asyncio.current_task() is await call()
    assert "inside" == variable.get()


def test_a_generator_holds_its_permit_until_it_is_exhausted(registry):
    """interlock recorded generators as instant success."""
    @command(key="k", registry=registry, timeout=None, max_concurrent=1)
    def rows():
        got = yield 1
        yield got
        return "end"

    generator = rows()
    assert 0 == rows.resilience.snapshot().in_flight, "a generator that was never iterated holds nothing"
    assert 1 == next(generator)
    assert 1 == rows.resilience.snapshot().in_flight
    assert "sent" == generator.send("sent")
    with pytest.raises(StopIteration) as end:
        next(generator)

    assert "end" == end.value.value
    assert {"success": 1, "emit": 2} == counts(rows)
    assert 0 == rows.resilience.snapshot().in_flight


def test_a_generators_failure_counts_and_after_items_no_fallback_answers(registry):
    @command(key="k", registry=registry, timeout=None, breaker=CircuitBreaker(min_calls=2),
             fallback=lambda n: iter(["fallback"]))
    def rows(n):
        for i in range(n):
            yield i
        raise OSError

    assert ["fallback"] == list(rows(0))
    with pytest.raises(OSError):
        list(rows(2))

    assert "open" == rows.resilience.state
    assert {"failure": 2, "fallback_success": 1, "fallback_emit": 1, "fallback_missing": 1, "exceptions_thrown": 1,
            "emit": 2} == counts(rows)


@pytest.mark.parametrize("how", ["close", "drop"])
def test_a_generator_closed_or_dropped_early_is_neutral_and_cleans_up(registry, how):
    """pybreaker: an early close counted as failure."""
    cleaned = []

    @command(key="k", registry=registry, timeout=None, breaker=EAGER, max_concurrent=1)
    def rows():
        try:
            yield 1
            yield 2
        finally:
            cleaned.append(True)

    generator = rows()
    next(generator)
    if how == "close":
        generator.close()
    del generator
    gc.collect()

    assert [True] == cleaned
    assert {"cancelled": 1, "emit": 1} == counts(rows)
    assert (0, "closed") == (rows.resilience.snapshot().in_flight, rows.resilience.state)


def test_a_guarded_context_manager_does_not_blame_the_function_for_its_body(registry):
    @contextlib.contextmanager
    @command(key="k", registry=registry, timeout=None, breaker=EAGER)
    def session():
        yield "session"

    for _ in range(3):
        with pytest.raises(ValueError, match="the body's"), session():
            raise ValueError("the body's")

    assert "closed" == registry["k"].state
    assert 0 == registry["k"].snapshot().in_flight


def test_a_generator_may_handle_what_is_thrown_in(registry):
    @command(key="k", registry=registry, timeout=None)
    def rows():
        try:
            yield 1
        except KeyError:
            yield "handled"

    generator = rows()
    next(generator)
    assert "handled" == generator.throw(KeyError("x"))
    assert [] == list(generator)
    assert 1 == counts(rows)["success"]


def test_the_consumers_time_is_not_the_generators(registry, clock):
    @command(key="k", registry=registry, timeout=None)
    def rows():
        clock.advance(0.25)
        yield 1
        clock.advance(0.25)

    for _ in rows():
        clock.advance(100.0)

    assert pytest.approx(0.5, rel=0.01) == rows.resilience.snapshot().latency.p100


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("items", [9, 10, 11, 30])
async def test_the_latency_of_a_stream_is_its_own_time_until_its_tenth_item(registry, clock, items, is_async, fails):
    def rows():
        for i in range(items):
            clock.advance(1.0)
            yield i
        clock.advance(1.0)
        if fails:
            raise OSError

    async def async_rows():
        for item in rows():
            yield item

    guarded = command(key="k", registry=registry, timeout=None)(async_rows if is_async else rows)
    with contextlib.suppress(OSError):
        if is_async:
            async for _ in guarded():
                clock.advance(100.0)
        else:
            for _ in guarded():
                clock.advance(100.0)

    assert pytest.approx(10.0, rel=0.01) == guarded.resilience.snapshot().latency.p100
    assert (items, int(fails)) == (counts(guarded)["emit"], counts(guarded).get("failure", 0))


async def test_an_async_generator_forwards_send_throw_and_close(registry):
    cleaned = []

    @command(key="k", registry=registry, max_concurrent=1, breaker=EAGER)
    async def rows():
        try:
            got = yield 1
            try:
                yield got
            except KeyError:
                yield "handled"
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    agen = rows()
    assert 1 == await agen.__anext__()
    assert "sent" == await agen.asend("sent")
    assert "handled" == await agen.athrow(KeyError("x"))
    assert 1 == rows.resilience.snapshot().in_flight
    await agen.aclose()

    assert [True] == cleaned
    assert (0, "closed") == (rows.resilience.snapshot().in_flight, rows.resilience.state)
    assert {"cancelled": 1, "emit": 3} == counts(rows)


async def test_a_dropped_async_generator_gives_its_permit_back(registry):
    @command(key="k", registry=registry, max_concurrent=1)
    async def rows():
        yield 1
        yield 2

    agen = rows()
    await agen.__anext__()
    del agen
    gc.collect()
    for _ in range(10):  # the loop's hook closes it in a task of its own
        await asyncio.sleep(0)

    assert 0 == rows.resilience.snapshot().in_flight


async def test_an_async_generator_that_fails_counts(registry):
    @command(key="k", registry=registry, breaker=EAGER)
    async def rows():
        yield 1
        raise OSError

    with pytest.raises(OSError):
        [item async for item in rows()]
    with pytest.raises(CircuitOpenError):
        [item async for item in rows()]


def test_a_fallback_with_a_parameter_named_error_gets_the_exception(registry):
    boom = OSError("boom")

    @command(key="k", registry=registry, timeout=None, fallback=lambda sku, *, error: (sku, error))
    def call(sku):
        raise boom

    assert ("a", boom) == call("a")


def test_a_fallback_answers_only_for_what_it_is_on(registry):
    @command(key="k", registry=registry, timeout=None, fallback=Fallback(lambda e: "fallback", on=(OSError, TimeoutError)))
    def call(error):
        raise error

    assert "fallback" == call(ConnectionError())
    with pytest.raises(ValueError, match="mine"):
        call(ValueError("mine"))
    assert {"failure": 2, "fallback_success": 1, "fallback_missing": 1, "exceptions_thrown": 1} == counts(call)


def test_a_failing_fallback_shows_both_errors(registry):
    def failing():
        raise KeyError("fallback")

    @command(key="k", registry=registry, timeout=None, fallback=failing)
    def call():
        raise OSError("call")

    with pytest.raises(KeyError) as caught:
        call()

    assert isinstance(caught.value.__context__, OSError)
    assert {"failure": 1, "fallback_failure": 1, "exceptions_thrown": 1} == counts(call)


def test_fallbacks_have_a_bound_of_their_own(registry):
    """Hystrix: fallback.isolation.semaphore.maxConcurrentRequests."""
    @command(key="k", registry=registry, timeout=None, max_concurrent=None, breaker=None,
             fallback=Fallback(lambda depth: call(depth + 1) if depth < 2 else "deep", max_concurrent=2))
    def call(depth):
        raise OSError("call")

    with pytest.raises(FallbackRejectedError) as caught:
        call(0)

    assert isinstance(caught.value.__cause__, OSError)
    assert 1 == counts(call)["fallback_rejection"]
    with pytest.raises(FallbackRejectedError):
        call(0)


async def test_an_async_fallback_is_awaited(registry):
    async def instead():
        await asyncio.sleep(0)
        return "fallback"

    @command(key="k", registry=registry, fallback=instead)
    async def call():
        raise OSError

    assert "fallback" == await call()


def test_ignored_and_bad_requests_pass_through_without_fallback_or_effect(registry):
    @command(key="k", registry=registry, timeout=None, breaker=EAGER, ignore=(KeyError,), fallback=lambda e: "fallback")
    def call(error):
        raise error

    for error in (KeyError("x"), BadRequestError("y")):
        with pytest.raises(type(error)):
            call(error)

    assert "closed" == call.resilience.state
    assert {"bad_request": 2, "exceptions_thrown": 2} == counts(call)


def test_calls_run_side_by_side(registry):
    """pybreaker held its lock during the call: five calls of 0.1 s took 0.5 s."""
    barrier = threading.Barrier(5)

    @command(key="k", registry=registry, timeout=None)
    def call():
        barrier.wait(10)  # passes only when all five are inside

    threads = [threading.Thread(target=call) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert 5 == counts(call)["success"]


def test_repeated_refusals_do_not_grow_a_traceback(registry):
    """purgatory raised one exception object again and again: 6, 12, 18, 24, 30 frames."""
    @command(key="k", registry=registry, timeout=None)
    def call(): ...

    call.resilience.force_open()
    refusals = []
    for _ in range(5):
        with pytest.raises(CircuitOpenError) as caught:
            call()
        depth, traceback = 0, caught.value.__traceback__
        while traceback:
            depth, traceback = depth + 1, traceback.tb_next
        refusals.append((id(caught.value), depth))

    assert 1 == len({depth for _, depth in refusals})


@pytest.mark.parametrize("isolation", ["semaphore", "thread"])
def test_a_failed_call_pins_nothing(registry, isolation):
    """interlock and circuitbreaker keep the last failure, and with it its frame's locals."""
    class Big:
        pass

    kept = []

    @command(key="k", registry=registry, timeout=None, isolation=isolation)
    def call():
        big = Big()
        kept.append(weakref.ref(big))
        raise OSError

    gc.collect()
    gc.disable()
    try:
        with contextlib.suppress(OSError):
            call()
        assert kept[0]() is None
    finally:
        gc.enable()


async def test_a_timed_out_coroutine_pins_nothing(registry):
    class Big:
        pass

    kept = []

    @command(key="k", registry=registry, timeout=0.001)
    async def call():
        big = Big()
        kept.append(weakref.ref(big))
        await asyncio.Event().wait()

    gc.collect()
    gc.disable()
    try:
        with contextlib.suppress(CallTimeoutError):
            await call()
        await asyncio.sleep(0)  # the loop holds on to the handle that it runs
        assert kept[0]() is None
    finally:
        gc.enable()


def test_a_tripping_call_shows_its_own_error(registry):
    """pybreaker's tripping call raised CircuitBreakerError, hiding the cause."""
    @command(key="k", registry=registry, timeout=None, breaker=EAGER)
    def call():
        raise OSError("the cause")

    with pytest.raises(OSError, match="the cause"):
        call()
    assert "open" == call.resilience.state


async def test_async_functions_trip(registry):
    """pybreaker wrapped async functions without ever counting their failures."""
    @command(key="k", registry=registry, breaker=CircuitBreaker(min_calls=5))
    async def call():
        raise OSError

    for _ in range(5):
        with pytest.raises(OSError):
            await call()
    with pytest.raises(CircuitOpenError):
        await call()


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_starts_afresh(registry):
    @command(key="k", registry=registry, timeout=5.0, breaker=EAGER)
    def call(fail):
        if fail:
            raise OSError
        return threading.get_ident()

    with pytest.raises(OSError):
        call(True)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            state = call.resilience.state
            call(False)
            os.write(write, f"{state} {call.resilience.snapshot().counts['success']}".encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    with os.fdopen(read) as answer:
        assert "closed 1" == answer.read()
    assert "open" == call.resilience.state


def test_recursion_takes_a_slot_a_level(registry):
    @command(key="k", registry=registry, timeout=None, max_concurrent=5)
    def down(n):
        return down(n - 1) if n else "bottom"

    assert "bottom" == down(4)
    with pytest.raises(Exception, match="bulkhead is full"):
        down(5)
    assert 0 == down.resilience.snapshot().in_flight
