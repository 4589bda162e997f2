"""A gRPC server that wants no further attempt says so by a ``grpc-retry-pushback-ms`` that is negative, or no number (gRPC
proposal A6), and one of OpenAI or Anthropic by ``x-should-retry: false``. It was taken for nothing, and the call was repeated.
"""

from unittest.mock import Mock

import grpc
import httpx
import pytest
from grpc.aio import AioRpcError, Metadata

from resilience import Registry, Retry, retry
from resilience.core.retry_after import forbids_retry
from resilience.integrations.httpx import ResilienceTransport


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


def test_so_is_one_that_the_server_of_a_model_does_not_want_again():
    error = ConnectionError()
    error.response = httpx.Response(500, headers={"x-should-retry": "false"})
    assert 1 == raising(error)
    error.response = httpx.Response(500, headers={"x-should-retry": "true"})
    assert 3 == raising(error)


def test_so_is_a_request_of_a_guarded_client():
    seen = []

    def answer(request):
        seen.append(request.url.path)
        return httpx.Response(500, headers={"x-should-retry": request.url.path[1:]})

    transport = ResilienceTransport(httpx.MockTransport(answer), retry=Retry(base=0.0), registry=Registry())
    with httpx.Client(transport=transport) as client:
        client.get("http://model.example/false")
        client.get("http://model.example/true")
    assert ["/false", *["/true"] * 3] == seen
