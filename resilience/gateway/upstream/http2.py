"""An HTTP/2 client for a proxy: one connection per endpoint, and more when that has no place for another exchange.

TLS must agree on "h2" by ALPN; without TLS the endpoint is known to speak HTTP/2 (prior knowledge, RFC 9113, 3.3). A
connection counts as made when the endpoint has said its settings: what speaks something else, or nothing, was
never sent a request.

Requests that find no place wait together: each connection that is being made takes as many as the last one had places.
It is given up when the last one of them leaves.
"""

from __future__ import annotations

import asyncio
import contextvars
from math import inf
from typing import Final

from ..messages.exchange import Endpoint, Request, UpstreamClient, UpstreamError, UpstreamUnreachableError
from .connecting import connect, unreachable
from .http2_connection import Http2Connection
from .http2_exchange import Http2Exchange

#: The shortest of the common defaults of load balancers is 60 s. A GOAWAY tells of an end; a lost one, PING.
KEEP_IDLE_S: Final = 30.0


class Http2Client:
    """Connections by endpoint; see messages.exchange.UpstreamClient. For one event loop, and then for the next one."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pools: dict[Endpoint, _Pool] = {}
        self._timer: asyncio.TimerHandle | None = None

    def of_http2(self) -> UpstreamClient:
        """See UpstreamClient."""
        return self

    async def send(self, endpoint: Endpoint, request: Request, *, connect_timeout: float) -> Http2Exchange:
        """Connect, if there is no place on a connection, and send the request's head and such body as it has.

        Raises:
            UpstreamUnreachableError: No connection within *connect_timeout* seconds.
            InvalidRequestError: The request cannot be sent as it is.
        """
        exchange = Http2Exchange(self, endpoint, request, connect_timeout)
        exchange.begin(await self.connection(endpoint, connect_timeout))
        return exchange

    async def connection(self, endpoint: Endpoint, connect_timeout: float) -> Http2Connection:
        """A connection with a place for an exchange, which must begin there at once.

        A connection that was made in time, but whose places others have taken, shows that the endpoint can be reached:
        the next one has as long.

        Raises:
            UpstreamUnreachableError: None was made within *connect_timeout* seconds.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # what there was has ended with the other one
            self._loop, self._timer = loop, None
            self._pools.clear()
        pool = self._pools.get(endpoint)
        if pool is None:
            pool = self._pools[endpoint] = _Pool(self, endpoint)
        found = pool.free()
        while found is None:
            try:
                async with asyncio.timeout(connect_timeout):
                    await pool.another(connect_timeout)
            except TimeoutError as error:
                raise unreachable(error) from error
            found = pool.free()
        return found

    def let_go(self, endpoint: Endpoint) -> None:
        """Close the connections to an endpoint that gets no more requests, after those under way."""
        pool = self._pools.get(endpoint)
        if pool is not None:
            for connection in tuple(pool.connections):
                connection.retire()
            if pool.is_empty:
                del self._pools[endpoint]

    def close(self) -> None:
        """Close idle connections; exchanges under way end as they will."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for endpoint in tuple(self._pools):
            self.let_go(endpoint)

    def idle(self) -> None:
        """A connection is idle: look at it in time."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(KEEP_IDLE_S, self._close_idle)

    def _close_idle(self) -> None:
        loop, self._timer = asyncio.get_running_loop(), None
        now, due = loop.time(), inf
        for endpoint, pool in tuple(self._pools.items()):
            for connection in tuple(pool.connections):
                if connection.is_idle and not 0.0 <= now - connection.idle_since < KEEP_IDLE_S:
                    connection.retire()
                elif connection.is_idle:
                    due = min(due, connection.idle_since + KEEP_IDLE_S)
            if pool.is_empty:
                del self._pools[endpoint]
        if due < inf:
            self._timer = loop.call_at(due, self._close_idle)


class _Pool:
    """The connections to one endpoint.

    Attributes:
        connections: That take exchanges.
    """

    def __init__(self, client: Http2Client, endpoint: Endpoint) -> None:
        self._client, self._endpoint = client, endpoint
        self.connections: list[Http2Connection] = []
        self._attempts: list[_Attempt] = []
        self._places = inf  # that a connection has

    @property
    def is_empty(self) -> bool:
        """Whether there is no connection, and none is being made."""
        return not self.connections and not self._attempts

    def free(self) -> Http2Connection | None:
        """A connection with a place; None: there is none."""
        for connection in self.connections:
            if connection.places > 0:
                return connection
        return None

    async def another(self, patience_s: float) -> None:
        """Wait until another connection is there.

        Raises:
            UpstreamUnreachableError: It cannot be made.
        """
        attempt = next((each for each in self._attempts if each.waiting < self._places), None)
        if attempt is None:
            attempt = _Attempt(asyncio.get_running_loop().create_task(
                self._connect(patience_s), context=contextvars.Context()))
            self._attempts.append(attempt)
        attempt.waiting += 1
        try:
            await asyncio.wait((attempt.task,))
        finally:
            attempt.waiting -= 1
            if not attempt.waiting:
                attempt.task.cancel()
            if attempt in self._attempts and (not attempt.waiting or attempt.task.done()):
                self._attempts.remove(attempt)
        failure = attempt.task.result()
        if failure is not None:
            raise type(failure)(f"{failure}") from failure.__cause__

    async def _connect(self, patience_s: float) -> UpstreamUnreachableError | None:
        """Make a connection; why there is none."""
        loop = asyncio.get_running_loop()
        connection = Http2Connection(self, loop, patience_s)
        try:
            await connect(self._endpoint, connection, None)
            if self._endpoint.tls is not None and connection.protocol != "h2":
                raise UpstreamError("the endpoint does not choose HTTP/2 (ALPN)")
            await connection.ready
            if connection.is_retired:
                raise UpstreamError("the endpoint ends each connection as soon as it is made")
            if not connection.places:
                raise UpstreamError("the endpoint takes no requests (SETTINGS_MAX_CONCURRENT_STREAMS = 0)")
            self._places = connection.places
        except UpstreamUnreachableError as error:
            connection.abort()
            return error
        except UpstreamError as error:
            connection.abort()
            failure = UpstreamUnreachableError(f"{error}")
            failure.__cause__ = error
            return failure
        except BaseException:
            connection.abort()
            raise
        self.connections.append(connection)
        connection.idle_since = loop.time()
        self._client.idle()
        return None

    # -- connections tell

    def idle(self, connection: Http2Connection) -> None:
        """See Owner."""
        self._client.idle()

    def gone(self, connection: Http2Connection) -> None:
        """See Owner."""
        if connection in self.connections:
            self.connections.remove(connection)


class _Attempt:
    """A connection that is being made.

    Attributes:
        task: Makes it.
        waiting: Requests that do for it.
    """

    __slots__ = ("task", "waiting")

    def __init__(self, task: asyncio.Task[UpstreamUnreachableError | None]) -> None:
        self.task, self.waiting = task, 0
