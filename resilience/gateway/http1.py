"""An HTTP/1.1 client for a proxy: streams both ways, and changes nothing on the way.

General clients make a proxy dishonest: they normalise targets, add headers, cannot
represent some, unpack bodies, or hold the head back until some of the body has
come (docs/decisions has the measurements). This one writes what it is given, byte
for byte, and reads with llhttp, which refuses every doubtful framing of an answer.

A name that has several addresses is tried as RFC 8305 says ("happy eyeballs"): the next address a quarter of a second
after the last, or at once when that has failed, families in turn; whichever connects first is used.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from collections import deque
from typing import Any, Final

from .connection import Connection
from .upstream import Endpoint, InvalidRequestError, LocalLimitError, Request, UpstreamUnreachableError

#: Upstreams close idle connections too; Node after 5 s, the shortest of the common defaults.
KEEP_IDLE_S: Final = 4.0
MAX_IDLE: Final = 256
NEXT_ADDRESS_S: Final = 0.25  # RFC 8305, section 5
#: What says that this machine has no more files, ports or memory.
_LOCAL: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})


class Http1Client:
    """Connections by endpoint; see upstream.UpstreamClient. For one event loop."""

    def __init__(self) -> None:
        self._idle: dict[Endpoint, deque[Connection]] = {}  # those that were idle for longest first
        self._timer: asyncio.TimerHandle | None = None

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
                if is_address(endpoint.host):
                    await loop.create_connection(lambda: connection, endpoint.host, endpoint.port, ssl=endpoint.tls,
                                                 server_hostname=_verified(endpoint))
                else:
                    await _connect_by_name(loop, endpoint, connection)
        except (OSError, ValueError) as error:  # TimeoutError is the one; a name that no resolver takes, the other
            kind = LocalLimitError if getattr(error, "errno", None) in _LOCAL else UpstreamUnreachableError
            raise kind(type(error).__name__) from error

    def keep(self, endpoint: Endpoint, connection: Connection) -> bool:
        """Take a clean connection back; False if there are enough."""
        idle = self._idle.get(endpoint)
        if idle is None:
            idle = self._idle[endpoint] = deque()
        if len(idle) >= MAX_IDLE:
            return False
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        idle.append(connection)
        if self._timer is None:
            self._timer = loop.call_later(KEEP_IDLE_S, self._close_idle, loop)
        return True

    def forget(self, endpoint: Endpoint, connection: Connection) -> None:
        """An idle connection was closed by the other end."""
        idle = self._idle.get(endpoint)
        if idle is not None:
            try:
                idle.remove(connection)
            except ValueError:
                pass

    def let_go(self, endpoint: Endpoint) -> None:
        """Close the idle connections to an endpoint; those that carry an exchange are closed in time, as others are."""
        for connection in self._idle.pop(endpoint, ()):
            connection.abort()

    def close(self) -> None:
        """Close idle connections; exchanges under way end as they will."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for idle in self._idle.values():
            while idle:
                idle.pop().abort()

    def _close_idle(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close what was idle for too long: the last one used is taken first, so nobody looks at the others."""
        now, self._timer = loop.time(), None
        for endpoint, idle in tuple(self._idle.items()):
            while idle and not 0.0 <= now - idle[0].idle_since < KEEP_IDLE_S:
                idle.popleft().abort()
            if not idle:
                del self._idle[endpoint]
        if self._idle:
            oldest = min(idle[0].idle_since for idle in self._idle.values())
            self._timer = loop.call_at(oldest + KEEP_IDLE_S, self._close_idle, loop)


def is_address(host: str) -> bool:
    """Whether *host* is an address, and not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _verified(endpoint: Endpoint) -> str | None:
    """What the certificate of an endpoint is verified for; None: it has none."""
    return (endpoint.server_name or endpoint.host) if endpoint.tls else None


async def _connect_by_name(loop: asyncio.AbstractEventLoop, endpoint: Endpoint, connection: Connection) -> None:
    from aiohappyeyeballs import start_connection

    addresses: Any = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    sock = await start_connection(addresses, happy_eyeballs_delay=NEXT_ADDRESS_S, interleave=1, loop=loop)
    try:
        await loop.create_connection(lambda: connection, sock=sock, ssl=endpoint.tls,
                                     server_hostname=_verified(endpoint))
    except BaseException:
        sock.close()
        raise
