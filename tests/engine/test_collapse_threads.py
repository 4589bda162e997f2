"""Collapsed calls of threads: who leads, who takes over, and that nobody hangs."""

import contextvars
import gc
import random
import threading
import time
import weakref

import pytest

from resilience import CircuitBreaker, MissingResultError, Registry, collapse, command, request_context
from tests.core.hammer import hammer
from tests.drivers.until import until
from tests.forked import forked
from tests.interrupts import interrupted

from .collapsed import LONG, Clock, batches_of, collapsed, waiting


def bare(fn, clock, **settings):
    """The same without a command, so that there is no code but collapse's to interrupt."""
    single = collapse(**settings)(fn)
    batches_of(single)._clock = clock
    return single


def threads_of(*works):
    """Threads that run *works*, and what they returned or raised, by place."""
    ends = [None] * len(works)

    def body(n, work):
        try:
            ends[n] = work()
        except BaseException as error:
            ends[n] = error

    crowd = [threading.Thread(target=body, args=each) for each in enumerate(works)]
    for thread in crowd:
        thread.start()
    return crowd, ends


def at_once(*works):
    """What *works* return or raise, each in a thread."""
    crowd, ends = threads_of(*works)
    for thread in crowd:
        thread.join(30)
    assert not any(thread.is_alive() for thread in crowd)
    return ends


def test_a_full_batch_of_threads_is_one_call_in_one_of_their_threads():
    ran = []

    @collapse(window=LONG, max_batch=8)
    def load(ids):
        ran.append((sorted(ids), threading.get_ident()))
        return {each: each * 2 for each in ids}

    idents = []

    def work(n):
        idents.append(threading.get_ident())
        return load(n)

    assert [2 * n for n in range(8)] == at_once(*(lambda n=n: work(n) for n in range(8)))
    assert [list(range(8))] == [ids for ids, _ in ran]
    assert ran[0][1] in idents


def test_a_batch_is_run_when_its_window_is_over():
    asked = []

    def load(ids):
        asked.append(sorted(ids))
        return {each: each for each in ids}

    clock = Clock(lambda: waiting(single) == 3)
    single = collapsed(load, clock, window=LONG)

    assert [1, 2, 2] == at_once(lambda: single(1), lambda: single(2), lambda: single(2))
    assert [[1, 2]] == asked
    assert LONG == clock()
    assert 3 == single.resilience.snapshot().counts["collapsed"]


def test_on_the_real_clock_a_lone_caller_waits_for_the_window_and_no_longer():
    began = time.monotonic()

    @collapse(window=0.02)
    def load(ids):
        return ids

    assert 7 == load(7)
    assert 0.02 <= time.monotonic() - began < 10


def test_errors_and_missing_answers_reach_whom_they_concern():
    def load(ids):
        return {each: KeyError(each) if each == 1 else each for each in ids if each != 2}

    single = collapsed(load, Clock(lambda: waiting(single) == 3), window=LONG)
    one, two, three = at_once(lambda: single(1), lambda: single(2), lambda: single(3))

    assert "KeyError(1)" == repr(one)
    assert isinstance(two, MissingResultError)
    assert 3 == three


def test_an_error_of_the_batch_reaches_everybody():
    def load(ids):
        raise OSError("down")

    single = collapsed(load, Clock(lambda: waiting(single) == 3), window=LONG)
    errors = at_once(*[lambda: single(1)] * 3)

    assert ["OSError('down')"] * 3 == [repr(error) for error in errors]
    assert 3 == len(set(map(id, errors)))


def test_a_leader_who_is_interrupted_while_he_waits_is_followed_by_another():
    slept = []

    def ready():
        slept.append(threading.get_ident())
        if len(set(slept)) == 1:
            if waiting(single) == 3:
                raise KeyboardInterrupt
            return False
        return True

    asked = []

    def load(ids):
        asked.append(sorted(ids))
        return ids

    single = collapsed(load, Clock(ready), window=LONG)
    ends = at_once(*(lambda n=n: single(n) for n in range(3)))

    lost = next(n for n, end in enumerate(ends) if isinstance(end, KeyboardInterrupt))
    assert [n for n in range(3) if n != lost] == [end for end in ends if isinstance(end, int)]
    assert [[n for n in range(3) if n != lost]] == asked
    assert 0 == batches_of(single).batcher.open


def test_a_leader_who_is_interrupted_while_the_batch_runs_is_followed_by_another():
    asked = []

    def load(ids):
        asked.append(sorted(ids))
        if len(asked) == 1:
            raise KeyboardInterrupt
        return ids

    single = collapsed(load, Clock(lambda: waiting(single) == 3), window=LONG)
    ends = at_once(*(lambda n=n: single(n) for n in range(3)))

    lost = next(n for n, end in enumerate(ends) if isinstance(end, KeyboardInterrupt))
    rest = [n for n in range(3) if n != lost]
    assert rest == [end for end in ends if isinstance(end, int)]
    assert [[0, 1, 2], rest] == asked


