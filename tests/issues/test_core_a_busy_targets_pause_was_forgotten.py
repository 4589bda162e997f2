"""A target of a failover that asked for a pause was called again when its settings changed, or its probe passed."""

import attrs
import pytest

from resilience import CircuitBreaker, Failover, FailureRules, Registry, command
from resilience.core.failover import Rest
from resilience.testing import ManualClock


class Busy(Exception):
    retry_after = 20.0


@pytest.fixture
def read():
    clock = ManualClock()

    @command(key="read", timeout=None, breaker=CircuitBreaker(), failures=FailureRules(busy=Busy),
             failover=Failover(("eu", "us")), registry=Registry(clock=clock))
    def read(*, target="eu"):
        if target == "eu" and read.is_busy:
            raise Busy
        return target

    read.is_busy, read.clock = True, clock
    return read


def test_a_change_of_the_settings_does_not_end_the_pause_that_a_target_asked_for(read):
    assert "us" == read()
    read.is_busy = False
    failover = read.resilience["eu"].settings.failover
    read.resilience.configure(failover=attrs.evolve(failover, grace=40.0))
    read.clock.advance(19.0)
    assert "us" == read()
    read.clock.advance(1.0)
    assert "eu" == read()


def test_the_gauge_shows_a_target_that_asked_for_a_pause_as_left_out(read):
    gauge = lambda: read.resilience["eu"].snapshot().gauges["failover.resting"]  # noqa: E731
    read()
    assert 1.0 == gauge()
    read.is_busy = False
    read.clock.advance(20.0)
    assert ("eu", 0.0) == (read(), gauge())


def test_a_target_that_is_busy_and_asks_for_no_pause_is_not_left_out():
    rest = Rest(Failover(("eu", "us")))
    rest.pause(0.0, 5.0)
    assert (rest.calm, rest.is_left_out) == (True, False)


def test_a_probe_that_passes_does_not_end_the_pause_that_another_call_was_asked_for():
    rest = Rest(Failover(("eu", "us"), grace=10.0))
    rest.stop(0.0)
    probe = rest.ask(10.0)
    rest.pause(5.0, 11.0)
    rest.settle(probe, True, 12.0)
    assert (rest.calm, rest.ask(15.0)) == (False, None)
    assert rest.ask(16.0) is not None
    assert rest.calm


def test_a_pause_that_is_asked_for_just_when_one_ends_holds():
    rest = Rest(Failover(("eu", "us"), grace=10.0))
    rest.pause(5.0, 0.0)
    guard = rest._guard

    class Meanwhile:
        """Another call is told to wait between the look at the pause and its end."""

        def do(self, step, *args):
            rest._guard = guard
            rest.pause(5.0, 5.0)
            guard.do(step, *args)

    rest._guard = Meanwhile()
    rest.ask(5.0)
    assert (rest.calm, rest.ask(9.0)) == (False, None)
