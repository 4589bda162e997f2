"""0.55 * 100 is 55.00000000000001 as a float: 55 failures of 100 calls were not 55 per cent."""

import pytest

from resilience.core.breaker import CircuitBreaker
from resilience.core.circuit import Circuit
from resilience.core.events import State
from resilience.core.outcome import FAILURE, SUCCESS

ROUNDED = [(bad, calls) for calls in range(20, 200) for bad in range(1, calls + 1) if bad / calls * calls > bad]


def run(bad, calls, **rates):
    circuit = Circuit(CircuitBreaker(min_calls=calls, **rates), key="k", group="g", now=0.0, emit=lambda _: None,
                      random=lambda: 0.0)
    for i in range(calls):
        slow = i < bad and "slow_call" in rates
        outcome = FAILURE if i < bad and not slow else SUCCESS
        circuit.settle(circuit.acquire(1.0), outcome, -9.0 if slow else 1.0, 1.0)
    return circuit.state


@pytest.mark.parametrize(("bad", "calls"), [(55, 100), (11, 20), *ROUNDED[:20]])
def test_exactly_the_rate_opens_whatever_the_numbers(bad, calls):
    assert State.OPEN is run(bad, calls, failure_rate=bad / calls)
    assert State.OPEN is run(bad, calls, slow_call=5.0, slow_rate=bad / calls)


@pytest.mark.parametrize(("bad", "calls"), [(11, 20), (57, 100), (3, 30)])
def test_one_call_less_does_not(bad, calls):
    assert State.CLOSED is run(bad - 1, calls, failure_rate=bad / calls)
