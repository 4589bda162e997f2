"""A body that hung until aiohttp's ``ClientTimeout(total=...)`` was over counted as a success: aiohttp closes such a
response, and a response that is closed is as good as its head.
"""

import asyncio

import aiohttp
import pytest

from tests.integrations.http_clients import Aiohttp, counts_of, in_flight, serving


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture
def client(registry):
    client = Aiohttp(registry=registry, timeout=None)
    yield client
    client.finish()


async def by_read(response):
    await response.read()


async def by_content(response):
    async with response:
        async for _ in response.content.iter_chunked(5):
            pass


@pytest.mark.parametrize("read", [by_read, by_content])
@pytest.mark.parametrize("bound", ["total", "sock_read"])
def test_a_body_that_does_not_come_in_the_clients_own_time_is_a_failure(client, server, read, bound):
    async def scenario():
        await read(await client.client.get(f"{server.url}/200/wait", timeout=aiohttp.ClientTimeout(**{bound: 0.2})))

    with pytest.raises(TimeoutError):
        client.run(scenario())

    assert counts_of(client) == {"failure": 1}
    assert in_flight(client) == 0


def test_a_timeout_of_another_body_is_none_of_this_ones_failures(client, server):
    async def scenario():
        async with client.client.get(f"{server.url}/200/wait"):
            await by_read(await client.client.get(
                f"{server.url}/200/wait", timeout=aiohttp.ClientTimeout(total=0.2)))

    with pytest.raises(TimeoutError):
        client.run(scenario())

    assert counts_of(client) == {"failure": 1, "success": 1}


def test_a_timeout_of_the_callers_own_that_closes_the_response_is_none_either(client, server):
    async def scenario():
        response = await client.client.get(f"{server.url}/200/wait")
        async with asyncio.timeout(0):
            await response.read()

    with pytest.raises(TimeoutError):
        client.run(scenario())

    assert counts_of(client) == {"success": 1}