def test_a_batch_function_may_ask_for_single_items_itself():
    asked = []

    def load(ids):
        asked.append(sorted(ids))
        return {n: n and n + single(n - 1) for n in ids}

    single = collapsed(load, Clock(), window=LONG)

    assert 6 == single(3)
    assert [[3], [2], [1], [0]] == asked


def test_what_interrupts_a_leader_on_his_own_thread_does_not_wait_for_him():
    """As a signal handler does: it runs while the leader sleeps, on top of him."""
    answers = []

    def ready():
        if not answers:
            answers.append("asked")
            answers.append(single(2))
        return True

    single = collapsed(lambda ids: list(ids), Clock(ready), window=LONG)

    assert 1 == single(1)
    assert ["asked", 2] == answers


def test_many_threads_get_each_his_own_answer():
    asked, lock = [], threading.Lock()

    @collapse(window=0.0005, max_batch=5)
    def load(ids):
        with lock:
            asked.append(ids)
        return {each: -each for each in ids}

    def work():
        chance = random.Random()
        for _ in range(150):
            item = chance.randrange(20)
            assert -item == load(item)

    hammer(work, threads=8)

    assert all(1 <= len(ids) == len(set(ids)) <= 5 for ids in asked)
    assert 0 == batches_of(load).batcher.open


@pytest.mark.parametrize("also", [1, 2], ids=["the same item", "another item"])
def test_an_interrupt_anywhere_in_one_caller_harms_no_other(also):
    done, state = [], {}

    def ready():
        return state["over"] or state["single"] is None or waiting(state["single"]) == 2

    state.update(over=False, single=None)
    single = state["single"] = bare(lambda ids: {each: each for each in ids}, Clock(ready), window=LONG)

    def follow():
        until(lambda: waiting(single) or state["over"])
        done.append(single(also))

    def work():
        state["over"] = False
        done.clear()
        state["thread"] = threading.Thread(target=follow)
        state["thread"].start()
        try:
            assert 1 == single(1)
        finally:
            state["over"] = True

    points = 0
    for points in interrupted(work):
        state["thread"].join(20)
        assert not state["thread"].is_alive(), points
        assert [also] == done
        assert 0 == batches_of(single).batcher.open, points
    assert points > 50


def test_an_interrupt_anywhere_leaves_no_batch_behind():
    single = bare(lambda ids: ids, Clock(), window=LONG)
    points = 0
    for points in interrupted(lambda: single(1)):
        assert 0 == batches_of(single).batcher.open, points
        assert 2 == single(2)
    assert points > 50


def test_the_batch_runs_in_nobodys_context():
    who, seen = contextvars.ContextVar("who", default="nobody"), []

    def load(ids):
        seen.append(who.get())
        who.set("the batch")
        return ids

    shared = collapsed(load, Clock(), window=0)
    by_request = collapsed(load, Clock(), window=0, scope="request")
    who.set("ann")
    shared(1)
    with request_context():
        by_request(1)

    assert ["nobody", "ann"] == seen
    assert "ann" == who.get()


def test_requests_do_not_share_a_batch():
    asked, inside = [], threading.Barrier(3)

    @collapse(window=0.001, scope="request")
    def load(ids):
        asked.append(ids)
        return ids

    def serve():
        with request_context():
            inside.wait(10)
            return load(1)

    assert [1, 1, 1] == at_once(serve, serve, serve)
    assert [[1]] * 3 == asked


def test_a_command_on_threads_of_its_own_is_collapsed_too():
    registry = Registry()

    @collapse(window=LONG, max_batch=4)
    @command(registry=registry, timeout=10.0, breaker=CircuitBreaker())
    def load(ids):
        return {each: threading.current_thread().name for each in ids}

    names = at_once(*(lambda n=n: load(n) for n in range(4)))
    registry.close()

    assert 1 == len(set(names))
    assert names[0].startswith("resilience-")
    assert (1, 4) == tuple(load.resilience.snapshot().counts[name] for name in ("success", "collapsed"))


def test_nothing_stays_behind_when_a_batch_is_over():
    class Answer:
        pass

    class Failure(Exception):
        pass

    single = collapsed(lambda ids: [Answer() if each else Failure() for each in ids], Clock(), window=0)
    gc.collect()
    gc.disable()
    try:
        answer = weakref.ref(single(1))
        try:
            single(0)
        except Failure as error:
            failure = weakref.ref(error)
        assert (None, None) == (answer(), failure())
    finally:
        gc.enable()


def test_a_child_forked_in_mid_batch_starts_with_none():
    release = threading.Event()
    asked = []

    def load(ids):
        asked.append(ids)
        return ids

    single = collapsed(load, Clock(release.is_set), window=LONG)
    crowd, ends = threads_of(lambda: single(1), lambda: single(2))
    until(lambda: waiting(single) == 2)

    def child():
        release.set()
        assert 0 == batches_of(single).batcher.open
        assert 3 == single(3)
        assert [[3]] == asked

    with batches_of(single).batcher._lock:  # held for ever, in the child
        assert 0 == forked(child)
    release.set()
    for thread in crowd:
        thread.join(10)

    assert [1, 2] == ends
