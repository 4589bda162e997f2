"""What serves the dashboard and the admin port raised an exception of its own in send() when the client had left.

ASGI says that it is an OSError, and so applications catch that. The dashboard did: each page of several streams that was
closed while one of them was written to left a traceback in the log, as a failure of the gateway.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resilience.gateway.front.asgi_bridge import AsgiBridge
from tests.gateway.front.serving import eventually, serving


async def test_an_application_gets_an_os_error_when_its_client_has_left(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[BaseException] = []

    async def streaming(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(2):
                    tasks.create_task(flood(send))
        except* OSError as group:
            ended.extend(group.exceptions)

    async def flood(send: Any) -> None:
        while True:
            await send({"type": "http.response.body", "body": bytes(10_000), "more_body": True})
            await asyncio.sleep(0)

    async with serving(AsgiBridge(streaming).serve) as front:
        client = await front.client(b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n")
        await client.until(b"\r\n\r\n")
        client.writer.transport.abort()
        await eventually(lambda: bool(ended), "the application told")
        await eventually(lambda: front.front.connections == 0, "the connection ended")
    assert not caplog.records
