"""A shared pool without a queue did not note where calls come from; when it was given one, calls waited for themselves.

A call that comes from a thread of a pool is refused if it would wait for that thread. Whether it would is told by notes
that each call on a pool with a queue carried. Calls that began before the pool had a queue carried none.
"""

import threading

import pytest

from resilience.core.bulkhead import Bulkhead, Slots
from resilience.drivers.workers import ThreadIsolation, WorkerPool
from resilience.errors import ThreadPoolFullError


def test_a_call_that_began_before_its_pool_had_a_queue_does_not_wait_for_itself():
    pool = WorkerPool("g", size=1, max_queue=0)
    isolation = ThreadIsolation("k", Slots(Bulkhead(5), key="k"), pool, 10.0)
    begun, has_queue = threading.Event(), threading.Event()

    def outer():
        begun.set()
        assert has_queue.wait(10)
        with pytest.raises(ThreadPoolFullError) as refused:
            isolation.wait(isolation.submit(str, (1,), {}, 0.0))
        return refused.value

    job = isolation.submit(outer, (), {}, 0.0)
    assert begun.wait(10)
    pool.configure(1, 1)
    has_queue.set()

    assert isolation.wait(job).waits_for_itself
    assert not pool.waiting
