"""Thread isolation: what is bounded, what is abandoned, and what reaches the worker."""

import contextvars
import gc
import signal
import subprocess
import sys
import threading
import traceback
import weakref

import pytest

from resilience.core.bulkhead import Bulkhead, Slots
from resilience.drivers.workers import Job, ThreadIsolation, WorkerPool
from resilience.errors import BulkheadFullError, CallTimeoutError, ConfigError, ThreadPoolFullError
from tests.drivers.until import until
from tests.forked import forked

SOON = 0.01  # a timeout that is meant to pass


class Stuck:
    """A call that runs until it is let go."""

    def __init__(self):
        self.go, self.started = threading.Event(), threading.Semaphore(0)
        self.inside = self.peak = self.runs = 0
        self.lock = threading.Lock()

    def __call__(self):
        with self.lock:
            self.runs += 1
            self.inside += 1
            self.peak = max(self.peak, self.inside)
        self.started.release()
        assert self.go.wait(10)
        with self.lock:
            self.inside -= 1
        return "done"


@pytest.fixture(name="stuck")
def _stuck():
    stuck = Stuck()
    yield stuck
    stuck.go.set()


@pytest.fixture(name="make")
def _make():
    pools = []

    def make(*, limit=None, size=2, max_queue=0, timeout=10.0, pool=None):
        if pool is None:
            pool = WorkerPool("g", size=size, max_queue=max_queue)
            pools.append(pool)
        return ThreadIsolation("k", Slots(Bulkhead(limit), key="k"), pool, timeout)

    yield make
    for pool in pools:
        pool.close()
        until(lambda pool=pool: not pool.threads)


def call(isolation, fn, *args, **kwargs):
    return isolation.wait(isolation.submit(fn, args, kwargs, 0.0))


def in_flight(isolation):
    return isolation._slots.in_flight


def test_a_call_runs_on_a_worker_and_its_result_comes_back(make):
    isolation = make()

    assert threading.get_ident() != call(isolation, threading.get_ident)
    assert {"a": 1} == call(isolation, dict, a=1)
    until(lambda: not in_flight(isolation))
    assert 2 == isolation.pool.completed


def test_threads_are_made_as_needed_and_not_for_calls_one_by_one(make):
    isolation = make(size=5)
    assert 0 == isolation.pool.threads
    for _ in range(50):
        call(isolation, int)
        until(lambda: not isolation.pool.admitted)

    assert 1 == isolation.pool.threads


def test_the_slot_is_held_until_the_worker_ends_not_until_the_caller_leaves(make, stuck):
    isolation = make(limit=1, size=4, timeout=SOON)
    job = isolation.submit(stuck, (), {}, 0.0)
    assert stuck.started.acquire(timeout=10)
    with pytest.raises(CallTimeoutError) as caught:
        isolation.wait(job)
    assert ("k", SOON) == (caught.value.key, caught.value.timeout)
    assert (1, 1, 1) == (isolation.abandoned, in_flight(isolation), isolation.pool.admitted)
    for _ in range(3):
        with pytest.raises(BulkheadFullError):
            call(isolation, stuck)
    stuck.go.set()
    until(lambda: not isolation.abandoned)

    assert (0, 0) == (in_flight(isolation), isolation.pool.admitted)
    assert (1, 1) == (stuck.peak, stuck.runs)


def test_queued_work_that_has_expired_never_starts(make, stuck):
    isolation, ran = make(size=1, max_queue=3), []
    running = isolation.submit(stuck, (), {}, 0.0)
    isolation.timeout = SOON
    for _ in range(3):
        with pytest.raises(CallTimeoutError):
            call(isolation, ran.append, 1)
    assert 0 == isolation.abandoned
    stuck.go.set()
    isolation.timeout = 10.0
    assert "done" == isolation.wait(running)
    until(lambda: not isolation.pool.admitted)

    assert [] == ran
    assert 0 == in_flight(isolation)
    assert "alive" == call(isolation, lambda: "alive")


def test_pool_and_queue_are_bounded_and_a_refusal_gives_the_slot_back(make, stuck):
    isolation = make(size=2, max_queue=1)
    jobs = [isolation.submit(stuck, (), {}, 0.0) for _ in range(3)]
    for _ in range(5):
        with pytest.raises(BulkheadFullError):
            isolation.submit(stuck, (), {}, 0.0)
    assert (3, 3) == (in_flight(isolation), isolation.pool.admitted)
    assert all(stuck.started.acquire(timeout=10) for _ in range(2))
    stuck.go.set()

    assert ["done"] * 3 == [isolation.wait(job) for job in jobs]
    until(lambda: not in_flight(isolation))
    assert (2, 3) == (stuck.peak, isolation.pool.largest)


