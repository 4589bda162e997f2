"""Alarms ring when they are due, each once, on a thread that is there only while it is needed."""

from __future__ import annotations

import queue
import random
import sys
import threading

import pytest

from resilience.drivers import alarms as module
from resilience.drivers.alarms import Alarms
from resilience.drivers.system_clock import waited_clock

WAIT_S = 30.0


def test_alarms_ring_in_the_order_in_which_they_are_due_and_not_when_they_are_off():
    alarms, rung = Alarms(), queue.SimpleQueue()
    now, numbers = waited_clock(), list(range(300))
    random.Random(1).shuffle(numbers)
    for number in numbers:
        alarm = alarms.set(now + 0.05 + number * 1e-4, lambda late, number=number: rung.put((number, late)))
        if number % 3:
            alarm.ring = None
    found = [rung.get(timeout=WAIT_S) for _ in range(100)]
    assert list(range(0, 300, 3)) == [number for number, _ in found]
    assert all(late >= 0.0 for _, late in found)
    assert rung.empty()


def test_the_thread_ends_when_no_alarm_is_set_and_the_next_one_starts_another(monkeypatch):
    monkeypatch.setattr(module, "IDLE_S", 0.001)
    alarms, rung = Alarms(), queue.SimpleQueue()
    for _ in range(3):
        alarms.set(waited_clock(), lambda late: rung.put(threading.current_thread()))
        rung.get(timeout=WAIT_S).join(WAIT_S)
        assert alarms._token == [None]


def test_an_alarm_that_is_set_while_the_thread_ends_is_not_lost():
    alarms, rung = Alarms(), queue.SimpleQueue()

    class Ending(queue.SimpleQueue):
        """The thread has waited in vain; before it has given its token back, somebody sets an alarm."""

        ends = False

        def get(self, block=True, timeout=None):
            if not self.ends:
                self.ends = True
                alarms.set(waited_clock(), rung.put)
                raise queue.Empty
            return super().get(block, timeout)

    alarms._new, alarms._token[:] = Ending(), []
    thread = threading.Thread(target=alarms._run, args=(alarms._new, alarms._token), daemon=True)
    thread.start()
    assert rung.get(timeout=WAIT_S) >= 0.0
    assert [] == alarms._token


def test_an_alarm_of_a_system_without_threads_says_so_and_the_next_one_may_succeed(monkeypatch):
    alarms, rung = Alarms(), queue.SimpleQueue()

    def none(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched, pytest.raises(RuntimeError):
        patched.setattr(module, "start", none)
        alarms.set(waited_clock(), rung.put)
    alarms.set(waited_clock(), rung.put)
    assert rung.get(timeout=WAIT_S) >= 0.0


def test_the_heap_forgets_what_is_off_long_before_it_is_due():
    alarms, rung = Alarms(), queue.SimpleQueue()
    made = []
    for _ in range(5000):
        made.append(alarms.set(waited_clock() + 3600.0, rung.put))
        made[-1].ring = None
    alarms.set(waited_clock(), rung.put)
    rung.get(timeout=WAIT_S)
    mine = min(sys.getrefcount(alarm) for alarm in made)
    assert sum(sys.getrefcount(alarm) > mine for alarm in made) < 100
