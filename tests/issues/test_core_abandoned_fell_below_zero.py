"""A worker that ended while its caller was leaving was struck off before it was counted: minus one abandoned."""

import threading

from resilience.core.bulkhead import Bulkhead, Slots
from resilience.drivers.workers import ThreadIsolation, WorkerPool
from resilience.errors import CallTimeoutError
from tests.drivers.until import until


def test_a_worker_that_ends_while_its_caller_leaves_is_never_counted_below_zero():
    pool, go, seen = WorkerPool("leaving", size=1, max_queue=0), threading.Event(), []

    class EndsMeanwhile(list):
        def __iadd__(self, more):
            go.set()
            pool.close()
            until(lambda: not [t for t in threading.enumerate() if t.name.startswith("resilience-leaving-")])
            seen.append(len(self))
            super().__iadd__(more)
            seen.append(len(self))
            return self

    isolation = ThreadIsolation("k", Slots(Bulkhead(1), key="k"), pool, 0.01)
    isolation.abandoned_jobs = EndsMeanwhile()
    try:
        isolation.wait(isolation.submit(go.wait, (10,), {}, 0.0))
    except CallTimeoutError:
        pass

    assert [0, 1] == seen
    assert 0 == isolation.abandoned
