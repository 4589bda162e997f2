"""An instance stayed listed if leave() was interrupted, or leave_async() cancelled, and the process ended: nobody waited for it."""

import subprocess
import sys
from pathlib import Path

import pytest

from resilience.discovery import Registrant, Registration

PROGRAM = """
import asyncio, atexit, os, signal, threading
atexit.register(os.write, 1, b"the exit is over")
from resilience.discovery import Registrant, Registration

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by who starts tests in the background
may_leave, caller = threading.Event(), threading.main_thread()

class Slow:
    def register(self, *_): pass
    def renew(self, *_): return True
    def leave(self, *_):
        self.begun()
        may_leave.wait(30)
        threading.Event().wait(0.1)  # a registry that takes its time
        os.write(1, b"left, ")

def begin(begun):
    registrar = Slow()
    registrar.begun = begun
    registration = Registration(Registrant("orders", "10.0.0.1", 8080), registrar, leave_timeout=30.0)
    registration.start()
    assert registration.wait(30)
    return registration

with_interrupt = begin(lambda: signal.pthread_kill(caller.ident, signal.SIGINT))
try:
    with_interrupt.leave()
except KeyboardInterrupt:
    os.write(1, b"interrupted, ")

async def main():
    loop, begun = asyncio.get_running_loop(), asyncio.Event()
    task = asyncio.create_task(begin(lambda: loop.call_soon_threadsafe(begun.set)).leave_async())
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])
    os.write(1, b"cancelled, ")

asyncio.run(main())
atexit.register(may_leave.set)
"""


@pytest.mark.process
@pytest.mark.skipif(not hasattr(__import__("signal"), "pthread_kill"), reason="no thread can be interrupted here")
def test_the_exit_waits_for_registrations_whose_callers_were_interrupted_or_cancelled():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60,
                          cwd=Path(__file__).parents[2], check=False)

    assert (0, "interrupted, cancelled, left, left, the exit is over") == (done.returncode, done.stdout), done.stderr


def test_who_leaves_from_its_health_check_is_not_told_that_the_registry_does_not_answer(caplog):
    class Registrar:
        def register(self, *_):
            return None

        renew = leave = register

    def health():
        registration.leave()
        left.append(list(caplog.messages))
        return True

    left = []
    registration = Registration(Registrant("orders", "10.0.0.1", 8080), Registrar(), health=health)
    registration.start()
    thread = registration._keeper.thread
    thread.join(30)

    assert [[]] == left
