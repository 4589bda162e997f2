"""While the event loop was busy, clients with a new connection waited for hundreds of milliseconds, and others did not.

libuv accepts one connection for each turn of the loop. With a service that hangs, a turn took 20 ms, and 50 clients that
came anew within one waited for a second, until the last of them was accepted. Over TLS it was the other way round: all
that waited were accepted in one turn, up to 1,024 handshakes, and who was there already waited for these.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvloop

from resilience.gateway.front.listener import ACCEPTED_AT_ONCE
from resilience.gateway.messages.inbound import Inbound
from tests.gateway.front.serving import Serving, serving
from tests.gateway.front.test_listener import tls

CLIENTS = 64


async def answer(inbound: Inbound) -> None:
    await inbound.respond(200, [], b"here")


@asynccontextmanager
async def flooded(**settings: object) -> AsyncIterator[Serving]:
    """A front at whose socket many clients wait to be accepted."""
    async with serving(answer, **settings) as front:
        clients = [socket.create_connection(("127.0.0.1", front.port)) for _ in range(CLIENTS)]  # the loop stands still
        try:
            yield front
        finally:
            for client in clients:
                client.close()


async def accepted_by_turn(front: Serving) -> list[int]:
    """How many each turn of the loop has taken in, until all are there."""
    found, before = list[int](), 0
    while before < CLIENTS:
        await asyncio.sleep(0)
        now = front.front.peers.connections
        found.append(now - before)
        before = now
        assert len(found) < 1000
    return found


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
def test_a_turn_of_the_loop_accepts_some_of_those_that_wait(is_tls: bool) -> None:
    async def count() -> list[int]:
        async with flooded(**({"tls": tls()} if is_tls else {})) as front:
            return await accepted_by_turn(front)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        turns = runner.run(count())
    assert max(turns) <= ACCEPTED_AT_ONCE
    assert len(turns) <= CLIENTS // ACCEPTED_AT_ONCE + 4


def test_who_is_there_is_answered_while_a_flood_is_accepted() -> None:
    async def ask() -> tuple[bytes, int]:
        async with serving(answer) as front:
            known = await front.client()
            known.send(b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n")
            await known.until(b"here")
            others = [socket.create_connection(("127.0.0.1", front.port)) for _ in range(CLIENTS)]
            known.send(b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n")
            found = await known.until(b"here"), front.front.connections
            for each in others:
                each.close()
            return found

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        told, connections = runner.run(ask())
    assert told.startswith(b"HTTP/1.1 200")
    assert connections < CLIENTS


def test_a_connection_that_is_cancelled_in_the_turn_in_which_it_is_made_is_counted_no_more() -> None:
    """uvloop does not tell such a connection that it is lost, so it was counted for good."""

    async def drain(turns: int) -> None:
        async with serving(answer, proxy_protocol=True, trusted_proxies=("10.0.0.0/8",)) as front:
            clients = [socket.create_connection(("127.0.0.1", front.port)) for _ in range(CLIENTS)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for each in clients:
                each.close()
        # serving() says that nobody is counted any more

    for turns in range(8):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(drain(turns))
