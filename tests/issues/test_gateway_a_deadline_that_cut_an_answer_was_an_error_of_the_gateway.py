"""A deadline that passed while an answer was passed on left a traceback in the log, as if the gateway itself had failed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from .gateway_parts import asked, configured, served, upstream


@pytest.mark.parametrize("extra", [{}, {"hedge": 5.0}, {"first_item": 5.0}, {"fallback": {"body": "sorry"}}])
def test_an_answer_is_cut_at_the_deadline_and_nothing_in_the_gateway_fails(
        extra: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async def script(head: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
            await asyncio.Event().wait()

        async with upstream(script) as url, served(configured({"endpoints": [url], "deadline": 0.2, **extra})) as (gateway, front):
            client = await front.client(asked())
            await client.until(b"one\r\n")
            assert b"" == await client.all()  # without its last chunk
            (endpoint,) = gateway.services["up"].served()
            assert (0, 0) == (endpoint.failures, endpoint.in_flight)

    asyncio.run(main())
    assert "a request failed in the gateway" not in caplog.text
