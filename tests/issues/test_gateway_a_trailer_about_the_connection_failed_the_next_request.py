"""A trailer such as ``Connection: close`` failed whatever came next on the connection: 502, or 400 for a client's.

llhttp goes by it as by a header, but only when the head was read already, by which the connection was kept.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.issues.gateway_parts import OK, asked, configured, served, upstream

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n%b\r\n\r\n"
TRAILERS = [b"Connection: close", b"Connection: upgrade\r\nUpgrade: websocket", b"Transfer-Encoding: x",
            b"Transfer-Encoding: chunked", b"Keep-Alive: timeout=0", b"X-Fine: 1"]


@pytest.mark.parametrize("trailer", TRAILERS)
async def test_the_next_request_to_an_upstream_is_answered(trailer: bytes) -> None:
    async def script(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED % trailer if b"/first" in head else OK)

    async with upstream(script) as url, served(configured({"endpoints": [url]})) as (_, front):
        first = await front.ask(asked("/first"))
        assert b"HTTP/1.1 200" in first
        assert b"hello" in first
        # A POST that meets a dying connection is not sent once more.
        assert b"HTTP/1.1 200" in await front.ask(asked("/next", "Content-Length: 0", method="POST"))


@pytest.mark.parametrize("trailer", [b"Connection: close", b"Connection: keep-alive, x"])
async def test_a_client_is_told_that_its_connection_ends_with_the_answer(trailer: bytes) -> None:
    async def script(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)

    request = b"POST /x HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n%b\r\n\r\n" % trailer
    async with upstream(script) as url, served(configured({"endpoints": [url]})) as (_, front):
        answer = await front.ask(request)
        assert answer.endswith(b"\r\n\r\nok")
        assert b"\r\nconnection: close\r\n" in answer
        assert 1 == answer.count(b"HTTP/1.1 ")
