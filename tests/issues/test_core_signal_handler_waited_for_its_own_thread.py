"""A signal handler, or a finalizer, that called a guarded function while its own thread held a machine's lock hung for ever."""

import itertools

import pytest

from resilience import Bulkhead, CircuitBreaker, RejectedError, StateChanged, command
from tests.visits import visited


def fails(fn, *args):
    try:
        fn(*args)
    except (OSError, RejectedError):
        pass


# But a change of the limit within a change of the limit: either may be the last then.
@pytest.mark.parametrize(("work", "visit"), sorted(
    set(itertools.product(["open", "probe", "limit", "count", "steer"],
                          ["call", "fail", "look", "steer", "limit", "retune"])) - {("limit", "limit")}))
def test_a_call_in_from_within_never_hangs_and_leaves_all_in_order(registry, clock, work, visit):
    @command(registry=registry, timeout=None, max_concurrent=3,
             breaker=CircuitBreaker(min_calls=2, window_calls=4, open_for=1.0))
    def guarded(error=False):
        if error:
            raise OSError

    handle, changes = guarded.resilience, []
    registry.subscribe(StateChanged, changes.append)

    def probe():
        clock.advance(2.0)
        fails(guarded)

    def force():
        handle.force_open()
        handle.release()

    works = {
        "open": lambda: [fails(guarded, True) for _ in range(3)],
        "probe": probe,
        "limit": lambda: (handle.configure(max_concurrent=1), fails(guarded), handle.configure(max_concurrent=3)),
        "count": lambda: [fails(guarded), handle.snapshot()],
        "steer": force,
    }
    visits = {
        "call": lambda: fails(guarded),
        "fail": lambda: fails(guarded, True),
        "look": handle.snapshot,
        "steer": lambda: (handle.force_closed(), handle.release()),
        "limit": lambda: (handle.configure(max_concurrent=2), handle.configure(max_concurrent=3)),
        "retune": lambda: handle.configure(breaker=CircuitBreaker(min_calls=3, window_calls=5, open_for=1.0)),
    }
    before = {"probe": works["open"]}  # visited in its turn
    for _ in visited(works[work], visits[visit], before.get(work, lambda: None)):
        handle.configure(max_concurrent=3)
        snapshot = handle.snapshot()
        assert (0, 3) == (snapshot.in_flight, snapshot.max_concurrent)
        assert list(range(1, len(changes) + 1)) == sorted(change.term for change in changes)
        handle.reset()
        guarded()


def test_a_bulkhead_without_a_limit_may_be_met_by_itself(registry):
    @command(registry=registry, timeout=None, max_concurrent=None)
    def guarded(depth):
        if depth:
            guarded(depth - 1)

    for n in visited(lambda: guarded(3), lambda: guarded(1)):
        assert 0 == guarded.resilience.snapshot().in_flight, n
    assert Bulkhead(None).max_concurrent is None
