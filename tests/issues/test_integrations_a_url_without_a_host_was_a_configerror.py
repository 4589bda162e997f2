"""A guarded client of httpx that was given a URL without a host, such as "/orders" without a ``base_url``, raised a ConfigError
about a key that nobody had set, and no UnsupportedProtocol as ever. Hosts that cannot be looked up at all ("..") were
failures of whatever shared their command.
"""

import io

import httpx
import httpx2
import pytest
import requests

from resilience import CircuitBreaker, Registry
from resilience.integrations import httpx as our_httpx
from resilience.integrations import httpx2 as our_httpx2
from resilience.integrations.requests import ResilienceAdapter
from tests.integrations.http_clients import Aiohttp, Httpx, Httpx2, Requests, Urllib3


@pytest.mark.parametrize("url", ["/orders", "", "http://", "http:///orders"])
@pytest.mark.parametrize(("theirs", "ours"), [(httpx, our_httpx), (httpx2, our_httpx2)])
async def test_the_client_says_what_is_wrong(theirs, ours, url):
    registry = Registry()
    with theirs.Client(transport=ours.ResilienceTransport(registry=registry)) as client, \
            pytest.raises(theirs.UnsupportedProtocol):
        client.get(url)
    async with theirs.AsyncClient(transport=ours.AsyncResilienceTransport(registry=registry)) as client:
        with pytest.raises(theirs.UnsupportedProtocol):
            await client.get(url)
    assert 2 == registry["no host"].snapshot().counts["bad_request"]


def test_an_adapter_of_requests_for_another_scheme_needs_no_host():
    class Memory(requests.adapters.BaseAdapter):
        def send(self, request, **options):
            response = requests.Response()
            response.status_code, response.raw, response.request = 200, io.BytesIO(b"kept"), request
            return response

        def close(self):
            pass

    with requests.Session() as session:
        session.mount("memory://", ResilienceAdapter(Memory(), registry=Registry()))
        assert b"kept" == session.get("memory:///orders").content


@pytest.mark.parametrize("kind", [Httpx, Httpx2, Requests, Urllib3, Aiohttp])
@pytest.mark.parametrize("host", ["a" * 64, "a..b"])
def test_a_host_that_nobody_can_look_up_is_the_callers_fault(kind, host):
    registry = Registry()
    client = kind(registry=registry, key="all", breaker=CircuitBreaker(min_calls=1))
    with pytest.raises(Exception, match=r"label|[Ff]ailed to parse"):
        client.request("GET", f"http://{host}.example/")
    client.finish()
    snapshot = registry["all"].snapshot()
    assert (0, "closed") == (snapshot.counts["failure"], snapshot.state)
