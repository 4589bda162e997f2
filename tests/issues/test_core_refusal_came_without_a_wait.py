"""A circuit that closed between the refusal and its message left retry_after None."""

import pytest

from resilience.core.breaker import CircuitBreaker
from resilience.core.circuit import Circuit
from resilience.core.events import Trigger
from resilience.core.outcome import FAILURE
from resilience.errors import CircuitOpenError


class ClosesMeanwhile(Circuit):
    """Another thread's probe succeeds just after ours was turned down."""

    def _ask(self, now):
        assert super()._ask(now) is None
        self.steer(Trigger.RESET, now)


def test_a_refusal_always_says_how_long_to_wait():
    circuit = ClosesMeanwhile(CircuitBreaker(min_calls=1), key="k", group="g", now=0.0, emit=lambda _: None,
                              random=lambda: 0.0)
    circuit.settle(circuit.acquire(0.0), FAILURE, 0.0, 0.0)
    Circuit._ask(circuit, 5.0)
    with pytest.raises(CircuitOpenError) as caught:
        circuit.acquire(5.0)

    assert 0.0 == caught.value.retry_after
