"""A window that was resized after a pause took what it had last counted for new."""

import attrs

from resilience.core.breaker import CircuitBreaker
from resilience.core.circuit import Circuit
from resilience.core.events import State
from resilience.core.outcome import FAILURE
from resilience.core.window import TimeWindow


def test_counts_that_had_left_the_window_stay_out_when_it_is_resized():
    window = TimeWindow(1, window=10.0, buckets=10, now=0.0)
    window.add(0, 0.0, 9)

    assert [0] == window.resized(window=20.0, buckets=10, now=100.0).sums(100.0)


def test_old_failures_do_not_open_a_circuit_that_was_reconfigured_after_a_pause():
    config = CircuitBreaker(min_calls=4)
    circuit = Circuit(config, key="k", group="g", now=0.0, emit=lambda _: None, random=lambda: 0.0)
    for _ in range(3):
        circuit.settle(circuit.acquire(0.0), FAILURE, 0.0, 0.0)
    circuit.configure(attrs.evolve(config, window=20.0), 100.0)
    circuit.settle(circuit.acquire(100.0), FAILURE, 100.0, 100.0)

    assert State.CLOSED is circuit.state
