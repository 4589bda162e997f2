"""What the front refused by itself, gRPC clients could not read: UNAVAILABLE for 429, UNKNOWN for 431, and no reason.

A stream that the end of the gateway cut off was INTERNAL, which clients do not repeat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from hyperframe.frame import GoAwayFrame

from resilience.gateway.messages.inbound import Inbound, RefusedRequest
from tests.gateway.front.serving import serving
from tests.gateway.front.test_http2 import POST, Raw, raw

GRPC = [*POST, (b"content-type", b"application/grpc+proto"), (b"te", b"trailers")]
EXHAUSTED, INTERNAL, UNAVAILABLE = b"8", b"13", b"14"


async def fail(inbound: Inbound) -> None:
    raise ZeroDivisionError


async def hang(inbound: Inbound) -> None:
    await asyncio.Event().wait()


async def begin(inbound: Inbound) -> None:
    """Send one piece of an answer."""
    await inbound.start(200, [(b"content-type", b"application/grpc")])
    await inbound.write(b"piece")
    await asyncio.Event().wait()


def frames(data: bytes) -> Iterator[bytes]:
    """The frames of which *data* consists: h2 takes nothing after a GOAWAY, so that must be left out."""
    while data:
        size = 9 + int.from_bytes(data[:3], "big")
        yield data[:size]
        data = data[size:]


async def told(client: Raw, number: int) -> tuple[int, bytes | None, bytes | None]:
    """The status of HTTP, and status and message of gRPC, of an answer without a body."""
    await client.hear(lambda: client.of(StreamEnded, number))
    fields = dict(client.of(ResponseReceived, number)[0].headers)
    assert b"" == client.body(number)
    return client.status(number), fields.get(b"grpc-status"), fields.get(b"grpc-message")


@pytest.mark.parametrize(("fields", "status", "message"), [
    ([*GRPC, *((b"x-%d" % each, b"y") for each in range(300))], EXHAUSTED, b"the request's headers are too large, or too many"),
    ([*GRPC, (b"host", b"other")], INTERNAL, b"the request has a Host other than its :authority"),
    (GRPC, INTERNAL, b"the gateway failed")])
async def test_a_refusal_is_a_status_of_grpc(fields: Any, status: bytes, message: bytes) -> None:
    async with serving(fail) as front:
        client = await raw(front)
        assert (200, status, message) == await told(client, client.ask(fields))


async def test_a_flood_is_told_when_to_come_back_and_is_noted_with_what_was_sent() -> None:
    noted: list[RefusedRequest] = []
    async with serving(hang, noted.append, client_rate=0.01, client_burst=1) as front:
        client = await raw(front)
        client.ask(GRPC)
        number = client.ask(GRPC)
        assert (200, EXHAUSTED, b"this address sends too many requests") == await told(client, number)
        assert (b"grpc-retry-pushback-ms", b"100000") in client.of(ResponseReceived, number)[0].headers
        assert 429 == (await client.answer(client.ask(POST)))[0]
    assert [(200, "rate_limited"), (429, "rate_limited")] == [(each.status, each.reason) for each in noted]


async def test_the_end_of_the_gateway_is_unavailable_before_an_answer_and_within_one() -> None:
    async def either(inbound: Inbound) -> None:
        await (hang if inbound.head.path == b"/hang" else begin)(inbound)

    async with serving(either) as front:
        client = await raw(front)
        waits = client.ask([GRPC[0], GRPC[1], (b":path", b"/hang"), *GRPC[3:]])
        streams, plain = client.ask(GRPC), client.ask(POST)
        await client.hear(lambda: client.of(DataReceived, streams) and client.of(DataReceived, plain))
        await front.listener.drain(0.0)
        client.events += client.h2.receive_data(b"".join(
            frame for frame in frames(await client.client.all()) if frame[3] != GoAwayFrame.type))
        assert (200, UNAVAILABLE, b"the gateway is shutting down") == await told(client, waits)
        assert client.of(StreamReset, plain)
        assert [(b"grpc-status", UNAVAILABLE), (b"grpc-message", b"the gateway is shutting down")] == list(
            client.of(TrailersReceived, streams)[0].headers)
