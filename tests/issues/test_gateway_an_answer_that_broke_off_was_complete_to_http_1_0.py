"""To a client of HTTP/1.0, an answer of unknown length that broke off looked like a whole one.

Nothing but the end of the connection says where such an answer ends, and the front closed it in the same way as after a
whole answer. nginx asks its upstreams by HTTP/1.0 unless told otherwise, and passed the half of an answer on as all of
it. A reset is what says that it is not (RFC 9112, 8).
"""

from __future__ import annotations

import asyncio

import pytest

from resilience.gateway.front import http1
from resilience.gateway.messages.inbound import Inbound
from tests.gateway.front.serving import PATIENCE_S, Client, serving

LENGTH = [(b"content-length", b"100")]


async def end_of(client: Client) -> tuple[bytes, bool]:
    """What comes, and whether the connection was reset after it."""
    data = b""
    try:
        while piece := await asyncio.wait_for(client.reader.read(65_536), PATIENCE_S):
            data += piece
    except ConnectionResetError:
        return data, True
    return data, False


@pytest.mark.parametrize(("version", "headers", "is_reset"), [
    (b"1.0", [], True), (b"1.0", LENGTH, False), (b"1.1", [], False), (b"1.1", LENGTH, False)])
async def test_an_answer_that_breaks_off_is_reset_if_nothing_else_tells(
        version: bytes, headers: list[tuple[bytes, bytes]], is_reset: bool) -> None:
    seen = asyncio.Event()

    async def half(inbound: Inbound) -> None:
        await inbound.start(200, headers)
        await inbound.write(b"half")
        await seen.wait()

    async with serving(half) as front:
        client = await front.client(b"GET /x HTTP/%b\r\nHost: gw\r\n\r\n" % version)
        await client.until(b"half")
        seen.set()
        assert is_reset is (await end_of(client))[1]


async def test_an_answer_that_is_complete_is_not() -> None:
    async def whole(inbound: Inbound) -> None:
        await inbound.start(200, [])
        await inbound.end(b"whole")

    async with serving(whole) as front:
        said, is_reset = await end_of(await front.client(b"GET /x HTTP/1.0\r\nHost: gw\r\n\r\n"))
        assert (True, False) == (said.endswith(b"\r\n\r\nwhole"), is_reset)


async def test_an_answer_that_stops_and_whose_client_has_closed_its_side_is_reset_too(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "PROBE_S", 0.05)

    async def half(inbound: Inbound) -> None:
        await inbound.start(200, [])
        await inbound.write(b"half")
        await asyncio.Event().wait()

    async with serving(half) as front:
        client = await front.client(b"GET /x HTTP/1.0\r\nHost: gw\r\n\r\n")
        await client.until(b"half")
        client.half_close()
        assert (b"", True) == await end_of(client)
