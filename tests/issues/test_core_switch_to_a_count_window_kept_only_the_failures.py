"""A time window poured column by column into a smaller count window left the last columns in it: the failures."""

import attrs
import pytest

from resilience.core.breaker import CircuitBreaker
from resilience.core.circuit import Circuit
from resilience.core.events import State
from resilience.core.outcome import FAILURE, SUCCESS


@pytest.mark.parametrize(("bad", "state"), [(10, State.CLOSED), (480, State.CLOSED), (900, State.OPEN)])
def test_a_circuit_keeps_its_failure_rate_when_it_turns_to_counting_calls(bad, state):
    config = CircuitBreaker(min_calls=2000)
    circuit = Circuit(config, key="k", group="g", now=0.0, emit=lambda _: None, random=lambda: 0.0)
    for i in range(1000):
        circuit.settle(circuit.acquire(1.0), FAILURE if i < bad else SUCCESS, 1.0, 1.0)
    circuit.configure(attrs.evolve(config, min_calls=20, window_calls=20), 1.0)
    circuit.settle(circuit.acquire(1.0), SUCCESS, 1.0, 1.0)

    assert state is circuit.state


def test_what_fits_is_kept_whole():
    config = CircuitBreaker(min_calls=5)
    circuit = Circuit(config, key="k", group="g", now=0.0, emit=lambda _: None, random=lambda: 0.0)
    for _ in range(4):
        circuit.settle(circuit.acquire(1.0), FAILURE, 1.0, 1.0)
    circuit.configure(attrs.evolve(config, window_calls=5), 1.0)
    assert State.CLOSED is circuit.state
    circuit.settle(circuit.acquire(1.0), FAILURE, 1.0, 1.0)

    assert State.OPEN is circuit.state
