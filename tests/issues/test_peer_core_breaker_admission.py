"""Defects of other breakers in who may pass, and when; each test names the peer."""

import os
import threading
import time

import pytest

from resilience import CircuitBreaker, ConfigError, Registry
from resilience.core.circuit import Circuit
from resilience.core.events import State, Trigger
from resilience.core.outcome import CANCELLED, FAILURE, IGNORED, SUCCESS
from resilience.errors import CircuitOpenError
from tests.core.hammer import hammer


def make(**changes):
    config = CircuitBreaker(**{"min_calls": 4, "open_for": 5.0, "half_open_for": 3.0} | changes)
    return Circuit(config, key="k", group="g", now=0.0, emit=lambda _: None, random=lambda: 0.0)


def trip(circuit, now=0.0):
    for _ in range(4):
        circuit.settle(circuit.acquire(now), FAILURE, now, now)
    assert State.OPEN is circuit.state


def refusal(circuit, now):
    with pytest.raises(CircuitOpenError) as caught:
        circuit.acquire(now)
    return caught.value


def test_hystrix_1_3_a_a_bad_request_as_the_probe_does_not_open_the_circuit_again():
    circuit = make()
    trip(circuit)
    circuit.settle(circuit.acquire(5.0), IGNORED, 5.0, 5.1)

    assert State.HALF_OPEN is circuit.state
    circuit.settle(circuit.acquire(5.2), SUCCESS, 5.2, 5.3)
    assert State.CLOSED is circuit.state


