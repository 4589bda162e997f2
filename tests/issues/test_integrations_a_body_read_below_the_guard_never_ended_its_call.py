"""A response that the inner transport had read already, as one that logs bodies does, or httpx.MockTransport, was never
iterated or closed by its client, so that its call went on until the collector came: nothing was counted, and the
slots of the bulkhead were gone.
"""

import httpx
import httpx2
import pytest
import requests

from resilience import CircuitBreaker, CircuitOpenError
from tests.integrations.http_clients import (
    AsyncHttpx,
    AsyncHttpx2,
    Httpx,
    Httpx2,
    Requests,
    command_of,
    counts_of,
    serving,
)


@pytest.fixture
def server():
    with serving() as server:
        yield server


def reading(theirs):
    class Reading(theirs.HTTPTransport):
        def handle_request(self, request):
            response = super().handle_request(request)
            response.read()
            return response

    return Reading()


def reading_async(theirs):
    class Reading(theirs.AsyncHTTPTransport):
        async def handle_async_request(self, request):
            response = await super().handle_async_request(request)
            await response.aread()
            return response

    return Reading()


def closing(theirs):
    class Closing(theirs.HTTPTransport):
        def handle_request(self, request):
            response = super().handle_request(request)
            response.close()
            return response

    return Closing()


class ReadingAdapter(requests.adapters.HTTPAdapter):
    def send(self, *args, **options):
        response = super().send(*args, **options)
        assert response.content is not None
        return response


def mock(theirs):
    return theirs.MockTransport(lambda request: theirs.Response(int(request.url.path[1:]), json=["helloworld"]))


INNER = {
    "httpx": (Httpx, lambda: reading(httpx)), "httpx2": (Httpx2, lambda: reading(httpx2)),
    "async httpx": (AsyncHttpx, lambda: reading_async(httpx)),
    "async httpx2": (AsyncHttpx2, lambda: reading_async(httpx2)),
    "mock": (Httpx, lambda: mock(httpx)), "async mock": (AsyncHttpx, lambda: mock(httpx)),
    "requests": (Requests, ReadingAdapter),
}


@pytest.fixture(params=INNER)
def make(request, registry):
    made = []

    def make(**settings):
        kind, inner = INNER[request.param]
        made.append(kind(inner=inner(), registry=registry, timeout=None, **settings))
        return made[-1]

    yield make
    for client in made:
        client.finish()


def test_a_response_that_was_read_below_the_guard_is_counted_by_its_status_and_gives_its_slot_back(make, server):
    client = make(breaker=None, max_concurrent=2)

    kept = [client.request("GET", f"{server.url}/{status}")[0] for status in (200, 200, 404, 500)]

    assert kept == [200, 200, 404, 500]
    assert counts_of(client) == {"success": 3, "failure": 1}
    assert command_of(client).snapshot().in_flight == 0


def test_a_streamed_response_that_was_read_below_the_guard_can_still_be_read(make, server):
    client = make()

    response = client.open(f"{server.url}/200")
    assert b"helloworld" in client.read(response)
    client.close(response)

    assert counts_of(client) == {"success": 1}


def test_the_circuit_opens_and_closes_by_responses_that_were_read_below_the_guard(make, server, clock):
    client = make(breaker=CircuitBreaker(consecutive=2, open_for=5.0))

    for _ in range(2):
        client.request("GET", f"{server.url}/500")
    with pytest.raises(CircuitOpenError):
        client.request("GET", f"{server.url}/200")
    clock.advance(6.0)
    for _ in range(5):
        client.request("GET", f"{server.url}/200")

    assert command_of(client).state.value == "closed"


def test_a_response_that_was_closed_below_the_guard_is_as_good_as_its_head(server, registry):
    client = Httpx(inner=closing(httpx), registry=registry, timeout=None)
    try:
        with pytest.raises(httpx.StreamClosed):
            client.request("GET", f"{server.url}/200")
        assert counts_of(client) == {"success": 1}
    finally:
        client.finish()
