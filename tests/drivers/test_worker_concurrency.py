"""Workers under many callers at once."""

import threading

from resilience.core.bulkhead import Bulkhead, Slots
from resilience.core.window import Tally
from resilience.drivers.workers import Isolation, WorkerPool
from resilience.errors import BulkheadFullError, CallTimeoutError
from tests.core.hammer import hammer
from tests.drivers.until import until


def test_callers_that_stay_and_callers_that_leave_lose_no_place_and_pass_no_bound():
    pool = WorkerPool("g", size=3, max_queue=2)
    isolation = Isolation("k", Slots(Bulkhead(4), key="k"), pool, 10.0)
    impatient = Isolation("i", Slots(Bulkhead(4), key="i"), pool, 1e-6)
    lock, inside, most, ended = threading.Lock(), 0, 0, Tally()

    def work():
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        with lock:
            inside -= 1
        return "done"

    def calls():
        for i in range(120):
            who = isolation if i % 3 else impatient
            try:
                job = who.submit(work, (), {}, 0.0)
            except BulkheadFullError:
                continue
            try:
                assert "done" == who.wait(job)
            except CallTimeoutError:
                assert who is impatient
            ended.bump()

    hammer(calls)
    until(lambda: not pool.admitted)
    until(lambda: not impatient.abandoned)

    assert 0 < ended.take()
    assert most <= 3
    assert pool.threads <= 3
    assert (0, 0, 0) == (isolation._slots.in_flight, impatient._slots.in_flight, isolation.abandoned)
    assert pool.largest <= 5
    pool.close()
    until(lambda: not pool.threads)


def test_calls_racing_with_close_are_run_or_refused_but_never_forgotten():
    for _ in range(15):
        pool = WorkerPool("g", size=2, max_queue=100)
        isolation, outcomes = Isolation("k", Slots(Bulkhead(None), key="k"), pool, 10.0), []

        def calls(isolation=isolation, outcomes=outcomes):
            for _ in range(20):
                try:
                    outcomes.append(isolation.wait(isolation.submit(str, (1,), {}, 0.0)))
                except BulkheadFullError:
                    outcomes.append("refused")

        hammer(calls, pool.close, threads=2)

        assert {"1", "refused"} >= set(outcomes)
        assert 40 == len(outcomes)
        until(lambda pool=pool: not pool.threads)
        assert (0, 0) == (pool.admitted, isolation._slots.in_flight)
