"""Defects of other decorators in weighing results, seen from the decorator; each test names the peer."""

import asyncio
import sys

import pytest

from resilience import (
    BadRequestError,
    BulkheadFullError,
    CallTimeoutError,
    CircuitBreaker,
    CircuitOpenError,
    StateChanged,
    command,
)
from resilience.testing import virtual_time


async def drained(agen):
    return [item async for item in agen]


def failing(flavour, registry, **settings):
    """A guarded function that fails, and how to run it to its end."""
    decorate = command(key="k", registry=registry, breaker=CircuitBreaker(min_calls=5), timeout=None, **settings)
    if flavour == "generator":
        @decorate
        def rows():
            yield 1
            raise OSError("down")

        return rows, lambda: list(rows())
    if flavour == "async generator":
        @decorate
        async def arows():
            yield 1
            raise OSError("down")

        return arows, lambda: asyncio.run(drained(arows()))
    if flavour == "async":
        @decorate
        async def call():
            raise OSError("down")

        return call, lambda: asyncio.run(call())

    @decorate
    def plain():
        raise OSError("down")

    return plain, plain


@pytest.mark.parametrize("flavour", ["sync", "async", "generator", "async generator"])
def test_pybreaker_7_and_interlock_every_flavour_trips_and_shows_its_own_error(registry, flavour):
    """``async def`` never tripped in pybreaker (open since 2016), nor generators in interlock: instant success.

    And pybreaker's tripping call raises CircuitBreakerError instead of the cause.
    """
    call, run_it = failing(flavour, registry)

    for _ in range(5):
        with pytest.raises(OSError, match="down"):
            run_it()
    with pytest.raises(CircuitOpenError):
        run_it()
    counts = call.resilience.snapshot().counts
    assert (0, 5, 1) == (counts["success"], counts["failure"], counts["short_circuited"])


async def test_circuitbreaker_a_cancellation_does_not_forget_the_failures(registry):
    """There CancelledError reset the failure count, from 2 to 0."""
    @command(key="k", registry=registry, breaker=CircuitBreaker(min_calls=3))
    async def call(error):
        raise error

    for error in (OSError, OSError, asyncio.CancelledError, OSError):
        with pytest.raises(error):
            await call(error)

    assert "open" == call.resilience.state


async def test_purgatory_and_hyx_cancellations_neither_open_nor_count_as_success(registry):
    """Two cancels opened purgatory's circuit; hyx counts them as success."""
    @command(key="k", registry=registry, breaker=CircuitBreaker(min_calls=1))
    async def call():
        await asyncio.Event().wait()

    for _ in range(2):
        task = asyncio.create_task(call())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    counts = call.resilience.snapshot().counts
    assert ("closed", 0, 2) == (call.resilience.state, counts["success"], counts["cancelled"])


def test_interlock_2_1_2_and_polly_a_cancelled_probe_leaves_the_place_to_the_next_and_closes_nothing(registry, clock):
    async def main():
        @command(key="k", registry=registry, breaker=CircuitBreaker(min_calls=1, open_for=5.0))
        async def call(future):
            return await future

        broken = asyncio.get_running_loop().create_future()
        broken.set_exception(OSError())
        with pytest.raises(OSError):
            await call(broken)
        clock.advance(5.0)
        for _ in range(3):
            task = asyncio.create_task(call(asyncio.get_running_loop().create_future()))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert "half_open" == call.resilience.state
        well = asyncio.get_running_loop().create_future()
        well.set_result("back")
        assert "back" == await call(well)
        assert "closed" == call.resilience.state

    virtual_time(main())


def test_circuitbreaker_and_resilience4j_a_success_from_before_the_trip_does_not_close_the_circuit(registry):
    """The late answer belongs to an era that is over."""
    @command(key="k", registry=registry, timeout=None, breaker=CircuitBreaker(min_calls=1))
    def call(inner):
        return inner()

    def fail():
        raise OSError

    def fail_meanwhile():
        with pytest.raises(OSError):
            call(fail)
        return "late success"

    assert "late success" == call(fail_meanwhile)
    assert "open" == call.resilience.state


def test_hystrix_1_3_a_a_bad_request_as_the_probe_does_not_open_again(registry, clock):
    @command(key="k", registry=registry, timeout=None, breaker=CircuitBreaker(min_calls=1, open_for=5.0))
    def call(error):
        if error:
            raise error

    with pytest.raises(OSError):
        call(OSError)
    clock.advance(5.0)
    with pytest.raises(BadRequestError):
        call(BadRequestError)
    assert "half_open" == call.resilience.state
    call(None)
    assert "closed" == call.resilience.state


def test_hystrix_1_3_d_the_call_that_reaches_the_threshold_opens_the_circuit_itself(registry):
    """There a stream decides, up to half a second later."""
    heard = []
    registry.subscribe(StateChanged, lambda event: heard.append((event.new, sys.exc_info()[0])))
    call, run_it = failing("sync", registry)
    for _ in range(5):
        with pytest.raises(OSError):
            run_it()

    assert [("open", OSError)] == heard, "told while the fifth error was on its way"


def test_interlock_an_inner_timeout_error_is_the_users_and_ours_is_ours(registry):
    """It turned a user's TimeoutError after no time at all into "exceeded 10 s"."""
    async def main():
        @command(key="inner", registry=registry, timeout=1.0)
        async def inner():
            await asyncio.sleep(50.0)

        @command(key="outer", registry=registry, timeout=10.0)
        async def outer(own):
            if own:
                async with asyncio.timeout(0.5):
                    await asyncio.sleep(50.0)
            await inner()

        with pytest.raises(TimeoutError) as caught:
            await outer(True)
        assert not isinstance(caught.value, CallTimeoutError)
        with pytest.raises(CallTimeoutError) as late:
            await outer(False)
        assert ("inner", 1.0) == (late.value.key, late.value.timeout)
        counts = outer.resilience.snapshot().counts
        assert (2, 0) == (counts["failure"], counts["timeout"])

    virtual_time(main())


def test_opossum_refused_and_running_calls_do_not_dilute_the_rate_that_opens(registry):
    """Its rate is failures by fires, and fires has refusals, cache hits and calls in flight."""
    @command(key="k", registry=registry, timeout=None, max_concurrent=20,
             breaker=CircuitBreaker(min_calls=4, failure_rate=1.0))
    def rows():
        how = yield
        if how:
            raise how

    running = [rows() for _ in range(20)]
    for generator in running:
        next(generator)
    for _ in range(50):
        with pytest.raises(BulkheadFullError):
            next(rows())
    for _ in range(4):
        with pytest.raises(OSError):
            running.pop().send(OSError())

    assert "open" == rows.resilience.state


def test_hyx_a_listener_that_nobody_would_await_is_refused(registry):
    """It keeps its listeners' tasks in a WeakSet, where they may vanish half-way; we have plain functions only."""
    async def listener(event): ...

    with pytest.raises(TypeError, match="nobody would await"):
        registry.subscribe(StateChanged, listener)


def test_interlock_a_listener_that_raises_does_not_break_the_call_it_hears_of(registry, caplog):
    def listener(event):
        raise RuntimeError("the listener's")

    registry.subscribe(StateChanged, listener)
    call, run_it = failing("sync", registry)
    for _ in range(5):
        with pytest.raises(OSError, match="down"):
            run_it()
    call.resilience.reset()
    call.resilience.force_open()

    assert 1 == len([record for record in caplog.records if record.exc_info]), "logged once"
    assert 0 == call.resilience.snapshot().in_flight
