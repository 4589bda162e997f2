"""A request of HTTP/2 whose last cookie field was empty was reset: joined with the others, it ended in a blank (RFC 9113, 8.2.3)."""

from __future__ import annotations

import asyncio

import pytest
from h2.errors import ErrorCodes

from tests.gateway.front.test_http2 import HEAD, raw
from tests.issues.gateway_parts import OK, configured, served, upstream


@pytest.mark.parametrize(("cookies", "told"), [
    ([b"a=1", b"b=2", b""], [b"a=1; b=2"]), ([b"", b"a=1"], [b"a=1"]), ([b"a=1", b"", b"b=2"], [b"a=1; b=2"]), ([b"", b""], [b""]),
    ([b""], [b""]), ([b"a=1; b=2", b"c"], [b"a=1; b=2; c"]), ([], [])])
async def test_fields_of_cookies_are_joined_whatever_they_hold(cookies: list[bytes], told: list[bytes]) -> None:
    heads: list[bytes] = []

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        writer.write(OK)

    async with upstream(answer) as url, served(configured({"endpoints": [url]})) as (_, front):
        client = await raw(front)
        assert (200, b"ok") == await client.answer(client.ask([*HEAD, *((b"cookie", each) for each in cookies), (b"x", b"y")]))
        assert told == [line.partition(b": ")[2] for line in heads[0].split(b"\r\n") if line.startswith(b"cookie:")]
        for wrong in (b" a", b"a ", b"a\n"):
            number = client.ask([*HEAD, (b"cookie", wrong), (b"cookie", b"b")])
            assert ErrorCodes.PROTOCOL_ERROR == await client.reset(number)
