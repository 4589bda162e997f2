"""A hint: enough other instances see a target down, and a closed circuit opens for the rest of their wait."""

import pytest

from resilience import CircuitBreaker, CircuitOpenError
from resilience.core.circuit import Circuit
from resilience.core.events import State, Trigger
from resilience.core.outcome import FAILURE, SUCCESS


def circuit(told=None, **settings):
    return Circuit(CircuitBreaker(**{"consecutive": 2, "open_for": 5.0, **settings}), key="k", group="g", now=0.0,
                   emit=(lambda event: None) if told is None else told.append, random=lambda: 0.5)


def test_a_closed_circuit_opens_for_the_time_that_is_left_and_says_who_sees_its_target_down():
    told = []
    machine = circuit(told)
    machine.hint(2.5, "3 of 4 gateways see it down", 1.0)
    with pytest.raises(CircuitOpenError, match="3 of 4 gateways see it down") as caught:
        machine.acquire(2.0)
    assert caught.value.retry_after == 0.5, "and not its own five seconds"
    machine.settle(machine.acquire(2.5), SUCCESS, 2.5, 2.5)
    assert [(Trigger.FLEET, State.OPEN), (Trigger.WAIT_ELAPSED, State.HALF_OPEN),
            (Trigger.PROBES_PASSED, State.CLOSED)] == [(event.trigger, event.new) for event in told]
    assert told[0].reason == "3 of 4 gateways see it down"


def test_a_probe_that_fails_after_a_hint_opens_the_circuit_for_its_own_time():
    told = []
    machine = circuit(told, open_growth=2.0)
    machine.hint(2.5, "3 of 4 gateways see it down", 1.0)
    machine.settle(machine.acquire(2.5), FAILURE, 2.5, 3.0)
    assert (machine.retry_after(3.0), machine.is_halted) == (10.0, False)
    assert told[-1].reason == "3 of 4 gateways see it down, and 1 probe failed since"


@pytest.mark.parametrize("prepare", [
    lambda machine: machine.steer(Trigger.FORCED_CLOSED, 0.0), lambda machine: machine.steer(Trigger.FORCED_OPEN, 0.0),
    lambda machine: machine.steer(Trigger.DISABLED, 0.0), lambda machine: machine.halt(90.0, 0.0),
    lambda machine: (machine.halt(0.5, 0.0), machine.acquire(0.6))],
    ids=["forced closed", "forced open", "disabled", "open", "half open"])
def test_a_circuit_that_is_not_closed_stays_as_it_is(prepare):
    machine = circuit()
    prepare(machine)
    term = machine.term
    machine.hint(99.0, "3 of 4 gateways see it down", 1.0)
    assert machine.term is term


def test_a_hint_that_is_over_already_opens_nothing():
    machine = circuit()
    machine.hint(1.0, "3 of 4 gateways see it down", 1.0)
    assert machine.state is State.CLOSED


def test_a_target_that_asks_for_longer_after_a_hint_is_obeyed_and_other_settings_leave_both_alone():
    machine = circuit()
    machine.hint(2.0, "3 of 4 gateways see it down", 1.0)
    machine.configure(CircuitBreaker(open_for=60.0), 1.0)
    assert machine.retry_after(1.0) == 1.0
    machine.halt(9.0, 1.0)
    assert (machine.is_halted, machine.retry_after(1.0)) == (True, 8.0)
