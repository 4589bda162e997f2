"""What became of a request of aiohttp was told in the context of the request that had opened its connection: span events
and log lines of one request stood in the trace of another one, or nowhere.
"""

import asyncio
import contextvars

import aiohttp
import pytest

from resilience.core.events import CallFailed
from resilience.integrations.aiohttp import ResilienceMiddleware
from tests.integrations.http_clients import serving

request_id = contextvars.ContextVar("request_id", default="none")


@pytest.mark.parametrize("how", ["read", "closed", "released"])
async def test_listeners_run_in_the_context_of_the_request(how, registry):
    told = []
    registry.subscribe(CallFailed, lambda event: told.append(request_id.get()))

    async def fetch(session, url, name):
        request_id.set(name)
        response = await session.get(url)
        if how == "read":
            await response.read()
        elif how == "closed":
            response.close()
        else:
            response.release()

    with serving() as server:
        async with aiohttp.ClientSession(middlewares=[ResilienceMiddleware(registry=registry)]) as session:
            for name in ("first", "second", "third"):
                await asyncio.create_task(fetch(session, f"{server.url}/500", name))
                for _ in range(10):
                    await asyncio.sleep(0)
    assert told == ["first", "second", "third"]
