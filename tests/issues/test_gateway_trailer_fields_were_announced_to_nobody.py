"""The header ``Trailer`` was taken for one of a single connection, and dropped (RFC 9110, 6.6.2 and 7.6.1)."""

from __future__ import annotations

import asyncio

import pytest
from h2.events import ResponseReceived

from resilience.gateway.messages.headers import interim_to_client, to_client
from resilience.gateway.messages.trailers import passing
from tests.gateway.front.test_http2 import HEAD, raw
from tests.gateway.http2.peer import Connection, peer
from tests.issues.gateway_parts import asked, configured, served, upstream

CHUNKED = b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"


@pytest.mark.parametrize("takes", ["TE: trailers", "X: y"])
async def test_it_passes_both_ways_also_to_who_takes_no_trailers(takes: str) -> None:
    heads: list[bytes] = []

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        writer.write(CHUNKED)

    async with upstream(answer) as url, served(configured({"endpoints": [url]})) as (_, front):
        told = await front.ask(asked("/x", takes, "Trailer: X-Mine"))
        assert b"\r\ntrailer: X-Sum\r\n" in told
        assert (takes == "TE: trailers") is told.endswith(b"\r\n0\r\nx-sum: 1\r\n\r\n")
        assert b"\r\ntrailer: X-Mine\r\n" in heads[0]
        client = await raw(front)
        number = client.ask([*HEAD, (b"te", b"trailers"), (b"trailer", b"X-Mine")])
        assert (200, b"ok") == await client.answer(number)
        assert (b"trailer", b"X-Sum") in client.of(ResponseReceived, number)[0].headers
        assert b"\r\ntrailer: X-Mine\r\n" in heads[1]


async def test_it_passes_from_a_service_that_speaks_http2() -> None:
    def announced(connection: Connection, number: int) -> None:
        connection.head(number, 200, [(b"trailer", b"x-sum")], end=True)

    async with peer(announced) as there, \
            served(configured({"endpoints": [f"http://127.0.0.1:{there.port}"], "http2": True})) as (_, front):
        assert b"\r\ntrailer: x-sum\r\n" in await front.ask(asked())


def test_it_is_no_trailer_itself_and_a_connection_may_still_name_it() -> None:
    assert [] == passing([(b"trailer", b"x")])
    assert [(b"via", b"v")] == to_client([(b"connection", b"trailer"), (b"trailer", b"x")], b"v")
    assert [(b"trailer", b"x")] == interim_to_client([(b"trailer", b"x")])
