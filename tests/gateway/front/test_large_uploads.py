"""Large bodies with a length, through every event loop and TLS: as they were sent, whoever keeps their pieces."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable

import pytest
import uvloop

from resilience.gateway.front.asgi_bridge import AsgiBridge
from resilience.gateway.messages.exchange import Piece
from resilience.gateway.messages.inbound import Inbound

from .serving import serving
from .test_listener import LOCALHOST, tls, trusting

LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
NewLoop = Callable[[], asyncio.AbstractEventLoop]
POST = b"POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: %d\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n"


@LOOPS
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_pieces_of_many_large_bodies_at_once_stay_as_they_were_sent(new_loop: NewLoop, secure: bool) -> None:
    source, found = random.Random(1), list[bytes]()
    bodies = [source.randbytes(3_000_000 + at) for at in range(6)]

    async def keep(inbound: Inbound) -> None:
        pieces, more = list[Piece](), True
        while more:
            piece, more = await inbound.receive()
            pieces.append(piece)
        inbound.body_is_over()
        if inbound.head.method == "POST":
            found.append(b"".join(pieces))
        await inbound.respond(200, [], b"kept")

    async def run() -> None:
        context: ssl.SSLContext | None = trusting(LOCALHOST) if secure else None
        async with serving(keep, tls=tls() if secure else None) as front:
            asking = [front.ask(POST % len(body) + body + POST % 5 + b"after" + LAST, ssl=context) for body in bodies]
            assert [3] * 6 == [reply.count(b" 200 ") for reply in await asyncio.gather(*asking)]

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(run())
    assert sorted([*bodies, *[b"after"] * 6]) == sorted(found)


@LOOPS
def test_an_application_gets_bytes(new_loop: NewLoop) -> None:
    kinds, size = set[type](), 0

    async def app(scope: object, receive: Callable[[], object], send: Callable[[object], object]) -> None:
        nonlocal size
        more = True
        while more:
            message = await receive()  # type: ignore[misc]
            kinds.add(type(message["body"]))
            size, more = size + len(message["body"]), message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[misc]
        await send({"type": "http.response.body", "body": b""})  # type: ignore[misc]

    async def run() -> None:
        async with serving(AsgiBridge(app).serve) as front:
            client = await front.client(POST % 4_000_000 + bytes(4_000_000))
            await client.until(b"\r\n\r\n")

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(run())
    assert ({bytes}, 4_000_000) == (kinds, size)
