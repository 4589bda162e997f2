"""A gRPC server that wants no further attempt says so by a ``grpc-retry-pushback-ms`` that is negative, or no number (gRPC
proposal A6). It was taken for nothing, and the call was repeated.
"""

from unittest.mock import Mock

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from resilience import Registry, retry
from resilience.core.retry_after import forbids_retry


def raising(error, **settings):
    """How often a function that raises *error* is called."""
    calls = []

    @retry(attempts=3, base=0.0, registry=Registry(), **settings)
    def call():
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        call()
    return len(calls)


def unavailable(pushback):
    return AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), Metadata(("grpc-retry-pushback-ms", pushback)), "later")


@pytest.mark.parametrize("pushback", ["-1", "-0.5", "never", "nan", ""])
def test_such_a_call_is_made_once(pushback):
    assert 1 == raising(unavailable(pushback))
    assert 1 == raising(ExceptionGroup("both", [ConnectionError(), unavailable(pushback)]))
    assert 3 == raising(unavailable(pushback), respect_retry_after=False)


def test_any_other_is_repeated():
    assert 3 == raising(unavailable("1"))
    assert 3 == raising(ConnectionError())


def test_what_a_test_double_says_is_no_pushback():
    error = ConnectionError()
    error.response = Mock()
    assert not forbids_retry(error)
