"""A response with status 503 or 429 that was dropped unclosed kept its slot in the bulkhead, and its connection, until
Python looked for cycles: the call kept the response alive, which kept the call. One with status 200 gave it back at once.
"""

import gc

import pytest

from resilience import FailedResultError, FailureRules, Registry, http_status
from tests.integrations.http_clients import AsyncHttpx2, Httpx2, Requests, Urllib3, command_of, counts_of, serving

CLIENTS = pytest.mark.parametrize("kind", [Httpx2, AsyncHttpx2, Requests, Urllib3])  # those of httpx are cycles


@pytest.fixture(scope="module")
def server():
    with serving() as found:
        yield found


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@CLIENTS
@pytest.mark.parametrize("status", [200, 404, 429, 503])
def test_a_response_that_is_dropped_ends_its_call_whatever_its_status(kind, status, server, no_collector):
    client = kind(registry=Registry(), breaker=None)
    response = client.open(f"{server.url}/{status}/chunked")
    assert command_of(client).snapshot().in_flight == 1

    del response
    for _ in range(100):
        client.turn()

    assert command_of(client).snapshot().in_flight == 0
    client.finish()


@CLIENTS
def test_a_failure_that_is_raised_has_its_response(kind, server):
    client = kind(registry=Registry(), breaker=None, failures=FailureRules(status=http_status(), raise_failures=True))

    with pytest.raises(FailedResultError) as caught:
        client.open(f"{server.url}/503")

    assert "503" in f"{getattr(caught.value.result, 'status_code', '')}{getattr(caught.value.result, 'status', '')}"
    assert counts_of(client) == {"failure": 1}
    client.finish()
