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
from resilience import ThreadUnavailableError, command

@command(timeout=TIMEOUT, isolation="thread")
def close():
    return "closed"

def later():
    threading.main_thread().join()
    try:
        print(close(), end="")
    except ThreadUnavailableError as error:
        print(error, end="")

threading.Thread(target=later).start()
""", "__main__.close: no thread could be started: can't create new thread at interpreter shutdown"
        if sys.version_info[:2] == (3, 12) else "closed"),  # Python 3.12 alone gives none any more by then
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


#: What a finaliser calls, and would wait for a daemon thread that does not run any more; and what it gets.
WAITS = {
    "for an answer that somebody else is to bring": ("""
@command(cache=Cache(ttl=5.0), timeout=None)
def call(key):
    hang_once()
    return "answer"
""", "answer"),
    "for a batch that somebody else leads": ("""
from resilience import collapse

@collapse(window=60.0, key=lambda key: hung.set() or key)
def call(keys):
    return ["answer" for _ in keys]
""", "answer"),
    "for a batch that runs": ("""
from resilience import collapse

@collapse(window=0)
def call(keys):
    hang_once()
    return ["answer" for _ in keys]
""", "answer"),
    "for a slot": ("""
@command(max_concurrent=Bulkhead(1, max_wait=3600.0), timeout=None)
def call(key):
    hang_once()
""", "BulkheadFullError"),
    "for a slot of a call on a thread": ("""
@command(max_concurrent=Bulkhead(1, max_wait=3600.0), timeout=None, isolation="thread")
def call(key):
    hang_once()
""", "BulkheadFullError"),
    "for a slot of an adaptive limit": ("""
@command(adaptive_limit=AdaptiveLimit(initial=1, max_limit=1, max_queue=5, max_queue_for=3600.0), timeout=None)
def call(key):
    hang_once()
""", "BulkheadFullError"),
    "for the slot of a block": ("""
from resilience import block

shared = block("shared", max_concurrent=Bulkhead(1, max_wait=3600.0))

def call(key):
    with shared:
        hang_once()
""", "BulkheadFullError"),
    "for the thread of a hedged generator": ("""
@command(hedge=Hedge(idempotent=True, delay=0.1), timeout=None)
def items(key):
    yield "item"

def call(key):
    if not hung.is_set():
        hang_once()
    return "".join(items(key))
""", "ThreadUnavailableError"),
}
PROGRAM = """
import builtins, os, threading
from resilience import *

hung = threading.Event()

def hang_once():
    if not hung.is_set():
        hung.set()
        threading.Event().wait()
{call}
class Client:
    def __init__(self): self.call = call
    def __del__(self, write=os.write):
        try:
            said = self.call("key")
        except Exception as error:
            said = type(error).__name__
        write(1, said.encode())

builtins.client = Client()
threading.Thread(target=call, args=("key",), daemon=True).start()
hung.wait()
"""


@pytest.mark.parametrize("what", WAITS)
def test_a_finaliser_at_the_very_end_does_not_wait_for_another_thread(what):
    call, told = WAITS[what]
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(call=call)], capture_output=True, text=True,
                          timeout=50, check=False)
    assert (0, told) == (done.returncode, done.stdout)
