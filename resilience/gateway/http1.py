"""An HTTP/1.1 client for a proxy: streams both ways, and changes nothing on the way.

General clients make a proxy dishonest: they normalise targets, add headers, cannot
represent some, unpack bodies, or hold the head back until some of the body has
come (docs/decisions has the measurements). This one writes what it is given, byte
for byte, and reads with llhttp, which refuses every doubtful framing of an answer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from .connection import Connection
from .upstream import Endpoint, InvalidRequestError, Request, UpstreamUnreachableError

#: Upstreams close idle connections too; Node after 5 s, the shortest of the common defaults.
KEEP_IDLE_S: Final = 4.0
MAX_IDLE: Final = 256


class Http1Client:
    """Connections by endpoint; see upstream.UpstreamClient. For one event loop."""

    def __init__(self) -> None:
        self._idle: dict[Endpoint, deque[Connection]] = {}

    async def send(self, endpoint: Endpoint, request: Request, *, connect_timeout: float) -> Connection:
        """Connect, and send the request's head and such body as it has.

        Raises:
            UpstreamUnreachableError: No connection within *connect_timeout* seconds.
            InvalidRequestError: The request cannot be sent as it is.
        """
        idle = self._idle.get(endpoint)
        if idle:
            now = asyncio.get_running_loop().time()
            while idle:
                connection = idle.pop()
                if 0.0 <= now - connection.idle_since < KEEP_IDLE_S and not connection.closed:
                    connection.reused = True
                    return self._begun(connection, request)
                connection.abort()
        connection = Connection(self, endpoint, asyncio.get_running_loop(), connect_timeout)
        await self.connect(endpoint, connection, connect_timeout)
        return self._begun(connection, request)

    @staticmethod
    def _begun(connection: Connection, request: Request) -> Connection:
        try:
            connection.begin(request)
        except InvalidRequestError:
            connection.abort()
            raise
        return connection

    async def connect(self, endpoint: Endpoint, connection: Connection, connect_timeout: float) -> None:
        """Put *connection* on a fresh transport.

        Raises:
            UpstreamUnreachableError: There is none to be had within *connect_timeout* seconds.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(connect_timeout):  # the handshake of TLS included
                await loop.create_connection(lambda: connection, endpoint.host, endpoint.port, ssl=endpoint.tls)
        except (OSError, ValueError) as error:  # TimeoutError is the one; a name that no resolver takes, the other
            raise UpstreamUnreachableError(type(error).__name__) from error

    def keep(self, endpoint: Endpoint, connection: Connection) -> bool:
        """Take a clean connection back; False if there are enough."""
        idle = self._idle.get(endpoint)
        if idle is None:
            idle = self._idle[endpoint] = deque()
        if len(idle) >= MAX_IDLE:
            return False
        connection.idle_since = asyncio.get_running_loop().time()
        idle.append(connection)
        return True

    def forget(self, endpoint: Endpoint, connection: Connection) -> None:
        """An idle connection was closed by the other end."""
        idle = self._idle.get(endpoint)
        if idle is not None:
            try:
                idle.remove(connection)
            except ValueError:
                pass

    def drop(self, endpoint: Endpoint) -> None:
        """Close the idle connections of an *endpoint* that no service has any more."""
        for connection in self._idle.pop(endpoint, ()):
            connection.abort()

    def close(self) -> None:
        """Close idle connections; exchanges under way end as they will."""
        for idle in self._idle.values():
            while idle:
                idle.pop().abort()
