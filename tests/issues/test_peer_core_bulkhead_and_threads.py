"""Defects of other bulkheads and thread isolations; each test names the peer."""

import contextvars
import os
import threading
import time

import pytest

from resilience.core.bulkhead import Bulkhead, Slots
from resilience.core.thread_pool import ThreadPool
from resilience.drivers.workers import ThreadIsolation, WorkerPool
from resilience.errors import BulkheadFullError, CallTimeoutError
from resilience.registry import Registry
from tests.drivers.until import until


@pytest.fixture(name="make")
def _make():
    go, pools = threading.Event(), []

    def make(limit, *, size, max_queue=0, timeout=0.01):
        pools.append(WorkerPool("peer", size=size, max_queue=max_queue))
        return ThreadIsolation("k", Slots(Bulkhead(limit), key="k"), pools[-1], timeout), go

    yield make
    go.set()
    for pool in pools:
        pool.close()
        until(lambda pool=pool: not pool.threads)


def call(isolation, fn, *args):
    return isolation.wait(isolation.submit(fn, args, {}, 0.0))


def leave_running(isolation, fn):
    """Call fn, and give up only once a worker runs it: a machine may take longer than the timeout to get there."""
    started = threading.Event()

    def work():
        started.set()
        fn()

    job = isolation.submit(work, (), {}, 0.0)
    assert started.wait(10)
    with pytest.raises(CallTimeoutError):
        isolation.wait(job)


@pytest.mark.parametrize("peer", ["interlock: bulkhead(1) let 8 in", "pyresilience: peak 8",
                                  "opossum: slot freed early"])
def test_a_slot_is_free_when_the_work_ends_not_when_its_caller_gives_up(make, peer):
    isolation, go = make(1, size=8)
    inside, most, lock = 0, 0, threading.Lock()

    def work():
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        go.wait(60)
        with lock:
            inside -= 1

    refused = 0
    for _ in range(8):
        try:
            leave_running(isolation, work)
        except BulkheadFullError:
            refused += 1

    assert (1, 7) == (most, refused), peer


def test_interlock_sync_timeouts_do_not_start_a_thread_for_each_call(make):
    isolation, go = make(None, size=2, max_queue=1)
    before = threading.active_count()
    for _ in range(20):
        with pytest.raises((CallTimeoutError, BulkheadFullError)):
            call(isolation, go.wait, 60)

    assert threading.active_count() <= before + 2


def test_interlock_context_variables_reach_the_worker(make):
    isolation, _ = make(1, size=1, timeout=10.0)
    request = contextvars.ContextVar("request", default=None)
    request.set("r-1")

    assert "r-1" == call(isolation, request.get)


def test_pyresilience_a_pool_full_of_hung_calls_refuses_at_once_and_lets_nobody_wait_in_vain(make):
    isolation, go = make(None, size=4)
    for _ in range(4):
        leave_running(isolation, lambda: go.wait(60))
    isolation.timeout = 60.0
    began = time.monotonic()
    with pytest.raises(BulkheadFullError):
        call(isolation, int)

    assert time.monotonic() - began < 30.0


def test_pyresilience_an_abandoned_worker_is_not_interrupted_nor_is_its_next_job(make):
    isolation, go = make(None, size=1, max_queue=1)
    ended = []

    def work():
        go.wait(60)
        ended.append("in peace")

    leave_running(isolation, work)
    isolation.timeout = 10.0
    job = isolation.submit(sum, ([1, 2],), {}, 0.0)
    go.set()

    assert 3 == isolation.wait(job)
    assert ["in peace"] == ended


@pytest.mark.parametrize("size", [1, os.cpu_count() or 1, min(32, (os.cpu_count() or 1) + 4), 10, 40])
def test_pyresilience_a_pool_of_any_size_is_the_pool_that_was_asked_for(size):
    registry = Registry()
    pools = {group: registry._table.pool(group, ThreadPool(size=size)) for group in ("a", "b")}

    assert pools["a"] is not pools["b"]
    assert [size, size] == [pool.size for pool in pools.values()]


def test_hyx_a_caller_that_leaves_the_queue_leaks_no_capacity(make):
    isolation, go = make(3, size=1, max_queue=2)
    for _ in range(3):
        with pytest.raises(CallTimeoutError):
            call(isolation, go.wait, 60)
    go.set()
    until(lambda: not isolation.pool.admitted)
    isolation.timeout = 10.0

    assert 0 == isolation._slots.in_flight
    assert [0, 0, 0] == [isolation.wait(job) for job in [isolation.submit(int, (), {}, 0.0) for _ in range(3)]]


def test_hystrix_895_a_job_runs_in_its_own_copy_of_the_context(make):
    isolation, _ = make(1, size=1, timeout=10.0)
    var = contextvars.ContextVar("var", default=0)

    def bump():
        var.set(var.get() + 1)
        return var.get()

    assert [1, 1] == [call(isolation, bump), call(isolation, bump)]
    assert 0 == var.get()
