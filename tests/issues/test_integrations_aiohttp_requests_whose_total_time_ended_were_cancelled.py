"""A request of aiohttp whose ``ClientTimeout(total=...)`` ended while it connected counted as cancelled by its caller, so
that a host that answers nothing never opened its circuit. And a retry repeated requests whose total time was over, which
reached the server, although nobody could get their answer.
"""

import asyncio

import aiohttp
import pytest

from resilience import CircuitBreaker, Registry, Retry
from resilience.integrations.aiohttp import ResilienceMiddleware


class BlackHole(aiohttp.TCPConnector):
    """Connects to nothing, and never gives up."""

    connects = 0

    async def _create_connection(self, *args):
        self.connects += 1
        await asyncio.Event().wait()


class Silent:
    """A server that accepts requests and says nothing."""

    def __init__(self):
        self.requests, self.writers = 0, []

    async def serve(self, reader, writer):
        self.writers.append(writer)
        while await reader.readline():
            if await reader.readuntil(b"\r\n\r\n"):
                self.requests += 1


def middleware(**settings):
    return ResilienceMiddleware(
        registry=Registry(), timeout=None, breaker=CircuitBreaker(min_calls=1), **settings)


async def timed_out(guard, connector, url):
    """Send a request that gets no answer; its command, and the events that are counted."""
    timeout = aiohttp.ClientTimeout(total=0.02)
    async with aiohttp.ClientSession(middlewares=[guard], timeout=timeout, connector=connector) as session:
        with pytest.raises(TimeoutError):
            await session.get(url)
    assert asyncio.current_task().cancelling() == 0
    (handle,) = guard.resilience
    counts = handle.snapshot().counts
    return handle, {name: counts[name] for name in ("failure", "cancelled", "semaphore_rejected", "retry") if counts[name]}


@pytest.mark.parametrize("retry", [None, Retry(attempts=3, base=0.0)])
async def test_a_host_that_cannot_be_connected_to_in_the_total_time_is_down(retry):
    connector = BlackHole()

    handle, counts = await timed_out(middleware(retry=retry), connector, "http://127.0.0.1:9/")

    assert (counts, handle.state.value) == ({"failure": 1}, "open")
    assert connector.connects == 1


async def test_a_request_whose_total_time_is_over_is_not_repeated():
    silent = Silent()
    async with await asyncio.start_server(silent.serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        guard = middleware(retry=Retry(attempts=3, base=0.0))

        handle, counts = await timed_out(guard, aiohttp.TCPConnector(), url)

        assert (counts, handle.state.value, silent.requests) == ({"failure": 1}, "open", 1)
        for writer in silent.writers:
            writer.close()


async def test_a_total_time_that_ends_in_the_queue_of_the_pool_says_nothing_about_the_server():
    connector = BlackHole(limit=1)
    first = middleware()
    async with aiohttp.ClientSession(middlewares=[first], connector=connector, connector_owner=False) as session:
        taking = asyncio.ensure_future(session.get("http://127.0.0.2:9/"))
        while not connector.connects:
            await asyncio.sleep(0)

        handle, counts = await timed_out(middleware(), connector, "http://127.0.0.1:9/")

        assert (counts, handle.state.value) == ({"semaphore_rejected": 1}, "closed")
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
        (handle,) = first.resilience
        assert handle.snapshot().counts["cancelled"] == 1
