"""A service that ends a TLS connection before the request is written has failed, and that is all there is to say.

The connection asked itself whether protocols had been switched, which it knew only of exchanges: asyncio logged the error with its
traceback.
"""

from __future__ import annotations

import asyncio

from resilience.gateway.messages.exchange import Endpoint
from resilience.gateway.upstream.http1 import Http1Client
from resilience.gateway.upstream.http1_connection import Connection


async def test_the_end_of_a_connection_can_come_before_its_first_request() -> None:
    connection = Connection(Http1Client(), Endpoint.parse("http://127.0.0.1:1"), asyncio.get_running_loop(), 1.0)
    connection.connection_made(asyncio.Transport())
    assert not connection.eof_received()
    connection.connection_lost(None)
