"""A request object that had been sent under a deadline kept it in its headers. Sent again without one, it told the server to
give up after the time that had been left at first.
"""

import httpx
import httpx2
import pytest
import requests

from resilience import Registry, deadline
from resilience.integrations import httpx as our_httpx
from resilience.integrations import httpx2 as our_httpx2
from resilience.integrations.requests import ResilienceAdapter
from tests.integrations.http_clients import serving


def told(server):
    """The deadlines that the server was told of, in milliseconds."""
    return [headers.get("X-Envoy-Expected-Rq-Timeout-Ms") or headers.get(deadline.HEADER) for *_, headers in server.seen]


def check(send, server):
    send()
    for seconds in (5.0, 9.0):
        with deadline(seconds):
            send()
    send()
    send()
    first, five, nine, *rest = told(server)
    assert [None] * 3 == [first, *rest]
    assert 0 < int(five) <= 5000 < int(nine) <= 9000


@pytest.mark.parametrize(("theirs", "ours"), [(httpx, our_httpx), (httpx2, our_httpx2)])
def test_a_request_of_httpx_forgets_it(theirs, ours):
    with serving() as server, theirs.Client(
            transport=ours.ResilienceTransport(registry=Registry()), trust_env=False) as client:
        request = client.build_request("GET", f"{server.url}/200")
        check(lambda: client.send(request), server)


async def test_so_does_one_of_an_async_client():
    with serving() as server:
        async with httpx.AsyncClient(
                transport=our_httpx.AsyncResilienceTransport(registry=Registry()), trust_env=False) as client:
            request = client.build_request("GET", f"{server.url}/200")
            with deadline(5.0):
                await client.send(request)
            await client.send(request)
        assert None is told(server)[1]


def test_so_does_one_of_requests():
    with serving() as server, requests.Session() as session:
        session.trust_env = False
        session.mount("http://", ResilienceAdapter(registry=Registry()))
        request = session.prepare_request(requests.Request("GET", f"{server.url}/200"))
        check(lambda: session.send(request), server)
