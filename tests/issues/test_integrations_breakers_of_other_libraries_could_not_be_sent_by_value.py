"""A breaker in place of pybreaker's, and so a function under one, could not be sent to a worker by value.

It had a lock, and a state that refers to it weakly. One in place of circuitbreaker's could be sent before its first call;
after that the copy failed with a KeyError, and copy.deepcopy with a TypeError. A copy begins anew, with all that its user
said.
"""

import copy
import pickle

import cloudpickle
import pytest

from resilience import Registry
from resilience.integrations import circuitbreaker, pybreaker


class Listener(pybreaker.CircuitBreakerListener):
    def __init__(self):
        self.told = []

    def state_change(self, cb, old_state, new_state):
        self.told.append((cb, new_state.name))


def sent(thing):
    return pickle.loads(pickle.dumps(thing))


def sent_by_value(thing):
    return cloudpickle.loads(cloudpickle.dumps(thing))


def failing():
    raise ConnectionError


def fail(breaker):
    with pytest.raises((ConnectionError, pybreaker.CircuitBreakerError)):
        breaker.call(failing)


@pytest.mark.parametrize("send", [sent, sent_by_value, copy.deepcopy])
@pytest.mark.parametrize("is_used", [False, True])
def test_a_copy_of_pybreakers_begins_anew_with_all_that_was_said(send, is_used):
    listener = Listener()
    breaker = pybreaker.CircuitBreaker(fail_max=2, reset_timeout=9, name="shop", listeners=[listener],
                                       exclude=[KeyError], registry=Registry())
    listener.breaker = breaker
    if is_used:
        fail(breaker)
    twin = send(breaker)

    assert twin is not breaker
    assert (2, 9, 1, "shop", (KeyError,)) == (twin.fail_max, twin.reset_timeout, twin.success_threshold, twin.name,
                                              twin.excluded_exceptions)
    assert (0, "closed", "closed") == (twin.fail_counter, twin.current_state, twin.state.name)
    fail(twin)
    assert (1, int(is_used)) == (twin.fail_counter, breaker.fail_counter)
    fail(twin)
    assert ("open", "closed") == (twin.current_state, breaker.current_state)
    [theirs] = twin.listeners
    assert theirs.breaker is twin
    assert [(twin, "open")] == theirs.told
    assert [] == listener.told


@pytest.mark.parametrize("send", [sent, sent_by_value, copy.deepcopy])
@pytest.mark.parametrize("is_used", [False, True])
def test_a_copy_of_circuitbreakers_begins_anew_with_all_that_was_said(send, is_used):
    breaker = circuitbreaker.CircuitBreaker(failure_threshold=1, name="shop", registry=Registry())
    if is_used:
        fail(breaker)
    twin = send(breaker)
    assert ("closed", "shop") == (twin.state, twin.name)
    assert 7 == twin.call(lambda: 7)
    fail(twin)
    assert ("open", "open" if is_used else "closed") == (twin.state, breaker.state)


@pytest.mark.parametrize("decorator", [pybreaker.CircuitBreaker, circuitbreaker.CircuitBreaker])
def test_a_function_under_one_is_sent_by_value(decorator):
    @decorator(registry=Registry())
    def double(n):
        return 2 * n

    def job(n):
        return double(n)

    assert 4 == job(2)
    assert 6 == sent_by_value(job)(3)
    assert 6 == sent_by_value(double)(3)


def test_a_storage_that_breakers_share_is_sent_with_what_it_says():
    storage = pybreaker.CircuitMemoryStorage(pybreaker.STATE_OPEN)
    registry = Registry()
    breaker = pybreaker.CircuitBreaker(state_storage=storage, registry=registry)
    assert "open" == sent(breaker).current_state


def test_a_shallow_copy_is_the_same_breaker():
    breaker = pybreaker.CircuitBreaker(fail_max=1, registry=Registry())
    twin = copy.copy(breaker)
    fail(breaker)
    assert "open" == twin.current_state
