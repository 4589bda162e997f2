"""The handshake of a WebSocket was copied to a mirror as a plain GET with the handshake's other headers."""

from __future__ import annotations

import asyncio

from .gateway_parts import OK, asked, configured, served, upstream

HANDSHAKE = (b"GET /ws HTTP/1.1\r\nHost: gw\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
             b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")


async def test_a_request_that_asks_for_another_protocol_has_no_copy() -> None:
    copied, copy_came = list[bytes](), asyncio.Event()

    async def up(head: bytes, writer: asyncio.StreamWriter) -> None:
        is_handshake = head.startswith(b"GET /ws")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" if is_handshake else OK)

    async def shadow(head: bytes, writer: asyncio.StreamWriter) -> None:
        copied.append(head.partition(b"\r\n")[0])
        copy_came.set()
        writer.write(OK)

    async with upstream(up) as url, upstream(shadow) as other:
        config = configured({}, services={"up": {"endpoints": [url]}, "shadow": {"endpoints": [other]}}, routes=[
            {"path": "/*", "service": "up", "mirror": {"service": "shadow"}}])
        async with served(config) as (gateway, front):
            client = await front.client(HANDSHAKE)
            assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            client.leave()
            assert (await front.ask(asked("/plain"))).startswith(b"HTTP/1.1 200 ")
            await asyncio.wait_for(copy_came.wait(), 10.0)
            await asyncio.gather(*[task for mirror in gateway.mirrors.values() for task in mirror.copies.in_flight])
    assert [b"GET /plain HTTP/1.1"] == copied
