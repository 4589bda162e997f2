"""An upstream had answered before an upload was over, and the next request was sent to it behind the rest of that.

An upstream that has said what it thinks may never read on. The next request then waited in vain, perhaps another
client's. It was so if the last piece of the upload came in the turn of the event loop in which the answer did, or while
some of it still lay in the gateway.
"""

from __future__ import annotations

import asyncio
import socket

import pytest

from resilience.gateway.messages.exchange import Endpoint, Request
from resilience.gateway.server import new_loop
from resilience.gateway.upstream.http1 import Http1Client
from resilience.gateway.upstream.http1_connection import Connection

_EARLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def _opened(client: Http1Client, length: int | None) -> tuple[Connection, socket.socket]:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        endpoint = Endpoint.parse(f"http://127.0.0.1:{listening.getsockname()[1]}", None)
        request = Request(method="POST", target=b"/", host=None, headers=[], length=length, body=None)
        exchange, (peer, _) = await asyncio.gather(
            client.send(endpoint, request, connect_timeout=5.0), loop.sock_accept(listening))
    peer.setblocking(False)
    return exchange, peer


async def _idle(client: Http1Client, exchange: Connection) -> int:
    await exchange.head()
    while not exchange.complete:
        await exchange.more()
    exchange.take()
    exchange.release()
    return sum(map(len, client._idle.values()))


@pytest.mark.parametrize("length", [10, None])
@pytest.mark.parametrize(("is_early", "kept"), [(True, 0), (False, 1)])
def test_a_connection_is_kept_only_if_its_upload_was_over_when_the_answer_began(length: int | None, is_early: bool, kept: int) -> None:
    async def main() -> None:
        client, loop = Http1Client(), asyncio.get_running_loop()
        exchange, peer = await _opened(client, length)
        with peer:
            await exchange.write(b"12345")
            if is_early:
                await loop.sock_sendall(peer, _EARLY)
                await exchange.answering()
            await exchange.write(b"67890")
            exchange.end()
            if not is_early:
                read = b""
                while not read.endswith(b"67890" if length else b"0\r\n\r\n"):
                    read += await loop.sock_recv(peer, 65536)
                await loop.sock_sendall(peer, _EARLY)
            assert kept == await _idle(client, exchange)
            client.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


def test_a_connection_is_not_kept_while_some_of_the_upload_lies_in_the_gateway() -> None:
    async def main() -> None:
        client, loop = Http1Client(), asyncio.get_running_loop()
        size = 64 * 1024 * 1024
        exchange, peer = await _opened(client, size)
        with peer:
            assert exchange._transport is not None
            exchange._transport.set_write_buffer_limits(high=2 * size)  # nobody waits for room, as for the last 64 KiB
            await exchange.write(bytes(size))
            exchange.end()
            await loop.sock_sendall(peer, _EARLY)
            assert await _idle(client, exchange) == 0
            client.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
