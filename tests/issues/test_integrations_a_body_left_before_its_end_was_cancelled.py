"""httpx.Client counted a response that was left before its end as cancelled, since the iterator that the client dropped
took the exchange along before close() could end it. A circuit that was half-open never closed by such responses.
A body that could not be decoded counted as cancelled, or as good with an AsyncClient; everywhere else as a failure.
"""

import gc

import pytest

from resilience import CircuitBreaker
from tests.integrations.http_clients import (
    CLIENTS,
    Aiohttp,
    AsyncHttpx,
    AsyncHttpx2,
    Httpx,
    Httpx2,
    Requests,
    Urllib3,
    command_of,
    counts_of,
    in_flight,
    serving,
)


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture(params=CLIENTS, ids=[client.__name__ for client in CLIENTS])
def make(request, registry):
    made = []

    def make(**settings):
        made.append(request.param(**{"registry": registry, "timeout": None, **settings}))
        return made[-1]

    yield make
    for client in made:
        client.finish()


def first_of(client, response):
    """The first part of a body; the iterator is dropped."""
    if isinstance(client, (AsyncHttpx, AsyncHttpx2, Aiohttp)):
        async def first():
            parts = response.content.iter_chunked(5) if isinstance(client, Aiohttp) else response.aiter_raw()
            async for part in parts:
                return part
            return None

        return client.run(first())
    parts = response.iter_content(5) if isinstance(client, Requests) else \
        response.stream(5) if isinstance(client, Urllib3) else response.iter_raw()
    return next(iter(parts))


def test_a_response_that_is_left_and_closed_in_the_middle_is_as_good_as_its_head(make, server):
    client = make()

    response = client.open(f"{server.url}/200/wait")
    assert first_of(client, response) == b"hello"
    gc.collect()
    client.close(response)

    assert counts_of(client) == {"success": 1}
    assert in_flight(client) == 0


def test_a_failed_response_that_is_left_in_the_middle_stays_one(make, server):
    client = make()

    response = client.open(f"{server.url}/503/wait")
    first_of(client, response)
    client.close(response)

    assert counts_of(client) == {"failure": 1}


def test_a_half_open_circuit_closes_by_responses_that_are_left_in_the_middle(make, server, clock):
    client = make(breaker=CircuitBreaker(min_calls=1, open_for=5.0))
    client.request("GET", f"{server.url}/500")
    client.turn()
    clock.advance(6.0)

    for _ in range(5):
        response = client.open(f"{server.url}/200/wait")
        first_of(client, response)
        client.close(response)
        client.turn()

    assert command_of(client).state.value == "closed"


def test_a_body_that_is_not_what_its_encoding_says_is_a_failure(make, server):
    client = make()

    with pytest.raises(client.family):
        client.request("GET", f"{server.url}/200/gzip")

    # httpx2 closes a response where its iterator ends, before its own exception is to be seen.
    assert counts_of(client) == {"success" if isinstance(client, (Httpx2, AsyncHttpx2)) else "failure": 1}
    assert in_flight(client) == 0


def test_a_streamed_body_that_is_not_what_its_encoding_says_is_a_failure(server, registry):
    client = Httpx(registry=registry)
    try:
        with pytest.raises(client.theirs.DecodingError), client.client.stream("GET", f"{server.url}/200/gzip") as body:
            body.read()
        assert counts_of(client) == {"failure": 1}
    finally:
        client.finish()


def test_what_another_response_could_not_decode_is_none_of_this_ones_failures(server, registry):
    client = Httpx(registry=registry)
    try:
        other = client.open(f"{server.url}/200/wait")
        with pytest.raises(client.theirs.DecodingError):
            try:
                client.request("GET", f"{server.url}/200/gzip")
            finally:
                client.close(other)
        assert counts_of(client) == {"failure": 1, "success": 1}
    finally:
        client.finish()
