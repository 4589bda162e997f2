"""Wish 4 of Hystrix's and its heirs' users: calls in flight that are slow already trip the breaker (resilience4j #1597).

Random histories are in test_breaker_model.py; these are the cases that one would ask about.
"""

import attrs
import pytest

from resilience import CircuitOpenError, Registry, command
from resilience.core.breaker import CircuitBreaker
from resilience.core.circuit import Circuit
from resilience.core.in_flight_cohorts import BALLAST
from resilience.core.outcome import FAILURE, SUCCESS
from resilience.testing import ManualClock
from tests.interrupts import interrupted

HANGS = CircuitBreaker(min_calls=4, slow_call=1.0, slow_rate=0.5, open_for=5.0, window=60.0)


class Calls:
    """A circuit, and the calls under way as the compiled wrapper counts them."""

    def __init__(self, config):
        self.circuit = Circuit(config, key="k", group="g", now=0.0, emit=lambda event: None, random=lambda: 0.0)

    def begin(self, now):
        permit = self.circuit.acquire(now)
        if permit.cohort is not None:
            permit.cohort.append(None)
        return permit, permit.cohort, now

    def end(self, call, outcome, now):
        permit, cohort, started = call
        if cohort is not None:
            del cohort[-1]
        self.circuit.settle(permit, outcome, started, now)


def test_calls_that_hang_open_the_circuit_before_any_of_them_ends():
    calls = Calls(HANGS)
    for _ in range(4):
        calls.begin(0.0)
    calls.end(calls.begin(1.0), SUCCESS, 1.1)
    assert "closed" == calls.circuit.state
    with pytest.raises(CircuitOpenError) as caught:
        calls.begin(1.125)  # their cohort ended at 0.125
    assert ("open", 5.0) == (calls.circuit.state, caught.value.retry_after)


def test_when_a_target_hangs_the_callers_know_a_quarter_after_slow_call_at_the_latest():
    """Without this nothing would be known until they time out."""
    calls, refused = Calls(CircuitBreaker(min_calls=10, slow_call=0.2, slow_rate=0.5)), []
    for n in range(1000):  # a caller each hundredth of a second
        try:
            calls.begin(n / 100)
        except CircuitOpenError:
            refused.append(n)
    assert 20 + 10 <= min(refused) <= 25 + 10
    assert 1000 - len(refused) == min(refused) + 1  # and a probe after open_for


def test_a_shorter_slow_call_counts_for_those_that_are_under_way_at_once():
    calls = Calls(attrs.evolve(HANGS, slow_call=3600.0))
    for _ in range(4):
        calls.begin(0.0)
    calls.circuit.configure(HANGS, 2.0)
    calls.begin(2.5)
    assert "closed" == calls.circuit.state
    with pytest.raises(CircuitOpenError):
        calls.begin(3.0)  # slow_call after they were counted anew


def test_few_that_hang_among_many_that_are_fast_do_not():
    calls = Calls(HANGS)
    for _ in range(4):
        calls.begin(0.0)
    for _ in range(5):
        calls.end(calls.begin(0.5), SUCCESS, 0.6)
    calls.begin(30.0)
    assert "closed" == calls.circuit.state


def test_one_that_ended_is_weighed_once():
    calls = Calls(HANGS)
    hung = [calls.begin(0.0) for _ in range(2)]
    calls.begin(2.0)
    for each in hung:
        calls.end(each, FAILURE, 2.0)
    calls.begin(2.5)
    assert "closed" == calls.circuit.state  # two slow ones, and two under way that are not


def test_those_of_an_earlier_term_say_nothing_about_this_one():
    calls = Calls(HANGS)
    hung = [calls.begin(0.0) for _ in range(9)]
    with pytest.raises(CircuitOpenError):
        calls.begin(2.0)
    calls.end(calls.begin(7.0), SUCCESS, 7.1)
    assert "closed" == calls.circuit.state
    for _ in range(9):
        calls.end(calls.begin(8.0), SUCCESS, 8.1)
    for each in hung:
        calls.end(each, FAILURE, 60.0)
    calls.begin(60.0)
    assert "closed" == calls.circuit.state


def test_it_can_be_left_out_and_switched_on_live():
    calls = Calls(CircuitBreaker(min_calls=4, slow_call=1.0, slow_rate=0.5, slow_in_flight=False))
    for _ in range(5):
        calls.begin(0.0)
    calls.begin(9.0)
    calls.circuit.configure(HANGS, 9.0)
    for _ in range(4):
        calls.begin(9.0)
    with pytest.raises(CircuitOpenError):
        calls.begin(10.5)


def test_a_wrapper_counts_its_calls_in_whatever_way_they_end(registry, clock):
    @command(registry=registry, timeout=None, max_concurrent=None, breaker=attrs.evolve(HANGS, min_calls=100))
    def work(depth, error=None):
        if error is not None:
            raise error
        if depth:
            return work(depth - 1)
        clock.advance(3.0)
        return sum(aboard(work))

    def aboard(guarded):
        """The calls in the present cohort, and in those before it."""
        term = guarded.resilience._runtime.circuit.term
        return [len(cohort) - BALLAST for cohort in (term.cohort, *(past for _, past in term._cohorts._past))]

    assert 3 == work(2)
    for error in (OSError(), KeyboardInterrupt(), SystemExit()):
        with pytest.raises(type(error)):
            work(0, error)
    assert 0 == aboard(work)[0]

    @command(registry=registry, timeout=None, max_concurrent=None, breaker=HANGS)
    def items():
        yield 1
        yield 2

    generator = items()
    assert 1 == next(generator)
    assert 1 == aboard(items)[0]
    generator.close()
    assert 0 == aboard(items)[0]


def test_a_wrapped_target_that_hangs_is_refused_while_the_first_callers_still_wait(registry, clock):
    @command(registry=registry, timeout=None, max_concurrent=None, breaker=HANGS)
    def work(depth):
        if depth:
            return work(depth - 1)
        clock.advance(1.2)
        with pytest.raises(CircuitOpenError):
            work(0)
        return "refused"

    assert "refused" == work(3)


def test_an_interrupt_anywhere_leaves_nobody_aboard():
    @command(registry=Registry(clock=ManualClock()), timeout=None, breaker=HANGS)
    def work():
        pass

    for point in interrupted(work):
        assert BALLAST == len(work.resilience._runtime.circuit.term.cohort), point
