"""Over HTTP/1.1 only the forwarder bounded how long a client may take nothing of an answer that is streamed to it.

What the admin port streams comes past no forwarder. A client that kept its connection and read nothing held its place
among the listeners for ever; 50 of them, and nobody else could watch.
"""

from __future__ import annotations

from typing import Any

from resilience.gateway.front.asgi_bridge import AsgiBridge
from tests.gateway.front.serving import eventually, serving


async def flood(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(1000):
        await send({"type": "http.response.body", "body": bytes(1_000_000), "more_body": True})


async def test_who_takes_nothing_of_a_stream_is_given_up() -> None:
    async with serving(AsgiBridge(flood).serve, client_timeout=0.05) as front:
        client = await front.client(b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n", limit=1024)
        await client.until(b"\r\n\r\n")
        await eventually(lambda: front.front.connections == 0, "the connection cut")