def test_commands_of_one_group_share_its_threads_but_not_their_slots(make, stuck):
    first = make(limit=1, size=2)
    second = make(limit=2, pool=first.pool)
    jobs = [(first, first.submit(stuck, (), {}, 0.0)), (second, second.submit(stuck, (), {}, 0.0))]
    with pytest.raises(BulkheadFullError):
        second.submit(stuck, (), {}, 0.0)  # it has a slot, the pool has no thread
    stuck.go.set()

    assert ["done", "done"] == [isolation.wait(job) for isolation, job in jobs]


def test_a_pool_grows_while_its_workers_are_busy_and_those_who_wait_begin_at_once(make, stuck):
    isolation = make(size=1, max_queue=2)
    jobs = [isolation.submit(stuck, (), {}, 0.0) for _ in range(3)]
    assert stuck.started.acquire(timeout=10)
    assert 2 == isolation.pool.waiting
    isolation.pool.configure(3, 0)
    for _ in range(2):
        assert stuck.started.acquire(timeout=10)
    with pytest.raises(ThreadPoolFullError):
        isolation.submit(stuck, (), {}, 0.0)
    stuck.go.set()

    assert ["done"] * 3 == [isolation.wait(job) for job in jobs]
    assert (3, 0) == (isolation.pool.size, isolation.pool.waiting)


def test_a_pool_that_shrinks_lets_run_what_runs_and_then_holds_to_its_size(make, stuck):
    isolation = make(size=3, max_queue=3)
    running = [isolation.submit(stuck, (), {}, 0.0) for _ in range(3)]
    assert all(stuck.started.acquire(timeout=10) for _ in range(3))
    isolation.pool.configure(1, 3)
    with pytest.raises(ThreadPoolFullError):
        [isolation.submit(stuck, (), {}, 0.0) for _ in range(2)]
    stuck.go.set()
    assert ["done"] * 3 == [isolation.wait(job) for job in running]
    until(lambda: not isolation.pool.admitted)
    slow = Stuck()
    jobs = [isolation.submit(slow, (), {}, 0.0) for _ in range(4)]
    assert slow.started.acquire(timeout=10)
    assert 3 == isolation.pool.waiting
    slow.go.set()

    assert ["done"] * 4 == [isolation.wait(job) for job in jobs]
    assert 1 == slow.peak


@pytest.mark.parametrize("error", [ValueError("mine"), TimeoutError("mine"), SystemExit(3), KeyboardInterrupt("mine")])
def test_the_callers_get_the_very_exception_with_the_workers_frames(make, error):
    def fails():
        raise error

    with pytest.raises(type(error)) as caught:
        call(make(), fails)

    assert error is caught.value
    assert "fails" in [frame.name for frame in traceback.extract_tb(error.__traceback__)]


@pytest.mark.parametrize("timeout", [None, 10.0])
def test_an_exception_is_in_no_reference_cycle(make, timeout):
    isolation = make(timeout=timeout)

    def fails():
        raise KeyError("x")

    gc.collect()
    gc.disable()
    try:
        try:
            call(isolation, fails)
        except KeyError as error:
            ref = _Ref(error)
        until(lambda: ref.gone)
    finally:
        gc.enable()


class _Ref:
    """Exceptions take no weak references; an object that hangs on one does."""

    def __init__(self, error):
        error.marker = _Marker()
        self._ref = weakref.ref(error.marker)

    @property
    def gone(self):
        return self._ref() is None


class _Marker:
    pass


def test_arguments_and_results_are_not_kept_once_the_call_is_over(make):
    isolation = make()
    argument = _Marker()
    ref = weakref.ref(argument)
    gc.disable()
    try:
        assert argument is call(isolation, lambda x: x, argument)
        del argument
        until(lambda: ref() is None)
    finally:
        gc.enable()


def test_context_variables_reach_the_worker_and_do_not_leak_back(make):
    var = contextvars.ContextVar("var", default="unset")
    isolation, seen = make(size=1), []

    def work():
        seen.append(var.get())
        var.set("set by the worker")

    token = var.set("caller's")
    call(isolation, work)
    assert "caller's" == var.get()
    var.reset(token)
    call(isolation, work)

    assert ["caller's", "unset"] == seen


def test_without_a_timeout_the_caller_waits_as_long_as_it_takes(make, stuck):
    isolation = make(timeout=None)
    job = isolation.submit(stuck, (), {}, 0.0)
    assert stuck.started.acquire(timeout=10)
    stuck.go.set()

    assert "done" == isolation.wait(job)


