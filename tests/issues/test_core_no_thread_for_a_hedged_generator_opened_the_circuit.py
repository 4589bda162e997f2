"""A machine that gives no more threads is not the target's doing, and yet a hedged generator counted it as a failure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from resilience import CircuitBreaker, Hedge, Registry, ThreadUnavailableError, command
from resilience.testing import ManualClock

HEDGE = Hedge(idempotent=True, delay=0.001)
BREAKER = CircuitBreaker(consecutive=1, failure_rate=None)


def no_thread(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def guarded(registry: Registry, threads: list[int], until: Callable[[], object] = int, **settings: Any) -> Iterator[int]:
    @command(key="k", registry=registry, timeout=None, hedge=HEDGE, breaker=BREAKER, max_concurrent=2, **settings)
    def items() -> Iterator[int]:
        threads.append(threading.get_ident())
        until()
        yield from (1, 2)

    return items()


def test_a_stream_for_which_there_is_no_thread_is_refused_and_says_nothing_of_the_target(
        monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry(clock=ManualClock())
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        for _ in range(3):
            with pytest.raises(ThreadUnavailableError, match="k: no thread could be started: can't start new thread") as caught:
                list(guarded(registry, []))
            assert isinstance(caught.value.__cause__, RuntimeError)
    counts = registry["k"].snapshot().counts
    assert (3, 0, 0, "closed") == (counts["semaphore_rejected"], counts["failure"], counts["hedge"], registry["k"].state)
    assert 0 == registry["k"].in_flight
    assert [1, 2] == list(guarded(registry, []))


def test_a_fallback_answers_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    assert [7] == list(guarded(Registry(), [], fallback=lambda: [7]))


def test_without_a_thread_for_the_second_attempt_the_first_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    registry, threads, tried = Registry(), [], threading.Event()
    start, begun = threading.Thread.start, []

    def one_thread(self: threading.Thread) -> None:
        begun.append(self)
        if len(begun) == 1:
            start(self)
        else:
            tried.set()
            no_thread(self)

    monkeypatch.setattr(threading.Thread, "start", one_thread)
    assert [1, 2] == list(guarded(registry, threads, lambda: tried.wait(10.0)))
    assert (1, 0) == (len(threads), registry["k"].snapshot().counts["hedge"])
    assert 0 == registry["k"].in_flight
