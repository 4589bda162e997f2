"""An upstream's 103 was passed on as it came: with Connection and what that names, a length, and a transfer coding.

A client that takes ``connection: close`` of an interim response for the connection's end loses its answer.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from h2.events import InformationalResponseReceived

from tests.gateway.front.test_http2 import raw
from tests.gateway.http2.peer import Connection, peer
from tests.issues.gateway_parts import OK, Script, asked, configured, served, upstream

LINK = (b"link", b"</a.css>")
BOTH = [LINK, (b"content-length", b"7"), (b"te", b"trailers"), (b"proxy-authenticate", b"Basic"),
        (b"proxy-authentication-info", b"x"), (b"set-cookie", b"a=1"), (b"x-plain", b"1")]
OF_CONNECTION = [(b"Connection", b"keep-alive, X-Hop"), (b"X-Hop", b"1"), (b"Keep-Alive", b"timeout=1"),
                 (b"Upgrade", b"h2c"), (b"Proxy-Connection", b"keep-alive")]
CHUNKED = [(b"Transfer-Encoding", b"chunked"), *(each for each in BOTH if each[0] != b"content-length")]  # not both
PASS = [LINK, (b"set-cookie", b"a=1"), (b"x-plain", b"1")]


def early(headers: list[tuple[bytes, bytes]]) -> Script:
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        lines = b"".join(b"%b: %b\r\n" % each for each in [*headers, *OF_CONNECTION])
        writer.write(b"HTTP/1.1 103 Early Hints\r\n" + lines + b"\r\n" + OK)

    return answer


def early_over_http2(connection: Connection, number: int) -> None:
    connection.head(number, 103, BOTH)
    connection.answer(number)


async def of_http1(url: str, *, http2: bool) -> list[tuple[bytes, bytes]]:
    """The headers of the interim response to a client of HTTP/1.1."""
    async with served(configured({"endpoints": [url], "http2": http2})) as (_, front):
        interim, _, answer = (await front.ask(asked())).partition(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        status, *lines = interim.split(b"\r\n")
        assert status == b"HTTP/1.1 103 Early Hints"
        return [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]


async def of_http2(url: str, *, http2: bool) -> list[tuple[bytes, bytes]]:
    """The headers of the interim response to a client of HTTP/2."""
    async with served(configured({"endpoints": [url], "http2": http2})) as (_, front):
        client = await raw(front)
        assert (200, b"ok") == await client.answer(client.ask())
        return [(bytes(name), bytes(value)) for name, value in client.of(InformationalResponseReceived)[0].headers[1:]]


@pytest.mark.parametrize("client", [of_http1, of_http2])
async def test_only_end_to_end_headers_of_an_interim_response_pass(client: Any) -> None:
    for headers in (BOTH, CHUNKED):
        async with upstream(early(headers)) as url:
            assert PASS == await client(url, http2=False)
    async with peer(early_over_http2) as there:
        assert PASS == await client(there.url, http2=True)
