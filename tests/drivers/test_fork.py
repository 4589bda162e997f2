"""Guarded functions in a forked child."""

import threading

import pytest

from resilience import BulkheadFullError, Registry, command
from tests.drivers.until import until
from tests.forked import forked


def test_a_command_that_is_busy_and_locked_in_the_parent_is_fresh_in_the_child():
    registry, go, started = Registry(), threading.Event(), threading.Event()

    @command(registry=registry, timeout=10.0, max_concurrent=1)
    def work(wait):
        if wait:
            started.set()
            go.wait(10)
        return "done"

    caller = threading.Thread(target=work, args=(True,))
    caller.start()
    assert started.wait(10)
    with pytest.raises(BulkheadFullError):
        work(False)
    handle = work.resilience

    def child():
        snapshot = handle.snapshot()
        assert (0, 0, 0) == (snapshot.in_flight, snapshot.abandoned, snapshot.requests)
        assert "done" == work(False)
        assert 1 == handle.snapshot().counts["success"]

    with handle._runtime.recorder._guard._lock, handle._runtime.circuit._guard._lock, handle._runtime.slots._lock:  # held for ever, in the child
        assert 0 == forked(child)
    go.set()
    caller.join(10)

    until(lambda: not handle.snapshot().in_flight)
    registry.close()
