"""Workers under many callers at once."""

import random
import threading

import pytest

from resilience.core.bulkhead import Bulkhead, Slots
from resilience.core.window import Tally
from resilience.drivers.workers import ThreadIsolation, WorkerPool
from resilience.errors import BulkheadFullError, CallTimeoutError
from tests.core.hammer import hammer
from tests.drivers.until import until


def test_callers_that_stay_and_callers_that_leave_lose_no_place_and_pass_no_bound():
    pool = WorkerPool("g", size=3, max_queue=2)
    isolation = ThreadIsolation("k", Slots(Bulkhead(4), key="k"), pool, 10.0)
    impatient = ThreadIsolation("i", Slots(Bulkhead(4), key="i"), pool, 1e-6)
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
        isolation, outcomes = ThreadIsolation("k", Slots(Bulkhead(None), key="k"), pool, 10.0), []

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


@pytest.mark.parametrize("shared", [True, False])
def test_sizes_that_change_all_the_time_lose_no_place_and_strand_nobody(shared):
    """Callers stay, leave, and call from within; the bounds go up and down meanwhile."""
    pool = WorkerPool("g", size=3, max_queue=4, idle=0.001) if shared else WorkerPool("g", idle=0.001)
    slots = [Slots(Bulkhead(limit), key=str(limit)) for limit in (4, 6)]
    patient, impatient = (ThreadIsolation(each._key, each, pool, timeout, each.limit)
                          for each, timeout in zip(slots, (20.0, 0.0005), strict=True))
    ended, over = Tally(), threading.Event()

    def call(isolation, depth):
        def work():
            threading.Event().wait(0.0002)
            if depth:
                call(patient, depth - 1)

        try:
            isolation.wait(isolation.submit(work, (), {}, 0.0))
            ended.bump()
        except BulkheadFullError:
            pass
        except CallTimeoutError:
            assert isolation is impatient

    def resize():
        dice = random.Random(1)
        while not over.wait(0.0003):
            if shared:
                pool.configure(dice.randint(1, 5), dice.randint(0, 5))
            else:
                limit = dice.randint(1, 6)
                patient.bring(max(limit, patient.threads))
                slots[0].configure(Bulkhead(limit))
                patient.bring(limit)

    changer = threading.Thread(target=resize)
    changer.start()
    hammer(*(lambda isolation=isolation: [call(isolation, turn % 3) for turn in range(50)]
             for isolation in (patient, impatient)), threads=4)
    over.set()
    changer.join()
    until(lambda: not pool.admitted)
    until(lambda: not impatient.abandoned)

    assert 0 < ended.take()
    if shared:
        pool.configure(3, 4)
    for each in slots:
        each.collect()
        assert (0, 0) == (each.in_flight, each.owed)
    assert 0 == pool.waiting
    until(lambda: not pool.threads)
    assert "still there" == call_once(patient)


def call_once(isolation):
    return isolation.wait(isolation.submit(lambda: "still there", (), {}, 0.0))
