"""Whatever a call on a thread lacked, its error said that the bulkhead was full: no thread to be had, a closed registry.

"can't start new thread" in a container with a limit of processes, or at the interpreter's end (python/cpython#113964,
open-telemetry/opentelemetry-python#4752), sent operators to raise ``max_concurrent``, which cannot help.
"""

import pickle
import threading

import pytest

from resilience import (
    BulkheadFullError,
    Hedge,
    ThreadPool,
    ThreadPoolClosedError,
    ThreadPoolFullError,
    ThreadUnavailableError,
    bulkhead,
    command,
)
from resilience.events import CallRejected
from tests.drivers.until import until

LONG = 30.0


def no_thread(self):
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("pool", [None, ThreadPool(size=2, max_queue=2)])
def test_a_system_that_gives_no_thread_is_named_with_what_it_said(registry, monkeypatch, pool):
    call = command(key="f", registry=registry, timeout=1.0, pool=pool)(lambda: 1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(ThreadUnavailableError) as caught:
            call()

    assert "f: no thread could be started: can't start new thread" == str(caught.value)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert (0, 1) == (call.resilience.in_flight, call.resilience.snapshot().counts["thread_pool_rejected"])
    assert 0 == call.resilience.pool.admitted
    assert 1 == call()


@pytest.mark.parametrize("pool", [None, ThreadPool(size=2, max_queue=2)])
def test_a_closed_registry_is_named_also_to_groups_that_come_later(registry, pool):
    early = command(key="early", group="a", registry=registry, timeout=1.0, pool=pool)(lambda: 1)
    early()
    registry.close()
    late = command(key="late", group="b", registry=registry, timeout=1.0, pool=pool)(lambda: 1)
    for call, group in ((early, "a"), (late, "b")):
        with pytest.raises(ThreadPoolClosedError) as caught:
            call()
        assert str(caught.value) == f"{call.resilience.key}: its threads have ended: the thread pool of group " \
                                    f"'{group}' was closed"
    assert early.resilience.pool.admitted == early.resilience.in_flight == 0


def test_calls_that_wait_when_the_registry_is_closed_are_served_and_the_threads_end(registry):
    go, inside, ends = threading.Event(), threading.Event(), []
    pool = ThreadPool(size=1, max_queue=3)
    busy = command(key="busy", group="g", registry=registry, timeout=LONG, pool=pool)(
        lambda: inside.set() or go.wait(LONG))
    quick = command(key="quick", group="g", registry=registry, timeout=LONG)(lambda: "served")
    callers = [threading.Thread(target=lambda call=call: ends.append(call()), daemon=True)
               for call in (busy, quick, quick)]
    callers[0].start()
    assert inside.wait(LONG)
    for caller in callers[1:]:
        caller.start()
    until(lambda: busy.resilience.pool.waiting == 2)
    registry.close()
    with pytest.raises(ThreadPoolClosedError):
        quick()
    go.set()
    for caller in callers:
        caller.join(LONG)

    assert ["True", "served", "served"] == sorted(map(str, ends))
    until(lambda: not busy.resilience.pool.threads)


def test_a_shared_pool_says_who_fills_it(registry):
    go, events = threading.Event(), []
    registry.subscribe(CallRejected, events.append)
    pool = ThreadPool(size=3, max_queue=1)
    calls = {key: command(key=key, group="shop", registry=registry, timeout=LONG, pool=pool)(lambda: go.wait(LONG))
             for key in ("stock", "price")}
    callers = [threading.Thread(target=calls[key], daemon=True) for key in ("stock", "price", "stock", "stock")]
    for number, caller in enumerate(callers, 1):  # the fourth is the one that waits
        caller.start()
        until(lambda count=number: registry.pools()["shop"].admitted == count)
    until(lambda: registry.pools()["shop"].waiting == 1)  # it has a place an instant before it is in the queue
    try:
        with pytest.raises(ThreadPoolFullError) as caught:
            calls["price"]()
    finally:
        go.set()
        for caller in callers:
            caller.join(LONG)

    assert str(caught.value) == ("price: all 3 threads of the pool of group 'shop' are at work "
                                 "(2 of stock, 1 of price), and a call waits already; make the pool larger, or give the command a group of its own")
    assert ["price"] == [event.key for event in events]
    assert {"stock": 2, "price": 1} == events[0].error.holders == caught.value.holders


def test_a_full_bulkhead_says_how_many_slots_there_are_and_whose_calls_hold_them(registry):
    @bulkhead(1, key="k", registry=registry)
    def outer():
        return outer()

    with pytest.raises(BulkheadFullError) as caught:
        outer()

    assert "k: the bulkhead is full: calls of its own hold its only slot" == str(caught.value)
    assert (1, 0) == (caught.value.limit, caught.value.abandoned)


@pytest.mark.parametrize("error", [
    BulkheadFullError("k", None, 3, 1),
    ThreadPoolFullError("k", None, "g", 2, 1, (("a", 2), ("k", 1)), True),
    ThreadPoolFullError("k", None, None, 40, 0, (("k", 40),)),
    ThreadUnavailableError("k", None, "can't start new thread"),
    ThreadPoolClosedError("k", None, "closed"),
])
def test_each_of_them_pickles_with_all_that_it_says(error):
    again = pickle.loads(pickle.dumps(error))

    assert (type(error), str(error), error.args) == (type(again), str(again), again.args)
    assert ("k", None) == (again.key, again.retry_after)
    assert isinstance(again, BulkheadFullError)


@pytest.mark.parametrize("kind", [BulkheadFullError, ThreadPoolFullError, ThreadUnavailableError,
                                  ThreadPoolClosedError])
def test_one_that_a_test_makes_with_a_key_alone_can_be_printed_and_asked(kind):
    error = kind("k")

    assert str(error).startswith("k: ")
    assert (None, 0) == (error.limit, error.abandoned)


def test_a_hedge_for_which_there_is_no_thread_leaves_the_first_attempt_alone(registry, monkeypatch):
    go, inside = threading.Event(), threading.Event()

    def work():
        inside.set()
        return go.wait(LONG)

    call = command(key="f", registry=registry, timeout=LONG, hedge=Hedge(delay=0.001, idempotent=True))(work)
    real, begun = threading.Thread.start, []

    def one_only(self):
        if self.name.startswith("resilience-"):
            begun.append(self)
            if len(begun) > 1:
                go.set()
                raise RuntimeError("can't start new thread")
        real(self)

    monkeypatch.setattr(threading.Thread, "start", one_only)

    assert call() is True
    assert 2 == len(begun)
