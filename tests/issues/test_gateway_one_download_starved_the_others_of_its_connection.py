"""Of several answers on one HTTP/2 connection, the oldest was sent whenever there was room.

The others got nothing until it was over, and were reset after client_timeout, although the client took all that came. So
did uploads on a connection to a service, if they came in small pieces.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from h2.events import DataReceived, ResponseReceived, StreamReset

from resilience.gateway.front.http2_stream import LEAST_TAKEN
from resilience.gateway.messages.inbound import Inbound
from tests.gateway.front.serving import eventually, serving
from tests.gateway.front.test_http2 import Raw, raw
from tests.gateway.http2.peer import a_client, a_request, begun, peer
from tests.issues.gateway_parts import configured, served, upstream

WINDOW = 65_535
FRAME = 16_384


async def endless(inbound: Inbound) -> None:
    """Answer without an end, in pieces of the size that the query says."""
    await inbound.start(200, [])
    while True:
        await inbound.write(bytes(int(inbound.head.query)))


def get(client: Raw, size: int) -> int:
    return client.ask([(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/x?%d" % size), (b":authority", b"gw")])


def came(client: Raw, number: int) -> int:
    return len(client.body(number))


async def take(client: Raw, size: int) -> None:
    """Take so much more of whatever comes, opening the window of the connection frame by frame."""
    taken = sum(len(each.data) for each in client.of(DataReceived))
    for more in range(FRAME, size + 1, FRAME):
        client.h2.increment_flow_control_window(FRAME)
        client.flush()
        await client.hear(lambda more=more: taken + more <= sum(len(each.data) for each in client.of(DataReceived)))


@pytest.mark.parametrize("piece", [1000, 16_384, 100_000, 1_000_000])
async def test_answers_of_one_connection_take_turns(piece: int) -> None:
    async with serving(endless) as front:
        client = await raw(front, window=10**7)
        client.acknowledges = False
        numbers = [get(client, piece) for _ in range(5)]
        await take(client, 60 * FRAME)
        sizes = [came(client, number) for number in numbers]
        assert min(sizes) >= 10 * FRAME, sizes


@pytest.mark.parametrize("piece", [1000, FRAME, 100_000])
async def test_uploads_to_one_connection_take_turns_whatever_their_pieces(piece: int) -> None:
    async def feed(exchange: Any) -> None:
        while True:
            await exchange.write(bytes(piece))

    async with peer() as there, a_client() as client:
        exchanges = [await begun(client, there, a_request("POST", None)) for _ in range(4)]
        connection = await there.connection()
        connection.acknowledges = False
        await connection.request(4)
        for number in connection.asked:
            connection.h2.increment_flow_control_window(10**7, number)
        connection.flush()
        tasks = [asyncio.create_task(feed(each)) for each in exchanges]
        for sent in range(WINDOW, WINDOW + 40 * FRAME, FRAME):
            await eventually(lambda sent=sent: sent == sum(len(connection.body(each)) for each in connection.asked))
            connection.h2.increment_flow_control_window(FRAME)
            connection.flush()
        sizes = [len(connection.body(number)) for number in connection.asked]
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for each in exchanges:
            each.release()
        assert min(sizes) >= 8 * FRAME, sizes


@contextlib.asynccontextmanager
async def waiting(*, window: int = 10**7) -> AsyncIterator[tuple[Raw, list[int], asyncio.Protocol]]:
    """A client, two answers to it that wait for the window of the connection, and that connection of the front."""
    async with serving(endless) as front:
        client = await raw(front, window=window)
        client.acknowledges = False
        numbers = [get(client, 10**6), get(client, 10**6)]
        await client.hear(lambda: WINDOW == sum(map(len, map(client.body, numbers)))
                          and all(client.of(ResponseReceived, number) for number in numbers))
        connection = next(iter(front.front._connections))
        await eventually(lambda: all(each.deadline < 1e9 for each in connection._streams.values()))  # type: ignore[union-attr]
        yield client, numbers, connection  # type: ignore[misc]


def expire(connection: asyncio.Protocol) -> None:
    """client_timeout has passed."""
    connection.expire(asyncio.get_running_loop().time() + 31.0)  # type: ignore[attr-defined]
    connection.wire.flush()  # type: ignore[attr-defined]


async def test_an_answer_that_waits_for_its_turn_is_not_one_that_nobody_takes() -> None:
    async with waiting() as (client, numbers, connection):
        for _ in range(3):
            await take(client, LEAST_TAKEN)
            expire(connection)
        await take(client, LEAST_TAKEN)
        assert not client.of(StreamReset)
        assert min(came(client, number) for number in numbers) > LEAST_TAKEN


async def test_a_client_that_takes_too_little_of_all_answers_gets_none_of_them() -> None:
    async with waiting() as (client, numbers, connection):
        await take(client, LEAST_TAKEN)
        expire(connection)
        await take(client, LEAST_TAKEN - FRAME)
        expire(connection)
        for number in numbers:
            await client.reset(number)


async def test_a_client_that_has_closed_the_window_of_one_answer_has_no_more_time_for_it() -> None:
    async with waiting(window=6 * FRAME) as (client, (first, second), connection):
        client.h2.increment_flow_control_window(10**6)
        client.flush()
        await client.hear(lambda: 6 * FRAME == came(client, first) == came(client, second))
        expire(connection)  # each was sent something
        for _ in range(8):
            client.h2.increment_flow_control_window(FRAME, second)
        client.flush()
        await client.hear(lambda: 14 * FRAME == came(client, second))
        expire(connection)
        await client.reset(first)
        client.h2.increment_flow_control_window(FRAME, second)
        client.flush()
        await client.hear(lambda: 15 * FRAME == came(client, second))
        assert not client.of(StreamReset, second)


async def test_a_client_may_take_its_time_for_each_of_the_answers_of_a_service() -> None:
    body = bytes(400_000)

    async def script(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async with upstream(script) as url:
        # The front is told of another time here, so what ends first, if anything does, is the wait of whoever forwards.
        async with served(configured({"endpoints": [url]}, gateway={"client_timeout": 0.01})) as (_, front):
            client = await raw(front)
            client.acknowledges = False
            number = client.ask()
            await client.hear(lambda: WINDOW == came(client, number))
            await asyncio.sleep(0.1)
            client.h2.increment_flow_control_window(10**6)
            client.h2.increment_flow_control_window(10**6, number)
            client.flush()
            assert (200, body) == await client.answer(number)
