"""A window of 1e-310 s divided by zero, or overflowed, in settle(), which must never raise."""

import pytest

from resilience.core.breaker import CircuitBreaker
from resilience.core.circuit import Circuit
from resilience.core.events import State
from resilience.core.outcome import FAILURE
from resilience.errors import ConfigError


@pytest.mark.parametrize("window", [5e-324, 1e-310, 1e-9])
def test_a_window_too_short_to_mean_anything_is_refused(window):
    with pytest.raises(ConfigError, match="window must be a number at least 0.001"):
        CircuitBreaker(window=window)


@pytest.mark.parametrize("window", [0.001, 1e300])
def test_the_shortest_and_longest_windows_work_on_any_clock(window):
    circuit = Circuit(CircuitBreaker(min_calls=2, window=window, buckets=1000), key="k", group="g", now=0.0,
                      emit=lambda _: None, random=lambda: 0.0)
    for now in (0.0, 1e-9, 1.0, 1e9, 1e15, 1e15):
        try:
            permit = circuit.acquire(now)
        except Exception:
            break
        circuit.settle(permit, FAILURE, now, now)

    assert State.OPEN is circuit.state