def test_an_interrupt_while_waiting_leaves_the_worker_to_end_and_counts_it_meanwhile(make, stuck):
    isolation, main, struck = make(limit=1), threading.main_thread().ident, threading.Event()

    def strike(*_):
        if not struck.is_set():
            struck.set()
            raise KeyboardInterrupt

    def interrupt():
        assert stuck.started.acquire(timeout=10)
        until(lambda: sys._current_frames()[main].f_code is Job.wait.__code__)
        # A signal on the way into the lock is heard when the next one ends the wait.
        until(lambda: struck.is_set() or signal.pthread_kill(main, signal.SIGINT))

    usual = signal.signal(signal.SIGINT, strike)
    helper = threading.Thread(target=interrupt)
    helper.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            call(isolation, stuck)
        helper.join()
    finally:
        signal.signal(signal.SIGINT, usual)
    assert (1, 1) == (isolation.abandoned, in_flight(isolation))
    stuck.go.set()
    until(lambda: not isolation.abandoned)

    assert 0 == in_flight(isolation)


def test_a_system_out_of_threads_refuses_the_call_and_keeps_nothing(make, monkeypatch):
    isolation = make(limit=1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _no_thread)
        for _ in range(3):
            with pytest.raises(BulkheadFullError) as caught:
                call(isolation, int)
            assert caught.value.__suppress_context__
    assert (0, 0, 0) == (in_flight(isolation), isolation.pool.admitted, isolation.pool.threads)

    assert 0 == call(isolation, int)


def _no_thread(self):
    raise RuntimeError("can't start new thread")


def test_with_threads_left_a_call_queues_when_the_system_gives_no_more(make, stuck, monkeypatch):
    isolation = make(size=3)
    running = isolation.submit(stuck, (), {}, 0.0)
    assert stuck.started.acquire(timeout=10)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _no_thread)
        waiting = isolation.submit(int, (), {}, 0.0)
    stuck.go.set()

    assert ["done", 0] == [isolation.wait(running), isolation.wait(waiting)]


def test_a_closed_pool_ends_what_it_has_and_takes_no_more(make, stuck):
    isolation = make(size=1, max_queue=1)
    jobs = [isolation.submit(stuck, (), {}, 0.0), isolation.submit(int, (), {}, 0.0)]
    isolation.pool.close()
    isolation.pool.close()
    for _ in range(4):
        with pytest.raises(BulkheadFullError):
            isolation.submit(int, (), {}, 0.0)
    stuck.go.set()

    assert ["done", 0] == [isolation.wait(job) for job in jobs]
    until(lambda: not isolation.pool.threads)
    assert (0, 0) == (in_flight(isolation), isolation.pool.admitted)


def test_a_hung_worker_does_not_keep_the_interpreter_alive():
    script = """
import threading
from resilience.core.bulkhead import Bulkhead, Slots
from resilience.drivers.workers import ThreadIsolation, WorkerPool
isolation = ThreadIsolation("k", Slots(Bulkhead(1), key="k"), WorkerPool("g", size=1, max_queue=0), 0.01)
try:
    isolation.wait(isolation.submit(threading.Event().wait, (), {}, 0.0))
except TimeoutError:
    print("left it hanging")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False)

    assert ("left it hanging\n", "", 0) == (done.stdout, done.stderr, done.returncode)


def test_importing_starts_no_thread_and_reads_no_environment():
    script = """
import os, threading
import attrs, wrapt, concurrent.futures, asyncio, logging
def loud(self, *a, **k): raise AssertionError("environment read")
type(os.environ).__getitem__ = loud
import resilience
assert threading.active_count() == 1
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False)

    assert ("", 0) == (done.stderr, done.returncode)


def test_a_forked_child_has_locks_slots_and_threads_of_its_own(make, stuck):
    isolation = make(limit=1, size=1)
    slots = isolation._slots
    job = isolation.submit(stuck, (), {}, 0.0)
    assert stuck.started.acquire(timeout=10)

    def child():
        slots.renew()
        isolation.pool.renew()
        isolation.renew()
        assert (0, 0, 0) == (slots.in_flight, isolation.pool.threads, isolation.abandoned)
        assert "child" == call(isolation, lambda: "child")

    with isolation.pool._lock, slots._lock:  # held at the fork, and so for ever in the child
        assert 0 == forked(child)
    stuck.go.set()

    assert "done" == isolation.wait(job)


@pytest.mark.parametrize(("size", "max_queue", "option"), [
    (0, 0, "size"), (10_001, 0, "size"), (True, 0, "size"), (2.0, 0, "size"), (1, -1, "max_queue"), (1, 10**6 + 1, "max_queue")])
def test_a_size_out_of_range_changes_nothing(make, size, max_queue, option):
    pool = make(size=2, max_queue=3).pool
    with pytest.raises(ConfigError) as caught:
        pool.configure(size, max_queue)

    assert option == caught.value.option
    assert (2, 3) == (pool.size, pool.max_queue)


def test_a_pool_to_which_each_command_brings_its_own_threads_has_no_size_to_change():
    with pytest.raises(ConfigError, match="change max_concurrent"):
        WorkerPool("g").configure(3, 0)
