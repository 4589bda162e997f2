"""A registry that a thread made while an event loop told of a stall ended the timer of that loop, and with it timeouts.

Those who are told stood in a WeakSet, which cannot be looked through while it grows. The error came out of the callback
of the timer, before it had been set anew, so that no later call of that loop with that timeout was cancelled.
"""

import copy
import gc
import sys
import threading
import weakref

import pytest

from resilience import Registry, command
from resilience.drivers import local_stalls
from resilience.registry import registries


@pytest.fixture(autouse=True)
def _no_stall_of_another_test(monkeypatch):
    monkeypatch.setattr(local_stalls.system_stalls, "until", float("-inf"))
    monkeypatch.setattr(local_stalls.system_stalls, "_spans", ())


@pytest.fixture
def _threads_take_turns_often():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("_threads_take_turns_often")
def test_threads_may_make_registries_while_others_are_told_of_stalls():
    over, kept = threading.Event(), [Registry() for _ in range(200)]

    def make():
        while not over.is_set():
            kept.append(Registry())
            del kept[200:]

    thread = threading.Thread(target=make)
    thread.start()
    try:
        for now in range(1000, 4000, 10):
            assert local_stalls.came_late(2.0, lambda now=now: float(now))
            assert kept[0] in registries()
    finally:
        over.set()
        thread.join()


def test_who_has_gone_is_told_no_more():
    heard = []
    local_stalls.tell_of_stalls(lambda seconds, end: heard.append(seconds))
    gc.collect()

    assert local_stalls.came_late(2.0, lambda: 200.0)
    assert [] == heard


def test_registries_may_be_made_while_all_are_looked_through_and_go_when_nobody_has_them():
    registry = Registry()
    call = command(key="k", registry=registry, timeout=None)(len)
    for each in registries():
        if each is registry:
            Registry()
    gone = weakref.ref(Registry())
    gc.collect()

    assert gone() is None
    assert registry in registries()
    assert copy.copy(call.resilience).key == "k"
