"""Under another ASGI server only the pieces of a streamed answer had a bound.

A client that takes nothing of its first answer fills the connection, and its second request then waits in the head of
its answer: servers such as uvicorn let nobody send before there is room. It held a permit of its service for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resilience import Registry
from resilience.gateway import Gateway

from .gateway_parts import OK, configured, upstream


@pytest.mark.parametrize("path", ["/x", "//"])
@pytest.mark.parametrize("kind", ["http.response.start", "http.response.body"])
async def test_they_are_given_up_after_client_timeout(path: str, kind: str) -> None:
    scope = {"type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": path,
             "query_string": b"", "headers": [(b"host", b"gw")], "client": ("192.0.2.1", 1), "server": ("gw", 80)}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == kind:
            await asyncio.Event().wait()

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)

    async with upstream(answer) as url:
        app = Gateway(configured({"endpoints": [url]}, gateway={"client_timeout": 0.05}), registry=Registry())
        await asyncio.wait_for(app(scope, receive, send), 10)
        assert [0] == [each.in_flight for each in app.services["up"].endpoints.states]
        app.close()
        await app.closed()
