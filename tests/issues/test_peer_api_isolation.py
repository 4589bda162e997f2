"""Defects of other decorators in bounding calls, seen from the decorator; each test names the peer."""

import asyncio
import contextvars
import threading

import pytest

from resilience import (
    Bulkhead,
    BulkheadFullError,
    CallTimeoutError,
    CircuitBreaker,
    Pipeline,
    ThreadPool,
    Timeout,
    bulkhead,
    command,
    timeout,
)
from resilience.testing import virtual_time
from tests.drivers.until import until

FORMS = {
    "command": lambda registry: command(key="k", registry=registry, timeout=0.001, max_concurrent=1),
    "stack": lambda registry: lambda fn: bulkhead(1, registry=registry)(timeout(0.001, registry=registry)(fn)),
    "pipeline": lambda registry: Pipeline(Bulkhead(1), Timeout(0.001), key="k", registry=registry),
}


@pytest.mark.parametrize("form", FORMS)
def test_interlock_and_pyresilience_a_bulkhead_of_one_lets_one_call_run_though_its_callers_gave_up(registry, form):
    """Eight ran at once there: the slot was freed when the caller left, not when the thread ended."""
    go, entered = threading.Event(), []

    @FORMS[form](registry)
    def call():
        entered.append(True)
        go.wait(10)

    try:
        while not entered:  # one that no worker took in time never runs
            with pytest.raises((CallTimeoutError, BulkheadFullError)):
                call()
        for _ in range(7):
            with pytest.raises(BulkheadFullError):
                call()
        snapshot = call.resilience.snapshot()
        assert (1, 1) == (snapshot.in_flight, snapshot.abandoned)
    finally:
        go.set()
    until(lambda: call.resilience.snapshot().in_flight == 0)
    assert 0 == call.resilience.snapshot().abandoned
    assert 1 == len(entered)


def test_pyresilience_four_hung_calls_do_not_starve_the_other_groups(registry):
    """Its pool has four threads: after four hung calls an instant one timed out."""
    go = threading.Event()

    @command(key="hangs", group="sick", registry=registry, timeout=0.001, max_concurrent=4)
    def hangs():
        go.wait(10)

    @command(key="instant", group="well", registry=registry, timeout=10.0)
    def instant():
        return "answer"

    try:
        while hangs.resilience.snapshot().abandoned < 4:  # one that no worker took in time never hangs
            with pytest.raises(CallTimeoutError):
                hangs()
        with pytest.raises(BulkheadFullError):
            hangs()
        assert "answer" == instant()
    finally:
        go.set()


def test_pyresilience_a_pool_size_that_happens_to_be_the_default_is_a_pool_of_its_own(registry):
    """It switched to the shared pool."""
    calls = [command(key=group, group=group, registry=registry, timeout=5.0, pool=ThreadPool(size=10))(len)
             for group in ("a", "b")]

    assert [3, 3] == [call("abc") for call in calls]
    assert calls[0].resilience.pool is not calls[1].resilience.pool


def test_interlock_context_variables_reach_a_call_on_a_worker(registry):
    variable = contextvars.ContextVar("variable", default="unset")
    call = command(key="k", registry=registry, timeout=5.0)(lambda: variable.get())
    variable.set("the caller's")

    assert "the caller's" == call()


def test_opossum_a_slot_is_not_free_while_the_timed_out_work_goes_on(registry):
    """A coroutine that cleans up after its cancellation is still at work."""
    async def main():
        cleaned = asyncio.Event()

        @command(key="k", registry=registry, timeout=1.0, max_concurrent=1)
        async def call():
            try:
                await asyncio.sleep(100.0)
            finally:
                await cleaned.wait()

        task = asyncio.create_task(call())
        await asyncio.sleep(5.0)
        with pytest.raises(BulkheadFullError):
            await call()
        cleaned.set()
        with pytest.raises(CallTimeoutError):
            await task
        assert 0 == call.resilience.snapshot().in_flight

    virtual_time(main())


def test_hystrix_1_3_e_a_full_bulkhead_does_not_open_the_circuit_unless_asked_to(registry):
    """There, its own refusals count as the target's errors."""
    calls = {count: command(key=str(count), registry=registry, timeout=None, max_concurrent=1,
                            breaker=CircuitBreaker(min_calls=2, count_rejections=count))(lambda inner: inner())
             for count in (False, True)}

    def fill(call):
        for _ in range(5):
            with pytest.raises(Exception, match="bulkhead is full|circuit is open"):
                call(lambda: None)

    for call in calls.values():
        call(lambda call=call: fill(call))

    assert ["closed", "open"] == [call.resilience.state for call in calls.values()]


def test_hyx_the_cancelled_calls_give_every_permit_back(registry):
    """Cancelling a queued entry of its bulkhead lost a permit for good: one of two free afterwards."""
    async def main():
        @command(key="k", registry=registry, timeout=5.0, max_concurrent=2)
        async def call():
            await asyncio.sleep(1.0)

        for _ in range(10):
            tasks = [asyncio.create_task(call()) for _ in range(2)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert 0 == call.resilience.snapshot().in_flight
        await asyncio.gather(call(), call())

    virtual_time(main())
