"""Every exception of ours can be sent, copied, annotated and read."""

import copy
import errno
import pickle

import pytest

import resilience
from resilience.errors import (
    BadRequestError,
    BulkheadFullError,
    CallTimeoutError,
    CircuitOpenError,
    ConfigError,
    FallbackRejectedError,
    RateLimitedError,
    RejectedError,
    ResilienceError,
)

ERRORS = [
    ResilienceError("any"), ResilienceError(), BadRequestError("no such sku", 7),
    *(kind("db", wait) for kind in (RejectedError, CircuitOpenError, BulkheadFullError, RateLimitedError,
                                    FallbackRejectedError) for wait in (None, 0.0, 2.5)),
    CircuitOpenError("db", 1.0), BulkheadFullError("db", 1.0),
    CallTimeoutError("db", 0.5), CallTimeoutError(key="db", timeout=0.5),
    ConfigError("timeout must be above 0"), ConfigError("timeout must be above 0", "timeout"),
    ConfigError("timeout must be above 0", option="timeout"),
]


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, *(
    lambda e, protocol=protocol: pickle.loads(pickle.dumps(e, protocol))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1))])
@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_an_error_survives_the_journey(error, again):
    error.add_note("seen on node 3")
    try:
        error.request_id = "r-1"
        there = again(again(error))
    finally:
        del error.__notes__, error.request_id

    assert type(error) is type(there)
    assert str(error) == str(there)
    assert ["seen on node 3"] == there.__notes__
    assert "r-1" == there.request_id
    assert error.__dict__ == {k: v for k, v in there.__dict__.items() if k not in ("__notes__", "request_id")}


def test_messages_say_who_what_and_how_long():
    assert "db: the circuit is open; retry in 2.5 s" == str(CircuitOpenError("db", 2.5))
    assert "db: the bulkhead is full" == str(BulkheadFullError("db"))
    assert "db: no answer within 0.5 s" == str(CallTimeoutError("db", 0.5))
    assert "timeout must be above 0" == str(ConfigError("timeout must be above 0", "timeout"))
    assert "CallTimeoutError('db', 0.5)" == repr(CallTimeoutError("db", 0.5))


def test_a_timeout_is_a_timeout_error_without_a_made_up_errno():
    error = CallTimeoutError("db", 0.5)

    assert isinstance(error, TimeoutError)
    assert (None, None, None) == (error.errno, error.strerror, error.filename)
    assert errno.ETIMEDOUT != error.errno
    assert ("db", 0.5) == (error.key, error.timeout) == error.args


@pytest.mark.parametrize(("kind", "bases"), [
    (ResilienceError, [Exception]),
    (RejectedError, [ResilienceError]),
    (CircuitOpenError, [RejectedError]),
    (BulkheadFullError, [RejectedError]),
    (RateLimitedError, [RejectedError]),
    (FallbackRejectedError, [RejectedError]),
    (CallTimeoutError, [ResilienceError, TimeoutError]),
    (ConfigError, [ResilienceError, ValueError]),
    (BadRequestError, [ResilienceError]),
])
def test_the_tree_is_the_documented_one(kind, bases):
    assert tuple(bases) == kind.__bases__
    assert kind is getattr(resilience, kind.__name__)


def test_a_subclass_of_a_users_own_keeps_all_that():
    again = pickle.loads(pickle.dumps(OursOpenError("db", 3.0)))

    assert OursOpenError is type(again)
    assert ("db", 3.0) == (again.key, again.retry_after)


class OursOpenError(CircuitOpenError):
    reason = "the warehouse is closed"


@pytest.mark.parametrize("kind", [CircuitOpenError, BulkheadFullError, RateLimitedError, FallbackRejectedError])
def test_a_refusal_takes_no_named_arguments_that_a_pickle_would_lose(kind):
    with pytest.raises(TypeError):
        kind(key="db")
    with pytest.raises(TypeError):
        kind("db", retry_after=1.0)


def test_a_refusal_made_bare_can_still_be_read():
    assert ("", None, ": the circuit is open") == (CircuitOpenError().key, CircuitOpenError().retry_after,
                                                   str(CircuitOpenError()))
