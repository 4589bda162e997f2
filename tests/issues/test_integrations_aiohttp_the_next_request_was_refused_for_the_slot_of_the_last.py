"""A guarded aiohttp session refused the request that followed one whose body had just been read: the call of the
latter ended a turn of the event loop after its reader went on. So n workers of a session with max_concurrent=n, each
with one request at a time, were refused.
"""

import aiohttp
import pytest

from tests.integrations.http_clients import Aiohttp, counts_of, in_flight, serving


@pytest.fixture
def server():
    with serving() as server:
        yield server


async def read(response):
    await response.read()


async def read_in_part(response):
    await response.content.readexactly(3)


async def read_nothing(response):
    pass


@pytest.mark.parametrize("how", ["chunked", "cut", "chunked-cut", "gzip", "wait"])
@pytest.mark.parametrize("use", [read, read_in_part, read_nothing])
def test_one_slot_is_enough_for_one_request_after_the_other(registry, server, how, use):
    client = Aiohttp(registry=registry, timeout=None, breaker=None, max_concurrent=1)

    async def scenario():
        for _ in range(3):
            server.go.clear()
            try:
                async with client.client.get(f"{server.url}/200/{how}") as response:
                    server.go.set()
                    await use(response)
            except aiohttp.ClientPayloadError:
                pass

    client.run(scenario())
    counts, left = counts_of(client), in_flight(client)
    client.finish()
    assert 3 == counts.get("success", 0) + counts.get("failure", 0)
    assert "semaphore_rejected" not in counts
    assert 0 == left
