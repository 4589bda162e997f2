"""An HTTP/1.1 client for a proxy: streams both ways, and changes nothing on the way.

General clients make a proxy dishonest: they normalise targets, add headers, cannot
represent some, unpack bodies, or hold the head back until some of the body has
come (docs/decisions has the measurements). This one writes what it is given, byte
for byte, and reads with llhttp, which refuses every doubtful framing of an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import Sequence
from typing import Final

from ..messages.exchange import Endpoint, Header, InvalidRequestError, Request, UpstreamClient
from ..messages.large_reads import ReadMemory
from .connecting import connect
from .http1_connection import Connection
from .http2 import Http2Client

#: Upstreams close idle connections too; Node after 5 s, the shortest of the common defaults.
KEEP_IDLE_S: Final = 4.0
#: Of the time for which an upstream says that it keeps an idle connection, so much is made use of.
_SHARE_OF_SAID: Final = 0.8
_SAID: Final = re.compile(rb"(?i)(?:^|[,; \t])timeout=(\d{1,6})").search
MAX_IDLE: Final = 256


class Http1Client:
    """Connections by endpoint; see messages.exchange.UpstreamClient. For one event loop, and then for the next one.

    A program's tests run an application on many loops, and each ends with whatever was idle on it.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: dict[Endpoint, deque[Connection]] = {}  # those that were idle for longest first
        self._timer: asyncio.TimerHandle | None = None
        self._http2: Http2Client | None = None
        self.read_memory = ReadMemory()

    def of_http2(self) -> UpstreamClient:
        """See UpstreamClient."""
        if self._http2 is None:
            self._http2 = Http2Client()
        return self._http2

    async def send(self, endpoint: Endpoint, request: Request, *, connect_timeout: float) -> Connection:
        """Connect, and send the request's head and such body as it has.

        Raises:
            UpstreamUnreachableError: No connection within *connect_timeout* seconds.
            InvalidRequestError: The request cannot be sent as it is.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            if self._loop is not None:
                self.close()
            self._loop = loop
        idle = self._idle.get(endpoint)
        if idle:
            now = loop.time()
            while idle:
                connection = idle.pop()
                if (0.0 <= now - connection.idle_since < connection.keep_idle_s and not connection.closed
                        and not connection.unread):
                    connection.reused = True
                    return self._begun(connection, request)
                connection.abort()
        connection = Connection(self, endpoint, loop, connect_timeout)
        await connect(endpoint, connection, connect_timeout)
        return self._begun(connection, request)

    @staticmethod
    def _begun(connection: Connection, request: Request) -> Connection:
        try:
            connection.begin(request)
        except InvalidRequestError:
            connection.abort()
            raise
        return connection

    def keep(self, endpoint: Endpoint, connection: Connection) -> bool:
        """Take a clean connection back; False if there are enough."""
        idle = self._idle.get(endpoint)
        if idle is None:
            idle = self._idle[endpoint] = deque()
        if len(idle) >= MAX_IDLE:
            return False
        loop = connection.loop
        connection.idle_since = loop.time()
        if not connection.reused:
            connection.keep_idle_s = _keep_idle_s(connection.headers)
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
        gone, self._idle = self._idle, {}
        with contextlib.suppress(RuntimeError):  # their loop has ended before, and takes nothing more
            for idle in gone.values():
                while idle:
                    idle.pop().abort()
            if self._http2 is not None:
                self._http2.close()

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


def _keep_idle_s(headers: Sequence[Header]) -> float:
    """How long a connection with such an answer may be idle before a request is sent on it, seconds.

    Servers that close idle connections soon say so (Keep-Alive: timeout=1). One that is closed at the moment when a
    request is sent may be sent again only if it is idempotent.
    """
    said = [_SAID(value) for name, value in headers if name == b"keep-alive"]
    return min([KEEP_IDLE_S, *(_SHARE_OF_SAID * int(each[1]) for each in said if each is not None)])
