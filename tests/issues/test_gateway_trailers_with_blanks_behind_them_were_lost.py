"""A trailer of a service over HTTP/1.1 with blanks behind its value never reached a client of HTTP/2."""

from __future__ import annotations

import asyncio

from h2.events import TrailersReceived

from tests.gateway.front.test_http2 import HEAD, raw
from tests.issues.gateway_parts import asked, configured, served, upstream


async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1 \t \r\nX-Empty: \r\n\r\n")


async def test_blanks_behind_the_value_of_a_trailer_are_no_part_of_it() -> None:
    async with upstream(answer) as url, served(configured({"endpoints": [url]})) as (_, front):
        client = await raw(front)
        number = client.ask([*HEAD, (b"te", b"trailers")])
        assert (200, b"ok") == await client.answer(number)
        assert [(b"x-sum", b"1"), (b"x-empty", b"")] == client.of(TrailersReceived, number)[0].headers
        assert (await front.ask(asked("/x", "TE: trailers"))).endswith(b"\r\n0\r\nx-sum: 1\r\nx-empty: \r\n\r\n")
