"""An upstream had closed a kept connection, the event loop had not got to that yet, and a request began on it: 502.

It could be sent again only if its method is idempotent. Worse, an answer that an upstream had sent too much was taken to
be that to the next request, perhaps of another client, if the loop had not read it yet. Under load that is often so.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable

import pytest

from resilience.gateway.messages.exchange import Endpoint, Request
from resilience.gateway.server import new_loop
from resilience.gateway.upstream.http1 import Http1Client

HELD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


#: What an upstream does with a connection over which it has answered.
ENDINGS: dict[str, Callable[[socket.socket], object]] = {
    "closed": lambda connection: connection.close(),
    "reset": reset,
    "half-closed": lambda connection: connection.shutdown(socket.SHUT_WR),
    "answered once more": lambda connection: connection.send(HELD + b"evil"),
    "said to be late": lambda connection: connection.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"),
}


async def answer(listening: socket.socket, body: bytes) -> socket.socket:
    """Accept a connection, and answer the request that comes over it."""
    loop = asyncio.get_running_loop()
    connection, _ = await loop.sock_accept(listening)
    connection.setblocking(False)
    while not (await loop.sock_recv(connection, 65536)).endswith(b"\r\n\r\n"):
        pass
    await loop.sock_sendall(connection, HELD + body)
    return connection


async def sent(client: Http1Client, endpoint: Endpoint) -> bytes:
    """The body of the answer to a request that may not be repeated."""
    request = Request(method="POST", target=b"/", host=None, headers=())
    exchange = await client.send(endpoint, request, connect_timeout=10.0)
    await exchange.head()
    while not exchange.complete:
        await exchange.more()
    body = exchange.take()
    exchange.release()
    return body


@pytest.mark.parametrize("loop", [new_loop, asyncio.new_event_loop])
@pytest.mark.parametrize("ending", ENDINGS)
def test_no_request_begins_on_a_connection_over_which_something_has_come_that_the_loop_has_not_read(
        ending: str, loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def main() -> None:
        client = Http1Client()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            endpoint = Endpoint.parse(f"http://127.0.0.1:{listening.getsockname()[1]}", ssl.create_default_context)
            connection, body = await asyncio.gather(answer(listening, b"good"), sent(client, endpoint))
            assert body == b"good"
            with connection:
                ENDINGS[ending](connection)
                # On loopback, what was sent has arrived; and the loop has no turn before the next request begins.
                answering = asyncio.ensure_future(answer(listening, b"next"))
                body = await sent(client, endpoint)
                (await answering).close()
            assert body == b"next"
        client.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asyncio.wait_for(main(), 30.0))


def test_a_connection_over_which_nothing_has_come_is_used_again() -> None:
    async def main() -> None:
        client, loop = Http1Client(), asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            endpoint = Endpoint.parse(f"http://127.0.0.1:{listening.getsockname()[1]}", ssl.create_default_context)
            connection, body = await asyncio.gather(answer(listening, b"good"), sent(client, endpoint))
            with connection:
                again = asyncio.ensure_future(sent(client, endpoint))
                assert (await loop.sock_recv(connection, 65536)).startswith(b"POST")
                await loop.sock_sendall(connection, HELD + b"same")
                assert (body, await again) == (b"good", b"same")
        client.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
