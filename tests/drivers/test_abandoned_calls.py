"""Abandoned are calls whose caller left while a worker runs them; one that never began is not, whoever leaves how often."""

import threading

import pytest

from resilience import DeadlineExceededError, Registry, ThreadPool, command, deadline
from resilience.core.bulkhead import Bulkhead, Slots
from resilience.drivers.workers import ThreadIsolation, WorkerPool

from .until import until


def test_a_call_that_no_worker_began_within_its_deadline_is_not_abandoned_then_or_later():
    registry, release, begun = Registry(), threading.Event(), threading.Event()
    pool = ThreadPool(size=1, max_queue=2)

    @command(registry=registry, key="holds", group="g", isolation="thread", timeout=None, max_concurrent=None, pool=pool)
    def holds():
        begun.set()
        release.wait(20)

    @command(registry=registry, key="queues", group="g", isolation="thread", timeout=None, max_concurrent=None, pool=pool)
    def queues():
        raise AssertionError

    holder = threading.Thread(target=holds)
    holder.start()
    try:
        assert begun.wait(10)
        with deadline(0.01), pytest.raises(DeadlineExceededError):
            queues()
        assert 0 == queues.resilience.snapshot().abandoned
    finally:
        release.set()
        holder.join(10)
    until(lambda: not queues.resilience.snapshot().in_flight)
    assert 0 == queues.resilience.snapshot().abandoned


def test_leaving_a_call_a_second_time_changes_nothing_whether_it_had_begun_or_not():
    pool = WorkerPool("p", size=1, max_queue=2)
    isolation = ThreadIsolation("k", Slots(Bulkhead(None), key="k"), pool, None)
    release, begun = threading.Event(), threading.Event()

    def hold():
        begun.set()
        release.wait(20)

    running = isolation.submit(hold, (), {}, 0.0)
    assert begun.wait(10)
    waiting = isolation.submit(hold, (), {}, 0.0)
    try:
        assert [True, False] == [waiting.leave(), waiting.leave()]
        assert (False, 0) == (waiting.revoke(), isolation.abandoned)
        assert [True, False] == [running.leave(), running.leave()]
        assert 1 == isolation.abandoned
    finally:
        release.set()
    until(lambda: not isolation._slots.in_flight)
    assert 0 == isolation.abandoned
    pool.close()
