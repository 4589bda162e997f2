"""A client that sent a request and then something that is none, and half-closed, was not told that it was refused.

It got the answer to the first request, and then the end, as if the second had never come. Whatever is refused is
answered, after all that came before it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from resilience.gateway.messages.inbound import Inbound
from tests.gateway.front.serving import eventually, serving


async def test_it_is_told_after_the_answer_to_what_came_before() -> None:
    go_on = asyncio.Event()

    async def slow(inbound: Inbound) -> None:
        await go_on.wait()
        await inbound.respond(200, [], b"ok")

    async with serving(slow) as front:
        client = await front.client(b"GET / HTTP/1.1\r\nHost: gw\r\n\r\nGET / HTTP/1.1\n\n")
        client.half_close()
        await eventually(lambda: front.front.connections == 1)
        connection: Any = next(iter(front.front._connections))
        await eventually(lambda: connection._eof, "the end of what the client sends")
        go_on.set()
        said = await client.all()
        assert [200, 400] == [int(each[:3]) for each in said.split(b"HTTP/1.1 ")[1:] if not each.startswith(b"100")]
