"""What configure() and shadow mode do to a circuit that is at work: gaps that a sample of mutations found."""

import attrs
import pytest

from resilience import CircuitOpenError, Registry, command
from resilience.core.breaker import CircuitBreaker
from resilience.core.circuit import Circuit
from resilience.core.outcome import FAILURE, SUCCESS
from resilience.testing import ManualClock

TIME = CircuitBreaker(min_calls=4, window=10.0, sustained_failures=None)
CALLS = attrs.evolve(TIME, window_calls=4)


def circuit(config):
    return Circuit(config, key="k", group="g", now=0.0, emit=lambda event: None, random=lambda: 0.0)


def call(machine, outcome, now):
    machine.settle(machine.acquire(now), outcome, now, now)


def test_a_circuit_that_is_told_to_weigh_the_last_calls_forgets_none_of_them_with_time():
    machine = circuit(TIME)
    machine.configure(CALLS, 0.0)
    for n in range(3):
        call(machine, FAILURE, n * 100.0)
    assert "closed" == machine.state
    call(machine, SUCCESS, 300.0)

    assert "open" == machine.state


def test_a_circuit_that_is_told_to_weigh_the_last_seconds_forgets_calls_with_time():
    machine = circuit(CALLS)
    machine.configure(TIME, 0.0)
    for n in range(8):
        call(machine, FAILURE, n * 100.0)

    assert "closed" == machine.state


def test_a_longer_count_window_holds_more_calls_and_a_shorter_one_the_last():
    machine = circuit(CALLS)
    machine.configure(attrs.evolve(CALLS, window_calls=8, failure_rate=0.75), 0.0)
    for outcome in (SUCCESS, SUCCESS, SUCCESS, FAILURE, FAILURE, FAILURE):
        call(machine, outcome, 1.0)
    assert "closed" == machine.state, "three of six"
    machine.configure(CALLS, 1.0)
    call(machine, FAILURE, 1.0)

    assert "open" == machine.state, "of the last four, all"


def test_shadow_mode_switched_off_refuses_again():
    machine = circuit(TIME)
    for _ in range(4):
        call(machine, FAILURE, 1.0)
    opened, told = machine.term, []
    assert 1.0 < opened.refuses_until == opened.until
    machine.shadow = lambda: told.append(True)
    assert -float("inf") == opened.refuses_until, "every call has to be asked about"
    call(machine, FAILURE, 2.0)
    assert [True] == told
    machine.shadow = None

    assert opened.refuses_until == opened.until
    with pytest.raises(CircuitOpenError):
        machine.acquire(2.0)
    assert [True] == told


@pytest.mark.parametrize("fallback", [None, lambda: 0], ids=["refusal", "fallback"])
def test_a_command_whose_shadow_mode_is_switched_off_refuses_again(fallback):
    clock = ManualClock()
    ran = []

    def work():
        ran.append(clock())
        raise OSError

    call = command(registry=Registry(clock=clock), timeout=None, shadow=True, fallback=fallback,
                   breaker=CircuitBreaker(min_calls=1, open_for=50.0))(work)

    def ask():
        clock.advance(1.0)
        try:
            call()
        except (OSError, CircuitOpenError):
            pass

    ask(), ask()
    assert [1.0, 2.0] == ran
    call.resilience.configure(shadow=False)
    ask()
    assert [1.0, 2.0] == ran
    call.resilience.configure(shadow=True)
    ask()
    assert [1.0, 2.0, 4.0] == ran
