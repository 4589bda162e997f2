"""A service's 426 lost its ``Upgrade``, which says what is wanted (RFC 9110, 15.5.22), as one that only answers WebSockets has it."""

from __future__ import annotations

import asyncio

import pytest
from h2.events import ResponseReceived

from resilience.gateway.messages.headers import to_client
from tests.gateway.front.test_http2 import raw
from tests.issues.gateway_parts import configured, served, upstream


async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
    status = b"426 Upgrade Required" if b"/ws" in head else b"200 OK"
    writer.write(b"HTTP/1.1 %b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nno" % status)


@pytest.mark.parametrize(("version", "connection", "told"), [
    ("1.1", "keep-alive", b"upgrade"), ("1.1", "close", b"close, upgrade"), ("1.0", "close", b"close, upgrade")])
async def test_it_does_and_says_so_of_its_connection(version: str, connection: str, told: bytes) -> None:
    async with upstream(answer) as url, served(configured({"endpoints": [url]})) as (_, front):
        client = await front.client(f"GET /ws HTTP/{version}\r\nHost: gw\r\nConnection: {connection}\r\n\r\n".encode())
        lines = (await client.until(b"\r\n\r\nno")).split(b"\r\n")
        assert (1, 1) == (lines.count(b"upgrade: websocket"), lines.count(b"connection: " + told))
        plain = await front.ask(b"GET /x HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n")
        assert b"upgrade" not in plain


async def test_http2_has_no_such_field() -> None:
    async with upstream(answer) as url, served(configured({"endpoints": [url]})) as (_, front):
        client = await raw(front)
        head = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"gw"), (b":path", b"/ws")]
        number = client.ask(head)
        assert (426, b"no") == await client.answer(number)
        assert b"upgrade" not in dict(client.of(ResponseReceived, number)[0].headers)


def test_other_answers_lose_it() -> None:
    headers = [(b"upgrade", b"h2c"), (b"connection", b"upgrade")]
    assert [[(b"upgrade", b"h2c"), (b"via", b"v")], [(b"via", b"v")]] == [to_client(headers, b"v", each) for each in (426, 200)]