def test_hystrix_1_3_b_pybreaker_the_wall_clock_decides_nothing():
    assert time.monotonic is Registry().clock


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_aiobreaker_the_wait_is_the_same_in_every_time_zone(zone, monkeypatch):
    """It said None in Tokyo and five hours in New York."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        circuit, now = make(open_for=60.0), Registry().clock()
        trip(circuit, now)
        assert pytest.approx(60.0) == refusal(circuit, now).retry_after
    finally:
        monkeypatch.undo()
        os.environ.get("TZ")
        time.tzset()


def test_hystrix_1_3_d_it_opens_on_the_very_call_and_not_with_the_next_tick_of_a_stream():
    circuit = make()
    for n in range(4):
        assert State.CLOSED is circuit.state, n
        circuit.settle(circuit.acquire(0.0), FAILURE, 0.0, 0.0)

    assert 5.0 == refusal(circuit, 0.0).retry_after


@pytest.mark.parametrize("peer", ["resilience4j half-open waits for ever", "Polly hung probe",
                                  "Sentinel #1638 stuck half-open"])
def test_a_probe_that_never_answers_does_not_wedge_the_circuit(peer):
    circuit = make()
    trip(circuit)
    circuit.acquire(5.0)
    refusal(circuit, 7.9)
    circuit.settle(circuit.acquire(8.0), SUCCESS, 8.0, 8.1)

    assert State.CLOSED is circuit.state, peer


def test_polly_a_cancelled_probe_does_not_close_the_circuit():
    circuit = make()
    trip(circuit)
    circuit.settle(circuit.acquire(5.0), CANCELLED, 5.0, 5.1)

    assert State.HALF_OPEN is circuit.state


def test_interlock_2_1_2_a_cancelled_probe_gives_its_slot_back():
    circuit = make(half_open_calls=2)
    trip(circuit)
    for _ in range(10):
        circuit.settle(circuit.acquire(5.0), CANCELLED, 5.0, 5.0)
    circuit.acquire(5.0)
    circuit.acquire(5.0)

    refusal(circuit, 5.0)


@pytest.mark.parametrize("peer", ["circuitbreaker #61", "aiobreaker", "purgatory", "hyx", "pyresilience"])
def test_of_twenty_that_knock_at_once_one_is_the_probe(peer):
    circuit, admitted = make(), []
    trip(circuit)

    def knock():
        try:
            admitted.append(circuit.acquire(5.0))
        except CircuitOpenError:
            pass

    hammer(knock, threads=20)

    assert 1 == len(admitted), peer


@pytest.mark.parametrize("peer", ["resilience4j records it into the current state", "interlock 1.2 wrong era"])
def test_a_late_result_of_an_earlier_term_decides_nothing(peer):
    circuit = make()
    late = [circuit.acquire(0.0) for _ in range(6)]
    trip(circuit)
    circuit.settle(late.pop(), FAILURE, 0.0, 1.0)
    assert 4.0 == circuit.retry_after(1.0)
    probe = circuit.acquire(5.0)
    circuit.settle(late.pop(), FAILURE, 0.0, 5.1)
    assert State.HALF_OPEN is circuit.state
    circuit.settle(probe, SUCCESS, 5.0, 5.2)
    for permit in late:
        circuit.settle(permit, FAILURE, 0.0, 5.3)

    assert State.CLOSED is circuit.state, peer


def test_circuitbreaker_a_success_from_before_the_trip_does_not_close_an_open_circuit():
    circuit = make()
    late = circuit.acquire(0.0)
    trip(circuit)
    circuit.settle(late, SUCCESS, 0.0, 1.0)
    assert State.OPEN is circuit.state
    circuit.acquire(5.0)
    again = late
    circuit.settle(again, SUCCESS, 0.0, 5.1)

    assert State.HALF_OPEN is circuit.state


def test_circuitbreaker_an_open_circuit_runs_nothing_and_stays_open():
    circuit = make()
    trip(circuit)
    for _ in range(20):
        refusal(circuit, 4.9)

    assert State.OPEN is circuit.state


def test_circuitbreaker_a_wait_of_zero_is_refused_and_does_not_become_thirty_seconds():
    with pytest.raises(ConfigError, match="open_for must be a number above 0"):
        CircuitBreaker(open_for=0)
    circuit = make(open_for=1e-6)
    trip(circuit)

    assert 1e-6 == circuit.retry_after(0.0)


def test_purgatory_every_refusal_is_an_error_of_its_own():
    """One shared exception grew its traceback with every raise."""
    circuit, depths, errors = make(), [], []
    trip(circuit)
    for _ in range(5):
        errors.append(refusal(circuit, 1.0))
        frame, depth = errors[-1].__traceback__, 0
        while frame is not None:
            frame, depth = frame.tb_next, depth + 1
        depths.append(depth)

    assert 5 == len(set(map(id, errors)))
    assert 1 == len(set(depths))


@pytest.mark.parametrize("peer", ["pybreaker #3, #55: calls are serialised by a lock held during the call"])
def test_calls_run_side_by_side(peer):
    circuit, both = make(), threading.Barrier(2)

    def call():
        permit = circuit.acquire(0.0)
        both.wait(60)  # would time out if one had to wait for the other
        circuit.settle(permit, SUCCESS, 0.0, 0.0)

    hammer(call, threads=2)
    assert not both.broken, peer


def test_interlock_2_1_2_overlapping_calls_keep_their_permits_apart():
    circuit = make(half_open_calls=2)
    trip(circuit)
    first, second = circuit.acquire(5.0), circuit.acquire(5.0)
    circuit.settle(first, CANCELLED, 5.0, 5.1)
    circuit.settle(second, SUCCESS, 5.0, 5.2)
    assert State.HALF_OPEN is circuit.state
    circuit.settle(circuit.acquire(5.3), SUCCESS, 5.3, 5.4)

    assert State.CLOSED is circuit.state


def test_stamina_137_growth_does_not_overflow_however_often_it_opens():
    circuit, now = make(open_growth=2.0, open_max=60.0), 0.0
    trip(circuit)
    for _ in range(1200):
        now += circuit.retry_after(now)
        circuit.settle(circuit.acquire(now), FAILURE, now, now)

    assert 60.0 == circuit.retry_after(now)


def test_sony_gobreaker_37_polly_an_operators_word_from_a_listener_does_not_deadlock():
    circuit = Circuit(CircuitBreaker(min_calls=1), key="k", group="g", now=0.0, random=lambda: 0.0,
                      emit=lambda event: event.new is State.OPEN and circuit.steer(Trigger.FORCED_CLOSED, 1.0))
    circuit.settle(circuit.acquire(0.0), FAILURE, 0.0, 0.0)

    assert State.FORCED_CLOSED is circuit.state
