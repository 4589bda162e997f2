"""A shared pool that grew looked at the first call in its queue, and took another one out of it.

Callers whose time is up take their call out of the queue without the pool's lock. One that left between the pool's look at the first
call and its taking out made the pool drop the second one, which then never ran and kept its slot and its place for
ever; or it left the queue empty, and the thread that was to have a call ended with an IndexError.
"""

import threading

import pytest

from resilience.core.bulkhead import Bulkhead, Slots
from resilience.drivers.workers import ThreadIsolation, WorkerPool
from tests.drivers.until import until


@pytest.fixture
def busy():
    """A pool whose only thread is at work, a command on it, and what ends that work."""
    pool, free = WorkerPool("g", size=1, max_queue=2), threading.Event()
    isolation = ThreadIsolation("k", Slots(Bulkhead(5), key="k"), pool, 10.0)
    running = isolation.submit(free.wait, (10.0,), {}, 0.0)
    yield pool, isolation, free
    free.set()
    isolation.wait(running)


def grow_while_it_leaves(pool, job, monkeypatch):
    """Let the pool have another thread; the caller of *job* leaves as soon as the pool looks for somebody to run there."""
    take = Slots.take

    def take_while_it_leaves(self, taken):
        take(self, taken)
        job.leave()

    monkeypatch.setattr(Slots, "take", take_while_it_leaves)
    pool.configure(2, 2)
    monkeypatch.undo()


def test_a_caller_that_leaves_while_the_pool_grows_takes_nobody_else_with_it(busy, monkeypatch):
    pool, isolation, _ = busy
    leaves, stays = (isolation.submit(str, (each,), {}, 0.0) for each in (1, 2))
    grow_while_it_leaves(pool, leaves, monkeypatch)

    assert "2" == isolation.wait(stays)
    until(lambda: 1 == pool.admitted == isolation.in_flight)
    assert not pool.waiting


def test_the_only_caller_that_waits_may_leave_while_the_pool_grows(busy, monkeypatch):
    pool, isolation, _ = busy
    grow_while_it_leaves(pool, isolation.submit(str, (1,), {}, 0.0), monkeypatch)

    assert "after" == isolation.wait(isolation.submit(str, ("after",), {}, 0.0))
    until(lambda: 1 == pool.admitted)


def test_the_only_caller_that_waits_may_leave_while_a_thread_looks_for_its_next_call(busy, monkeypatch):
    pool, isolation, _ = busy
    pool.configure(2, 2)
    free, asked = threading.Event(), threading.Event()
    second = isolation.submit(free.wait, (10.0,), {}, 0.0)
    pool.configure(1, 2)  # one of the two threads is one too many
    leaves = isolation.submit(str, (1,), {}, 0.0)

    def nobody_can_end(spare):
        leaves.leave()
        asked.set()
        return False

    monkeypatch.setattr(pool, "_can_end", nobody_can_end)
    free.set()
    assert isolation.wait(second)
    assert asked.wait(10)
    until(lambda: 1 == pool.admitted)
    monkeypatch.undo()
    assert (1, 0) == (isolation.in_flight, pool._turns.owed)
