"""A connection that had ended stayed in memory until the garbage collector came by: its parser held it, and it its parser.

So each new connection made the collector work, which holds up all others meanwhile.
"""

from __future__ import annotations

import gc

from resilience.gateway.front.http1 import Http1Connection
from resilience.gateway.messages.inbound import Inbound
from tests.gateway.front.serving import eventually, serving


async def answer(inbound: Inbound) -> None:
    await inbound.respond(200, [], b"ok")


async def test_nothing_is_left_of_a_connection_that_has_ended() -> None:
    async with serving(answer) as front:
        gc.collect()
        gc.disable()
        try:
            for last in (b"\r\n", b"Connection: close\r\n\r\n"):
                client = await front.client(b"GET / HTTP/1.1\r\nHost: gw\r\n" + last)
                await client.until(b"\r\n\r\nok")
                client.leave()
            bad = await front.ask(b"no request\r\n\r\n")
            assert b" 400 " in bad
            await eventually(lambda: not front.front.connections, "the end of the connections")
            await eventually(lambda: not any(isinstance(each, Http1Connection) for each in gc.get_objects()),
                             "the end of what they were")
        finally:
            gc.enable()
