"""Ctrl-C while a thread was started became a ThreadUnavailableError, for which the fallback answered: nobody heard of it.

Thread.start() waits for the thread at a threading.Condition. An exception of a signal handler that strikes there comes out as the
RuntimeError "release unlocked lock", the type that says that the system gives no thread.
"""

import itertools
import threading

import pytest

from resilience import Hedge, Registry, ThreadPool, ThreadUnavailableError, command

HEDGE = Hedge(idempotent=True, delay=0.001)
go = threading.Event()


def plain():
    go.wait(10)
    return 1


def items():
    go.wait(10)
    yield 1


WAYS = {
    "its own thread": (1, plain, {"timeout": 60.0}),
    "a thread of a shared pool": (1, plain, {"timeout": 60.0, "pool": ThreadPool(size=2)}),
    "a hedged generator's": (1, items, {"timeout": None, "hedge": HEDGE, "fallback": lambda: [7]}),
    "that of the second attempt": (2, plain, {"timeout": 60.0, "hedge": HEDGE}),
    "that of a generator's second attempt": (2, items, {"timeout": None, "hedge": HEDGE, "fallback": lambda: [7]}),
}


def call(way, monkeypatch, strike):
    """Call a function whose start of a thread *strike* follows."""
    which, function, settings = WAYS[way]
    start, numbers, caller = threading.Thread.start, itertools.count(1), threading.get_ident()

    def struck(self):
        start(self)
        if threading.get_ident() == caller and next(numbers) == which:
            go.set()
            strike()

    guarded = command(registry=Registry(), group=way, **{"fallback": lambda: 7, **settings})(function)
    go.clear()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", struck)
        return list(guarded()) if function is items else guarded()


@pytest.mark.parametrize("way", WAYS)
def test_the_caller_gets_what_the_signal_handler_raised(way, monkeypatch):
    def strike():
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("release unlocked lock")

    with pytest.raises(KeyboardInterrupt):
        call(way, monkeypatch, strike)


def test_without_a_thread_a_caller_that_handles_an_interrupt_is_told_so():
    def none(self):
        raise RuntimeError("can't start new thread")

    for _, function, settings in WAYS.values():
        guarded = command(registry=Registry(), **{**settings, "fallback": None})(function)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(threading.Thread, "start", none)
            try:
                raise KeyboardInterrupt
            except KeyboardInterrupt:
                with pytest.raises(ThreadUnavailableError, match="can't start new thread"):
                    list(guarded()) if function is items else guarded()
