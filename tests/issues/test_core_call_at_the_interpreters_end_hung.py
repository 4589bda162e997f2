"""A call on a thread while the interpreter went down waited for ever: daemon threads do not run any more by then.

As in python/cpython#87950, #113964 and rohanpm/more-executors#178.
"""

import subprocess
import sys

import pytest

PROGRAMS = {
    "a finaliser, with the module's names still there": ("""
import os
from resilience import RejectedError, command

@command(timeout=TIMEOUT, isolation="thread")
def close():
    return "closed"

class Client:
    def __del__(self, close=close, Refused=RejectedError, write=os.write):
        try:
            write(1, close().encode())
        except Refused as error:
            write(1, f"{type(error).__name__}: {error}".encode())

close()
client = Client()
""", "ThreadPoolClosedError: __main__.close: its threads have ended: the interpreter is shutting down"),
    "a finaliser, at the very end": ("""
import builtins
from resilience import command

@command(timeout=TIMEOUT, isolation="thread")
def close():
    return "closed"

class Client:
    def __init__(self): self.close = close
    def __del__(self): self.close()

close()
builtins.client = Client()
""", ""),
    "at exit, when threads still run": ("""
import atexit
from resilience import command

@command(timeout=TIMEOUT, isolation="thread")
def close():
    return "closed"

close()
atexit.register(lambda: print(close(), end=""))
""", "closed"),
    "by a thread that is waited for": ("""
import threading
from resilience import command

@command(timeout=TIMEOUT, isolation="thread")
def close():
    return "closed"

def later():
    threading.main_thread().join()
    print(close(), end="")

threading.Thread(target=later).start()
""", "closed"),
    "with hung calls, shared pools and a queue": ("""
import threading, time
from resilience import ThreadPool, command

@command(group="a", timeout=60.0, isolation="thread")
def hangs():
    threading.Event().wait()

@command(group="b", timeout=60.0, isolation="thread", pool=ThreadPool(size=1, max_queue=5))
def queues():
    threading.Event().wait()

for each in (hangs, queues, queues):
    threading.Thread(target=each, daemon=True).start()
while queues.resilience.pool.waiting < 1 or hangs.resilience.in_flight < 1:
    time.sleep(0.001)
print("over", end="")
""", "over"),
}


@pytest.mark.parametrize("timeout", ["None", "60.0"])
@pytest.mark.parametrize("when", PROGRAMS)
def test_the_process_ends_and_the_call_is_refused_or_served(when, timeout):
    program, told = PROGRAMS[when]
    done = subprocess.run([sys.executable, "-c", program.replace("TIMEOUT", timeout)], capture_output=True, text=True,
                          timeout=30, check=False)

    assert (0, told) == (done.returncode, done.stdout)
