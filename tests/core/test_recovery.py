"""How a circuit opens by failures in a row, and how it comes back: probes that may fail, and a ramp."""

import pytest

from resilience.core.breaker import CircuitBreaker
from resilience.core.circuit import Circuit
from resilience.core.outcome import FAILURE, SUCCESS
from resilience.errors import CircuitOpenError, ConfigError


def circuit(**settings):
    return Circuit(CircuitBreaker(**settings), key="k", group="g", now=0.0, emit=lambda event: None, random=lambda: 0.0)


def call(machine, outcome, now):
    machine.settle(machine.acquire(now), outcome, now, now)


def admitted(machine, now, calls):
    count = 0
    for _ in range(calls):
        try:
            permit = machine.acquire(now)
        except CircuitOpenError:
            continue
        machine.settle(permit, SUCCESS, now, now)
        count += 1
    return count


def test_failures_in_a_row_open_whatever_the_rate():
    machine = circuit(consecutive=3, failure_rate=None)
    for _ in range(1000):
        call(machine, SUCCESS, 1.0)
    for _ in range(2):
        call(machine, FAILURE, 1.0)
    assert "closed" == machine.state
    call(machine, FAILURE, 1.0)

    assert "open" == machine.state


@pytest.mark.parametrize("pause", [0.0, 3.0, 30.0, 300.0])
def test_one_success_begins_the_count_anew_however_long_ago_the_failures_were(pause):
    machine = circuit(consecutive=3, failure_rate=None)
    call(machine, FAILURE, 1.0)
    call(machine, FAILURE, 1.0)
    call(machine, SUCCESS, 1.0 + pause)
    call(machine, SUCCESS, 1.0 + pause)
    call(machine, FAILURE, 1.0 + 2 * pause)
    call(machine, FAILURE, 1.0 + 2 * pause)

    assert "closed" == machine.state


def test_rare_failures_in_a_row_open_although_the_window_has_forgotten_the_first():
    machine = circuit(consecutive=3, failure_rate=None)
    for now in (100.0, 200.0, 300.0):
        assert "closed" == machine.state
        call(machine, FAILURE, now)

    assert "open" == machine.state


def half_open(**settings):
    machine = circuit(min_calls=2, open_for=1.0, **settings)
    call(machine, FAILURE, 0.0)
    call(machine, FAILURE, 0.0)
    assert "open" == machine.state
    return machine


def test_two_of_five_probes_may_fail():
    machine = half_open(half_open_calls=5, half_open_failures=2)
    for outcome in (FAILURE, SUCCESS, FAILURE, SUCCESS):
        call(machine, outcome, 1.0)
    assert "half_open" == machine.state
    call(machine, SUCCESS, 1.0)

    assert "closed" == machine.state


def test_the_third_bad_probe_of_five_opens_again():
    machine = half_open(half_open_calls=5, half_open_failures=2)
    for outcome in (FAILURE, SUCCESS, FAILURE, FAILURE):
        call(machine, outcome, 1.0)

    assert "open" == machine.state


def test_after_its_probes_a_circuit_admits_a_tenth_a_quarter_a_half_and_then_all():
    machine = half_open(ramp=30.0)
    call(machine, SUCCESS, 1.0)
    assert "half_open" == machine.state
    shares = [admitted(machine, now, 200) for now in (1.0, 10.9, 11.0, 20.9, 21.0, 30.9)]
    assert [20, 20, 50, 50, 100, 100] == shares

    assert 200 == admitted(machine, 31.0, 200)
    assert "closed" == machine.state


def test_failures_on_the_ramp_open_again_by_the_rules_of_a_closed_circuit():
    machine = half_open(ramp=30.0)
    call(machine, SUCCESS, 1.0)
    call(machine, FAILURE, 1.0)
    assert "half_open" == machine.state
    for _ in range(40):
        try:
            call(machine, FAILURE, 2.0)
        except CircuitOpenError:
            continue

    assert "open" == machine.state


def test_a_ramp_without_traffic_ends_with_the_next_call():
    machine = half_open(ramp=30.0)
    call(machine, SUCCESS, 1.0)
    call(machine, SUCCESS, 5000.0)

    assert "closed" == machine.state


@pytest.mark.parametrize(("settings", "name"), [
    (dict(failure_rate=None), "failure_rate"), (dict(consecutive=0), "consecutive"),
    (dict(half_open_calls=2, half_open_failures=2), "half_open_failures"), (dict(ramp=-1.0), "ramp"),
    (dict(ramp_shares=()), "ramp_shares"), (dict(ramp_shares=(0.5, 0.1)), "ramp_shares"),
    (dict(ramp_shares=(0.1, 1.0)), "ramp_shares"), (dict(ramp_shares=0.5), "ramp_shares"),
    (dict(ramp_shares=(True,)), "ramp_shares"),
])
def test_nonsense_is_refused_by_name(settings, name):
    with pytest.raises(ConfigError) as refused:
        CircuitBreaker(**settings)

    assert name == refused.value.option
