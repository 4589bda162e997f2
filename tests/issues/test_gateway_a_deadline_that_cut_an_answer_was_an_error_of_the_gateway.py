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
            (endpoint,) = gateway.services["up"].endpoints.states
            assert (0, 0) == (endpoint.failures, endpoint.in_flight)

    asyncio.run(main())
    assert "a request failed in the gateway" not in caplog.text


@pytest.mark.parametrize(("is_slow", "status", "counted"), [(True, b"408", "cancelled"), (False, b"504", "timeout")])
def test_a_deadline_that_passes_during_an_upload_says_for_whom_it_was_waited(is_slow: bool, status: bytes, counted: str) -> None:
    """RFC 9110: 408 is about a request that did not come, 504 about an upstream that did not answer; so does Envoy."""

    async def main() -> None:
        async def take_nothing(head: bytes, writer: asyncio.StreamWriter) -> None:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.Event().wait()

        async with upstream(take_nothing) as url, served(configured({"endpoints": [url], "deadline": 0.3})) as (gateway, front):
            size = 1 << 26
            client = await front.client(b"POST /x HTTP/1.1\r\nHost: gw\r\nContent-Length: %d\r\n\r\n" % size)
            client.send(bytes(100_000 if is_slow else size))
            assert b"HTTP/1.1 " + status == (await client.all())[:12]
            (endpoint,) = gateway.services["up"].endpoints.states
            counts = gateway.registry["up"].snapshot().counts
            assert (0, 1, 0) == (endpoint.failures, counts[counted], counts["failure"])

    asyncio.run(main())
