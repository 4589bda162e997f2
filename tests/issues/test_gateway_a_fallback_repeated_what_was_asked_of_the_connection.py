"""A request that went on to a fallback's service said twice that trailers are welcome."""

from __future__ import annotations

import asyncio

from .gateway_parts import OK, configured, served, upstream


def test_the_service_of_a_fallback_gets_each_header_once() -> None:
    async def main() -> None:
        heads = list[bytes]()

        async def script(head: bytes, writer: asyncio.StreamWriter) -> None:
            heads.append(head)
            writer.write(OK)

        async with upstream(script) as url:
            config = configured({}, services={
                "up": {"endpoints": ["http://127.0.0.1:9"], "fallback": {"service": "other"}}, "other": {"endpoints": [url]}})
            async with served(config) as (_, front):
                answer = await front.ask(b"GET /x HTTP/1.1\r\nHost: gw\r\nTE: trailers\r\nConnection: close, TE\r\n\r\n")
        assert answer.endswith(b"ok")
        assert [1, 1] == [heads[0].count(each) for each in (b"\r\nte: trailers\r\n", b"\r\nconnection: te\r\n")]

    asyncio.run(main())
