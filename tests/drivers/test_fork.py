"""Guarded functions in a forked child."""

import os
import threading
import traceback

import pytest

from resilience import BulkheadFullError, Registry, command
from tests.drivers.until import until


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
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
    with handle.recorder._lock, handle.machines.circuit._lock, handle.machines.slots._lock:  # held for ever, in the child
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                snapshot = handle.snapshot()
                assert (0, 0, 0) == (snapshot.in_flight, snapshot.abandoned, snapshot.requests)
                assert "done" == work(False)
                assert 1 == handle.snapshot().counts["success"]
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    go.set()
    caller.join(10)

    until(lambda: not handle.snapshot().in_flight)
    registry.close()
