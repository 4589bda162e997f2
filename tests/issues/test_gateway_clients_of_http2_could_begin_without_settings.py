"""A connection of HTTP/2 was served that had not begun with SETTINGS (RFC 9113, 3.4)."""

from __future__ import annotations

import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import Frame, HeadersFrame, PingFrame, SettingsFrame, WindowUpdateFrame

from resilience.gateway.front.http2 import PREFACE
from tests.gateway.front.serving import serving
from tests.gateway.front.test_http2 import HEAD, heads, raw


def of(frame: Frame) -> bytes:
    return frame.serialize()


@pytest.mark.parametrize("first", [
    of(PingFrame(0, b"12345678")), of(WindowUpdateFrame(0, window_increment=9)),
    of(HeadersFrame(1, b"\x82\x86\x84\x41\x02gw", flags=["END_HEADERS", "END_STREAM"]))])
async def test_whatever_else_comes_first_ends_the_connection(first: bytes) -> None:
    async with serving(heads) as front:
        client = await raw(front)
        client.client = await front.client(PREFACE + first)
        assert ErrorCodes.PROTOCOL_ERROR == await client.goaway()


async def test_settings_may_be_empty_and_come_late() -> None:
    async with serving(heads) as front:
        client = await raw(front)
        other = await front.client(PREFACE)
        await other.until(b"\0\0")  # its own SETTINGS
        other.send(of(SettingsFrame(0)))
        assert 200 == (await client.answer(client.ask(HEAD)))[0]
        other.send(of(PingFrame(0, b"12345678")))
        await other.until(b"12345678")
