"""A gateway that ended reset what its kernel had taken from clients, and it had not looked at yet.

Such were connections that waited to be accepted, and requests on connections that were idle when it looked last.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from resilience.gateway.messages.inbound import Inbound
from tests.gateway.front.serving import PATIENCE_S, serving

GET = b"GET /x HTTP/1.1\r\nHost: gw\r\n\r\n"
PROXY = b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\n"


async def _answer(inbound: Inbound) -> None:
    inbound.body_is_over()
    await inbound.respond(200, [], b"answered")


def _waiting(port: int, first: bytes) -> list[socket.socket]:
    """Clients that the loop has not seen: nothing of it runs meanwhile."""
    found = []
    for _ in range(20):
        client = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        client.sendall(first + GET)
        found.append(client)
    return found


async def _answers(clients: list[socket.socket]) -> list[bytes]:
    async def read(client: socket.socket) -> bytes:
        client.setblocking(False)
        data, loop = b"", asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE_S):
            while piece := await loop.sock_recv(client, 65536):
                data += piece
        client.close()
        return data

    return await asyncio.gather(*map(read, clients))


@pytest.mark.parametrize(("settings", "first"), [
    ({}, b""), ({"proxy_protocol": True, "trusted_proxies": ("127.0.0.1",)}, PROXY)])
async def test_a_drain_answers_those_who_wait_to_be_accepted(settings: dict[str, Any], first: bytes) -> None:
    async with serving(_answer, **settings) as front:
        clients = _waiting(front.port, first)
        draining = asyncio.ensure_future(front.listener.drain(PATIENCE_S))
        answers = await _answers(clients)
        await draining
    assert [(True, True)] * 20 == [(b"connection: close" in each, each.endswith(b"answered")) for each in answers]


async def test_a_drain_answers_what_has_come_over_idle_connections() -> None:
    async with serving(_answer) as front:
        clients = [await front.client(GET) for _ in range(20)]
        for client in clients:
            await client.until(b"answered")
        for client in clients:
            sock: Any = client.writer.get_extra_info("socket")
            sock._sock.send(GET)  # past the loop
        draining = asyncio.ensure_future(front.listener.drain(PATIENCE_S))
        answers = [await client.all() for client in clients]
        await draining
    assert [(True, True)] * 20 == [(b"connection: close" in each, each.endswith(b"answered")) for each in answers]


async def test_a_drain_gives_a_new_connection_a_moment_for_its_first_request() -> None:
    async with serving(_answer) as front:
        late, never = await front.client(), await front.client()
        draining = asyncio.ensure_future(front.listener.drain(PATIENCE_S))
        while not front.front.draining:
            await asyncio.sleep(0)
        late.send(GET)
        answer = await late.all()
        assert (True, True) == (b"connection: close" in answer, answer.endswith(b"answered"))
        assert b"" == await never.all()
        await draining

