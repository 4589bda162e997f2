"""A client of HTTP/2 that said GOAWAY, since it would ask for nothing more, lost the answers that were under way.

They end all the same (RFC 9113, 6.8): so a session of Node.js is closed. Then the connection does, too.
"""

from __future__ import annotations

import asyncio

from h2.events import StreamReset
from hyperframe.frame import GoAwayFrame, RstStreamFrame

from resilience.gateway.http2.allowance import CHEAP_FRAMES
from resilience.gateway.messages.inbound import ClientGoneError, Inbound
from tests.gateway.front.serving import eventually, serving
from tests.gateway.front.test_http2 import HEAD, POST, STREAM_WINDOW, raw

from .test_gateway_grpc_clients_were_refused_in_words_of_http import frames

BODY = b"x" * 3 * STREAM_WINDOW


class Slow:
    """Answers when it is told to, with a body for which the client must open its window again and again."""

    def __init__(self) -> None:
        self.go_on, self.asked, self.cut, self.bodies = asyncio.Event(), 0, 0, list[bytes]()

    async def __call__(self, inbound: Inbound) -> None:
        self.asked += 1
        try:
            body = b""
            more = inbound.head.method == "POST"
            while more:
                piece, more = await inbound.receive()
                body += piece
            self.bodies.append(body)
            await self.go_on.wait()
            await inbound.respond(200, [(b"content-length", b"%d" % len(BODY))], BODY)
        except (asyncio.CancelledError, ClientGoneError):
            self.cut += 1
            raise


async def test_what_is_under_way_ends_uploads_too_and_then_the_connection() -> None:
    slow = Slow()
    async with serving(slow) as front:
        client = await raw(front)
        gets, posts = client.ask(HEAD), client.ask(POST, b"begun,", ends=False)
        await eventually(lambda: slow.asked == 2)
        client.client.send(GoAwayFrame(0, last_stream_id=0).serialize())
        client.h2.send_data(posts, b"ended", end_stream=True)
        client.flush()
        await eventually(lambda: b"begun,ended" in slow.bodies)
        slow.go_on.set()
        assert [(200, BODY)] * 2 == [await client.answer(number) for number in (gets, posts)]
        assert 0 == slow.cut
        assert RstStreamFrame.type not in {frame[3] for frame in frames(await client.client.all())}
        await eventually(lambda: not front.front.connections)


async def test_an_idle_connection_is_closed_at_once_and_a_request_that_still_comes_is_served() -> None:
    slow = Slow()
    slow.go_on.set()
    async with serving(slow) as front:
        idle = await raw(front)
        assert 200 == (await idle.answer(idle.ask()))[0]
        idle.client.send(GoAwayFrame(0).serialize())
        await idle.client.all()
        await eventually(lambda: not front.front.connections)

        slow.go_on.clear()
        busy = await raw(front)
        first = busy.ask()
        await eventually(lambda: slow.asked == 2)
        busy.client.send(GoAwayFrame(0).serialize())
        second = busy.ask()
        await eventually(lambda: slow.asked == 3)
        slow.go_on.set()
        assert [200, 200] == [(await busy.answer(number))[0] for number in (first, second)]


async def test_a_client_that_has_met_an_error_gets_nothing_more() -> None:
    slow = Slow()
    async with serving(slow) as front:
        client = await raw(front)
        number = client.ask()
        await eventually(lambda: slow.asked == 1)
        client.client.send(GoAwayFrame(0, error_code=1).serialize())
        await eventually(lambda: slow.cut == 1)
        await client.client.all()
        assert [] == client.of(StreamReset, number)


async def test_a_flood_of_them_ends_the_connection() -> None:
    slow = Slow()
    async with serving(slow) as front:
        client = await raw(front)
        client.ask()
        await eventually(lambda: slow.asked == 1)
        client.client.send(GoAwayFrame(0).serialize() * 3 * int(CHEAP_FRAMES[1]))
        await eventually(lambda: slow.cut == 1)
