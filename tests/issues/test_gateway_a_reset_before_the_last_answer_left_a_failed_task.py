"""A client that had reset its connection before the gateway ended its own direction made that fail: OSError, never retrieved."""

from __future__ import annotations

import asyncio
from typing import Any

from resilience.gateway.config import GatewaySettings
from resilience.gateway.front.front import Front
from resilience.gateway.front.http1 import Http1Connection


class ResetTransport:
    """A transport of a connection that the other side has reset, which the event loop has not noticed yet."""

    def __init__(self) -> None:
        self.written = b""

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else None

    def write(self, data: bytes) -> None:
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        raise OSError(107, "Transport endpoint is not connected")

    def pause_reading(self) -> None:
        """There is nothing to pause."""

    def resume_reading(self) -> None:
        """There is nothing to resume."""

    def abort(self) -> None:
        """It is gone already."""


def test_a_refusal_to_a_client_that_has_reset_its_connection_raises_nothing() -> None:
    async def main() -> None:
        async def serve(inbound: object) -> None:
            raise AssertionError

        front = Front(serve, GatewaySettings(), asyncio.get_running_loop())
        connection, transport = Http1Connection(front), ResetTransport()
        connection.connection_made(transport)  # type: ignore[arg-type]
        connection.data_received(b"no HTTP at all\r\n\r\n")
        assert b" 400 " in transport.written
        connection.connection_lost(None)
        assert 0 == front.connections

    asyncio.run(main())
