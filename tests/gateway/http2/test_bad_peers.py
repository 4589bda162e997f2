"""Upstreams that keep no rules of HTTP/2: what they do is bounded, fails what it concerns, and nothing stays behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, StreamReset
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    ExtensionFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from resilience.gateway.http2.allowance import CHEAP_FRAMES
from resilience.gateway.messages.exchange import Endpoint, UpstreamError, UpstreamUnreachableError
from resilience.gateway.upstream.http2_connection import Http2Connection
from resilience.gateway.upstream.http2_frames import FrameError, FrameReader, GoAway
from resilience.gateway.upstream.http2_messages import MAX_HEAD_BYTES
from tests.gateway.front.serving import eventually
from tests.seeds import over_seeds

from .peer import Connection, a_client, a_request, asked, begun, peer, whole

FLOOD = CHEAP_FRAMES[1] + 500


def flooded(frame: Frame) -> Callable[[Connection, int], None]:
    return lambda connection, number: connection.send(frame.serialize() * FLOOD)


@pytest.mark.parametrize("frame", [
    PingFrame(0, b"12345678"), SettingsFrame(0), SettingsFrame(0, {4: 70_000}), DataFrame(1, b""), PriorityFrame(3),
    RstStreamFrame(1, 8), WindowUpdateFrame(1, 1), WindowUpdateFrame(0, 1), ExtensionFrame(0x77, 0)],
    ids=lambda frame: type(frame).__name__)
async def test_a_flood_of_frames_that_cost_nothing_ends_the_connection(frame: Frame) -> None:
    def flood(connection: Connection, number: int) -> None:
        if isinstance(frame, DataFrame):
            connection.head(number)
        connection.send(frame.serialize() * FLOOD)

    async with peer(flood) as there, a_client() as client:
        exchange = await begun(client, there)
        with pytest.raises(UpstreamError):
            await whole(exchange)
        connection = there.connections[0]
        await eventually(lambda: connection.closed)
        told = connection.of(ConnectionTerminated)
        assert not told or ErrorCodes.ENHANCE_YOUR_CALM == told[0].error_code


async def test_a_flood_of_interim_responses_ends_the_connection() -> None:
    def flood(connection: Connection, number: int) -> None:
        for _ in range(FLOOD):
            connection.head(number, 103)

    async with peer(flood) as there, a_client() as client:
        with pytest.raises(UpstreamError, match="too many frames"):
            await asked(client, there)


async def test_continuations_and_header_lists_without_end_end_the_connection() -> None:
    def huge(connection: Connection, number: int) -> None:
        connection.head(number, headers=[(b"x%d" % each, b"y" * 1000) for each in range(3 * MAX_HEAD_BYTES // 1000)])

    def endless(connection: Connection, number: int) -> None:
        connection.send(HeadersFrame(number, b"").serialize() + ContinuationFrame(number, b"").serialize() * 100)

    for script in (huge, endless):
        async with peer(script) as there, a_client() as client:
            with pytest.raises(UpstreamError):
                await asked(client, there)


@pytest.mark.parametrize("fields", [
    [(b":status", b"200"), (b"connection", b"close")], [(b":status", b"200"), (b"X-Upper", b"1")],
    [(b":status", b"200"), (b"x", b"a\r\nb: c")], [(b":status", b"200"), (b"x", b"a\0")], [(b"x", b"y")],
    [(b":status", b"20")], [(b":status", b"600")], [(b":status", b"abc")], [(b":status", b"200"), (b":status", b"200")],
    [(b"x", b"y"), (b":status", b"200")], [(b":status", b"200"), (b":path", b"/")], [(b":status", b"200"), (b"a b", b"c")],
    [(b":status", b"200"), *((b"x", b"y" * 100) for _ in range(MAX_HEAD_BYTES // 100 + 1))],
    [(b":status", b"200"), *((b"x", b"") for _ in range(1001))]])
async def test_a_malformed_answer_fails_alone(fields: list[tuple[bytes, bytes]]) -> None:
    async with peer() as there, a_client() as client:
        bad, good = await begun(client, there), await begun(client, there)
        connection = await there.connection()
        await connection.request(2)
        connection.h2.send_headers(1, fields, end_stream=False)
        connection.flush()
        with pytest.raises(UpstreamError, match="malformed"):
            await whole(bad)
        assert ErrorCodes.PROTOCOL_ERROR == (await connection.heard(StreamReset, 1)).error_code
        connection.answer(3)
        assert (200, b"ok") == await whole(good)


async def test_malformed_trailers_and_too_many_fail_alone() -> None:
    for trailers in ([(b"a b", b"c")], [(b":status", b"200")], [(b"x", b"")] * 101, [(b"x", b"y" * 1000)] * 66):
        async with peer() as there, a_client() as client:
            bad, good = await begun(client, there), await begun(client, there)
            connection = await there.connection()
            await connection.request(2)
            connection.head(1)
            connection.h2.send_headers(1, trailers, end_stream=True)
            connection.flush()
            with pytest.raises(UpstreamError):
                await whole(bad)
            connection.answer(3)
            assert (200, b"ok") == await whole(good)


@pytest.mark.parametrize("data", [
    b"\xff\xff\xff\x00\x00\x00\x00\x00\x01", b"\x00\x40\x01\x06\x00\x00\x00\x00\x00", b"\x00\x00\x01\x00\x00\x00\x00\x00\x00x",
    DataFrame(2, b"x").serialize(), DataFrame(9, b"x").serialize(), WindowUpdateFrame(0, 2**31 - 1).serialize() * 2,
    PushPromiseFrame(1, 2, b"\x88").serialize(), GoAwayFrame(0).serialize()[:9].replace(b"\x08", b"\x04", 1) + bytes(4),
    HeadersFrame(1, b"\xff\xff\xff\xff").serialize(), SettingsFrame(0, {5: 1}).serialize()], ids=range(10))
async def test_what_is_not_http2_ends_the_connection_and_fails_its_exchanges(data: bytes) -> None:
    async with peer(lambda connection, _: connection.send(data)) as there, a_client() as client:
        exchanges = [await begun(client, there) for _ in range(3)]
        failures = await asyncio.gather(*map(whole, exchanges), return_exceptions=True)
        assert all(isinstance(each, UpstreamError) for each in failures), failures


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n", b"\x15\x03\x01\x00\x02\x02\x16" * 2])
async def test_an_endpoint_that_speaks_something_else_is_never_sent_a_request(said: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        heard.append(await reader.read())
        writer.close()

    heard: list[bytes] = []
    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with a_client() as client:
        with pytest.raises(UpstreamUnreachableError, match="does not speak HTTP/2"):
            await client.send(Endpoint.parse(f"http://127.0.0.1:{port}"), a_request("POST", b"abc"), connect_timeout=5.0)
    await eventually(lambda: heard)
    server.close()
    assert b"abc" not in heard[0]


async def test_a_body_of_another_length_than_was_said_is_never_taken_for_whole() -> None:
    for length in (b"1", b"3"):
        async with peer() as there, a_client() as client:
            exchange = await begun(client, there)
            connection = await there.connection()
            number = await connection.request()
            connection.head(number, headers=[(b"content-length", length)])
            connection.data(number, b"ok", end=True)
            with pytest.raises(UpstreamError):
                await whole(exchange)


async def test_what_a_peer_keeps_sending_after_a_reset_is_not_kept() -> None:
    async with peer() as there, a_client() as client:
        exchange = await begun(client, there)
        connection = await there.connection()
        number = await connection.request()
        connection.head(number)
        await exchange.head()
        held: Http2Connection = client._pools[there.endpoint].connections[0]
        connection.h2.reset_stream = lambda *_: None  # type: ignore[method-assign]
        exchange.release()
        for _ in range(20):
            connection.send(DataFrame(number, b"x" * 10_000).serialize())
        await eventually(lambda: 2**31 - 1 - 200_000 >= held._h2.inbound_flow_control_window)
        second = await begun(client, there)
        await eventually(lambda: 2 == len(connection.asked) or connection.closed)
        assert not connection.closed
        connection.head(3)
        connection.data(3, b"ok", end=True)
        assert (200, b"ok") == await whole(second)


# -- frames


@over_seeds(200)
def test_frames_are_cut_the_same_however_they_come(seed: int) -> None:
    chance = random.Random(seed)
    frames = [SettingsFrame(0)] + [chance.choice([
        lambda: DataFrame(1, b"x" * chance.choice([0, 1, 100, 16_384])), lambda: PingFrame(0, b"12345678"),
        lambda: GoAwayFrame(0, last_stream_id=chance.randrange(9), error_code=2, additional_data=b"y" * chance.randrange(20)),
        lambda: HeadersFrame(1, b"z" * chance.randrange(50)), lambda: WindowUpdateFrame(0, 1)])()
        for _ in range(chance.randrange(20))]
    wanted = b"".join(each.serialize() for each in frames if not isinstance(each, GoAwayFrame))
    goaways = [(each.last_stream_id, each.error_code, each.additional_data) for each in frames if isinstance(each, GoAwayFrame)]
    cheap = sum(not isinstance(each, (HeadersFrame, GoAwayFrame)) and not (isinstance(each, DataFrame) and bool(each.data))
                for each in frames)
    data, reader = b"".join(each.serialize() for each in frames), FrameReader()
    passed: list[bytes | GoAway] = []
    while data:
        size = chance.choice([1, 2, 9, 30, 1000, 70_000])
        passed += reader.feed(data[:size])
        data = data[size:]
    assert wanted == b"".join(each for each in passed if isinstance(each, bytes))
    assert goaways == [(each.last, each.code, each.detail) for each in passed if isinstance(each, GoAway)]
    assert cheap == reader.cheap


def test_the_first_frame_is_settings_and_none_is_too_large() -> None:
    with pytest.raises(FrameError, match="does not speak HTTP/2"):
        FrameReader().feed(PingFrame(0, b"12345678").serialize())
    with pytest.raises(FrameError, match="too large"):
        FrameReader().feed(b"\x00\x40\x01\x04\x00\x00\x00\x00\x00")
