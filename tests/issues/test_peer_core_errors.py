"""Defects of other libraries' exceptions; each test names the peer."""

import pickle

from resilience.errors import CallTimeoutError, CircuitOpenError


def test_interlock_a_call_timeout_unpickles():
    again = pickle.loads(pickle.dumps(CallTimeoutError("db", 0.5)))

    assert (CallTimeoutError, "db", 0.5) == (type(again), again.key, again.timeout)


def test_interlock_a_refusals_message_does_not_double_with_each_journey():
    error = CircuitOpenError("db", 2.0)
    for _ in range(3):
        error = pickle.loads(pickle.dumps(error))

    assert "db: the circuit is open; retry in 2 s" == str(error)
