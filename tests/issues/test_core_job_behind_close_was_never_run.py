"""A call that had its place when the pool was closed queued up behind the workers' last word, and waited for ever."""

import threading

import pytest

from resilience.core.bulkhead import Bulkhead, Slots
from resilience.drivers.workers import ThreadIsolation, WorkerPool
from resilience.errors import BulkheadFullError
from tests.drivers.until import until


def alive(pool):
    return [thread for thread in threading.enumerate() if thread.name.startswith(f"resilience-{pool.name}-")]


def test_a_call_that_is_late_for_a_closed_pool_is_refused_and_gives_all_back():
    pool = WorkerPool("closing", size=1, max_queue=1)
    isolation = ThreadIsolation("k", Slots(Bulkhead(1), key="k"), pool, 0.5)
    assert 0 == isolation.wait(isolation.submit(int, (), {}, 0.0))
    until(lambda: not pool.admitted)
    take = pool.take_place

    def take_and_close(taken):
        taken = take(taken)
        pool.close()
        until(lambda: not alive(pool))
        return taken

    pool.take_place = take_and_close
    with pytest.raises(BulkheadFullError):
        isolation.wait(isolation.submit(int, (), {}, 0.0))

    assert (0, 0) == (pool.admitted, isolation._slots.in_flight)


def test_a_closed_pool_loses_no_places_and_counts_its_threads_out():
    pool = WorkerPool("closed", size=1, max_queue=1)
    isolation = ThreadIsolation("k", Slots(Bulkhead(1), key="k"), pool, 0.5)
    assert 0 == isolation.wait(isolation.submit(int, (), {}, 0.0))
    pool.close()
    until(lambda: not alive(pool))
    for _ in range(5):
        with pytest.raises(BulkheadFullError):
            isolation.submit(int, (), {}, 0.0)

    assert (0, 0) == (pool.admitted, pool.threads)
