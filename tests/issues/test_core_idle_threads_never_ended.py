"""A thread that an isolated call was made for stayed until the process ended."""

import gc
import threading
import weakref

import pytest

from resilience import Registry, command
from resilience.core.bulkhead import Bulkhead, Slots
from resilience.drivers.pools import WorkerPool
from resilience.drivers.threads import Threads
from resilience.drivers.workers import ThreadIsolation
from tests.drivers.until import until
from tests.forked import forked

LONG = 30.0


def call(isolation, fn, *args):
    return isolation.wait(isolation.submit(fn, args, {}, 0.0))


@pytest.mark.parametrize("size", [None, 3])
def test_a_thread_without_work_ends_and_another_takes_the_next_call(size):
    pool = WorkerPool("brief", size=size, idle=0.005)
    isolation = ThreadIsolation("k", Slots(Bulkhead(3), key="k"), pool, LONG, 3)
    for _ in range(3):
        assert threading.get_ident() != call(isolation, threading.get_ident)
        until(lambda: not pool.threads)
    assert not [each for each in threading.enumerate() if each.name.startswith("resilience-brief-")]
    assert 3 == pool.completed


def test_calls_one_after_the_other_use_one_thread_and_the_last_to_rest_works_next():
    pool = WorkerPool("steady")
    isolation = ThreadIsolation("k", Slots(Bulkhead(9), key="k"), pool, LONG, 9)
    barrier = threading.Barrier(5)
    jobs = [isolation.submit(barrier.wait, (), {}, 0.0) for _ in range(5)]
    for job in jobs:
        isolation.wait(job)
    assert 5 == pool.threads
    names = {call(isolation, lambda: threading.current_thread().name) for _ in range(100)}

    assert len(names) <= 2  # one that is still on its way to rest may be passed over
    assert 5 == pool.threads == pool.largest
    pool.close()
    until(lambda: not pool.threads)


def test_calls_that_come_as_threads_end_are_all_served():
    """Each call comes at about the moment when the idle thread gives up."""
    pool = WorkerPool("edge", idle=0.0002)
    isolation = ThreadIsolation("k", Slots(Bulkhead(9), key="k"), pool, LONG, 9)
    ends = []

    def caller():
        for n in range(300):
            ends.append(call(isolation, lambda n=n: n))

    callers = [threading.Thread(target=caller) for _ in range(3)]
    for each in callers:
        each.start()
    for each in callers:
        each.join(LONG)

    assert 900 == len(ends)
    until(lambda: not pool.admitted)
    until(lambda: not pool.threads)


def test_a_hundred_commands_of_a_group_share_the_threads_that_they_need():
    registry = Registry()
    commands = [command(key=f"c{n}", group="g", registry=registry, timeout=LONG, max_concurrent=10)(
        lambda n=n: n) for n in range(100)]

    assert list(range(100)) * 3 == [each() for _ in range(3) for each in commands]
    assert registry.pools()["g"].threads <= 3
    assert 1000 == registry.pools()["g"].size
    registry.close()
    until(lambda: not registry.pools()["g"].threads)


def test_an_idle_thread_keeps_nothing_of_its_last_call():
    pool = WorkerPool("clean")
    isolation = ThreadIsolation("k", Slots(Bulkhead(1), key="k"), pool, LONG, 1)

    class Argument:
        pass

    argument = Argument()
    known = weakref.ref(argument)
    assert isinstance(call(isolation, lambda each: each, argument), Argument)
    del argument
    gc.collect()
    until(lambda: gc.collect() is not None and known() is None)
    pool.close()


def test_a_forked_child_makes_threads_of_its_own_though_the_parents_were_idle_or_hung():
    pool, go = WorkerPool("forks"), threading.Event()
    isolation = ThreadIsolation("k", Slots(Bulkhead(3), key="k"), pool, LONG, 3)
    hung = isolation.submit(go.wait, (LONG,), {}, 0.0)
    call(isolation, int)

    def child():
        pool.renew()
        isolation._slots.renew()
        isolation.renew()
        assert (0, 0) == (pool.threads, pool.admitted)
        barrier = threading.Barrier(3)
        jobs = [isolation.submit(barrier.wait, (LONG,), {}, 0.0) for _ in range(3)]
        assert [0, 1, 2] == sorted(isolation.wait(job) for job in jobs)

    assert 0 == forked(child)
    go.set()
    assert isolation.wait(hung) is True
    pool.close()


class _Work:
    def __init__(self):
        self.is_handed, self.ran = False, threading.Event()

    def run(self, rested):
        rested()
        self.ran.set()


def test_an_interrupt_while_a_thread_is_made_leaves_no_thread_that_waits_for_ever(monkeypatch):
    threads, real = Threads("struck"), threading.Thread.start

    def struck(self):
        real(self)
        raise KeyboardInterrupt

    work = _Work()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", struck)
        with pytest.raises(KeyboardInterrupt):
            threads.hand_over(work)

    assert not work.is_handed
    until(lambda: not [each for each in threading.enumerate() if each.name.startswith("resilience-struck-")])
    assert not work.ran.is_set()
    threads.hand_over(work)
    assert work.ran.wait(LONG)
    threads.close()
