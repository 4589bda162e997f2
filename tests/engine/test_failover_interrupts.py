"""An interrupt at every point of a call that goes on to its second target leaves nothing behind."""

import pytest

from resilience import CircuitBreaker, Failover, Registry, State, command
from resilience.testing import ManualClock
from tests.interrupts import interrupted


@pytest.mark.parametrize("is_probe", [False, True])
def test_an_interrupt_anywhere_leaves_every_slot_free_and_no_target_out_for_good(is_probe):
    clock, down = ManualClock(), {"eu"}

    @command(key="fetch", timeout=None, max_concurrent=1, registry=Registry(clock=clock),
             breaker=CircuitBreaker(failure_rate=None, consecutive=1, open_for=1.0),
             failover=Failover(("eu", "us"), argument="region", grace=1.0, budget=None))
    def fetch(*, region="eu"):
        if region in down:
            raise ConnectionError
        return region

    def begin():
        down.add("eu")
        fetch.resilience.reset()
        if is_probe:
            fetch()  # eu rests now
            clock.advance(1.0)
        fetch.resilience.snapshot()  # the statistics' slices turn here, and not in the call that is interrupted

    points = 0
    begin()
    for points in interrupted(fetch):  # noqa: B007 - counted
        assert [handle.in_flight for handle in fetch.resilience] == [0, 0]
        down.clear()
        clock.advance(100.0)
        assert [fetch(), fetch()] == ["eu", "eu"], points
        assert fetch.resilience["eu"].state is State.CLOSED
        begin()
    assert points > 50
