"""An upstream reset the connection while a body was sent to it, and the client got 400 in the place of 502.

It was so if the last piece of the body came after the reset: what is written to a connection that is gone was not
counted, so the body seemed to be shorter than its Content-Length. No circuit and no balancer heard of the failure.
"""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from resilience.gateway.messages.exchange import Endpoint, InvalidRequestError, Request, UpstreamError
from resilience.gateway.server import new_loop
from resilience.gateway.upstream.http1 import Http1Client


@pytest.mark.parametrize("length", [10, None])
def test_the_end_of_a_body_says_nothing_of_what_could_not_be_sent(length: int | None) -> None:
    async def main() -> None:
        client, loop = Http1Client(), asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            endpoint = Endpoint.parse(f"http://127.0.0.1:{listening.getsockname()[1]}", None)
            request = Request(method="PUT", target=b"/", host=None, headers=[], length=length, body=None)
            exchange, (peer, _) = await asyncio.gather(
                client.send(endpoint, request, connect_timeout=5.0), loop.sock_accept(listening))
        await exchange.write(b"12345")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        await exchange.answering()
        await exchange.write(b"67890")
        exchange.end()
        with pytest.raises(UpstreamError):
            await exchange.head()
        if length is not None:
            with pytest.raises(InvalidRequestError):
                await exchange.write(b"1")
        client.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
