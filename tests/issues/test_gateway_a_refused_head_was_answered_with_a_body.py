"""An answer to HEAD has no body, whatever it says; that of a request which was refused before it was served had one.

So had the answer over HTTP/2 that the end of the gateway cuts off.
"""

from __future__ import annotations

import asyncio

import pytest
from h2.events import DataReceived, StreamEnded
from hyperframe.frame import GoAwayFrame

from resilience.gateway.messages.inbound import Inbound
from tests.gateway.front.serving import serving
from tests.gateway.front.test_http2 import HEAD, raw

from .test_gateway_grpc_clients_were_refused_in_words_of_http import frames


async def hang(inbound: Inbound) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize(("rest", "status"), [
    ("/x HTTP/1.1\r\nHost: gw\r\n" + "X: y\r\n" * 300, 431), ("/x HTTP/1.1\r\nBad name: y\r\n", 400), (f"/{'a' * 20_000} HTTP/1.1", 414)])
async def test_what_is_refused_at_once_over_http1(method: str, rest: str, status: int) -> None:
    async with serving(hang) as front:
        head, _, body = (await front.ask(f"{method} {rest}\r\n\r\n".encode())).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"application/problem+json" in head
    assert (b"detail" in body, bool(body)) == (method == "GET",) * 2


@pytest.mark.parametrize("method", [b"HEAD", b"GET"])
async def test_what_the_end_of_the_gateway_cuts_off_over_http2(method: bytes) -> None:
    asked = asyncio.Event()

    async def hung(inbound: Inbound) -> None:
        asked.set()
        await hang(inbound)

    async with serving(hung) as front:
        client = await raw(front)
        number = client.ask([(b":method", method), *HEAD[1:]])
        await asked.wait()
        await front.listener.drain(0.0)
        client.events += client.h2.receive_data(b"".join(
            frame for frame in frames(await client.client.all()) if frame[3] != GoAwayFrame.type))
    assert 503 == client.status(number)
    assert client.of(StreamEnded, number)
    assert bool(client.of(DataReceived, number)) is (method == b"GET")
