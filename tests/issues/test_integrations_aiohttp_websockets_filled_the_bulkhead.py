"""A WebSocket of aiohttp held its slot for as long as its session lasted. So as many sessions as the bulkhead has slots,
ten by default, kept every request from its host.
"""

import aiohttp
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from resilience.integrations.aiohttp import ResilienceMiddleware


async def echo(request):
    if request.headers.get("Upgrade") != "websocket":
        return web.Response(text="plain")
    session = web.WebSocketResponse()
    await session.prepare(request)
    async for message in session:
        await session.send_str(message.data)
    return session


async def test_an_open_session_occupies_no_slot(registry):
    guard = ResilienceMiddleware(max_concurrent=1, registry=registry)
    async with RawTestServer(echo) as server, aiohttp.ClientSession(middlewares=[guard]) as client:
        url = server.make_url("/")
        async with client.ws_connect(url) as one, client.ws_connect(url) as other:
            for session in (one, other):
                await session.send_str("hello")
                assert await session.receive_str() == "hello"
            async with client.get(url) as response:
                assert await response.text() == "plain"
            (handle,) = registry
            assert (handle.in_flight, handle.snapshot().counts["success"]) == (0, 3)
