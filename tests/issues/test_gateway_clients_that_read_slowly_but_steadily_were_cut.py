"""A client that read 200 KB in each second, without a pause, was cut after client_timeout as one that takes nothing.

Room in the buffers of its connection was the measure. Linux keeps up to 4 MB of an answer, and says that there is room
again once about a third of them has gone.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import pytest

from resilience.gateway.front import front as fronts
from resilience.gateway.front import read_progress
from resilience.gateway.messages.inbound import ClientGoneError, Inbound
from tests.gateway.front.serving import eventually, serving
from tests.gateway.front.test_http2 import raw
from tests.gateway.front.test_listener import LOCALHOST, tls, trusting

MUCH = bytes(20_000_000)
GET = b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n"
CLOSING = b"GET / HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n"


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every client takes just enough at three looks, and nothing at the fourth; what was seen until then."""
    seen: list[int] = []

    def acknowledged(_: asyncio.Transport) -> int:
        seen.append(read_progress.LEAST_TAKEN * min(len(seen), 3))
        return seen[-1]

    monkeypatch.setattr(read_progress, "acknowledged", acknowledged)
    monkeypatch.setattr(fronts, "SWEEP_EVERY_S", 0.01)
    return seen


async def streamed(inbound: Inbound) -> None:
    await inbound.start(200, [])
    for begin in range(0, len(MUCH), 100_000):
        await inbound.write(MUCH[begin:begin + 100_000])


async def whole(inbound: Inbound) -> None:
    await inbound.respond(200, [], MUCH)


@pytest.mark.parametrize(("scheme", "serve", "request_"), [
    ("http", streamed, GET), ("http", whole, GET), ("http", whole, CLOSING), ("https", streamed, GET),
    ("https", whole, CLOSING)])
async def test_http1_waits_for_a_client_as_long_as_it_takes_64_kib_in_client_timeout(
        looks: list[int], monkeypatch: pytest.MonkeyPatch, scheme: str, serve: Callable[[Inbound], object],
        request_: bytes) -> None:
    monkeypatch.setattr(asyncio.constants, "SSL_SHUTDOWN_TIMEOUT", 0.01)  # type: ignore[attr-defined]
    is_tls = scheme == "https"
    async with serving(serve, client_timeout=0.02, **({"tls": tls()} if is_tls else {})) as front:  # type: ignore[arg-type]
        client = await front.client(request_, limit=1024, ssl=trusting(LOCALHOST) if is_tls else None)
        await client.until(b"\r\n\r\n")
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await eventually(lambda: front.front.connections == 0, "the connection cut")
        assert looks == [0, *(read_progress.LEAST_TAKEN * each for each in (1, 2, 3, 3))]


async def test_http2_does(looks: list[int]) -> None:
    ended = asyncio.Event()

    async def serve(inbound: Inbound) -> None:
        try:
            await streamed(inbound)
        except ClientGoneError:
            ended.set()

    async with serving(serve, client_timeout=0.02) as front:
        client = await raw(front, window=2**31 - 1)
        client.h2.increment_flow_control_window(2**31 - 1 - 65_535)
        client.client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.ask()
        await asyncio.wait_for(ended.wait(), 10)
        assert looks == [read_progress.LEAST_TAKEN * each for each in (0, 1, 2, 3, 3, 3)]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a client has acknowledged")
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_what_a_client_has_taken_is_known(scheme: str) -> None:
    transports: list[asyncio.Transport] = []

    async def serve(inbound: Inbound) -> None:
        transports.append(inbound._connection.transport)  # type: ignore[attr-defined]
        await inbound.respond(200, [], bytes(100_000))

    with_tls = scheme == "https"
    async with serving(serve, **({"tls": tls()} if with_tls else {})) as front:
        client = await front.client(GET, ssl=trusting(LOCALHOST) if with_tls else None)
        await client.reader.readexactly(100_000)
        await eventually(lambda: 100_000 <= read_progress.acknowledged(transports[0]) < 110_000, "the acknowledgement")
        client.leave()
        await eventually(lambda: front.front.connections == 0, "the end")
        assert read_progress.acknowledged(transports[0]) in (0, *range(100_000, 110_000))
