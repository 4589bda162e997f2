"""The front: all connections of one listener, what they share, and the one timer that bounds their waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Final

from ...drivers.async_timeouts import AsyncTimeout
from ..client_addresses import ClientAddresses
from ..config.listeners import GatewaySettings
from ..messages.exchange import Header
from ..messages.inbound import ClientGoneError, Inbound, RefusedRequest, RequestHead
from ..messages.large_reads import ReadMemory
from ..messages.request_body import within
from ..open_files import room_for
from .http1 import Http1Connection
from .http2 import Http2Connection
from .peers import Peers
from .read_progress import ReadProgress
from .refusal import Refusal

Serve = Callable[[Inbound], Awaitable[None]]
#: Is told of a request that was refused before it could be served.
Refused = Callable[[RefusedRequest], None]

#: Deadlines are looked at so often, all at once: looking at one costs less than setting a timer for it.
SWEEP_EVERY_S: Final = 0.25


class Front:
    """The connections of one listener. For one event loop.

    Attributes:
        serve: Answers one request; see Inbound.
        settings: Of the listener.
        peers: Its clients, and what they are allowed.
        clients: Know the trusted proxies, whose connections and requests are not counted as those of one client.
        is_leaving: Whether clients are asked to send their next requests elsewhere; requests are served as ever.
        draining: Whether no more requests are wanted.
        failed_handshakes: Connections that came to nothing before their first request could come, by the reason.
        read_memory: What large bodies are read into.
        most_connections: How many may be open: as its settings say, or fewer, if the process may open no more files.
        date: The value of a Date header; up to date while there are connections, but for a quarter of a second.
    """

    def __init__(self, serve: Serve, settings: GatewaySettings, loop: asyncio.AbstractEventLoop,
                 current: Callable[[], GatewaySettings] | None = None, refused: Refused | None = None) -> None:
        """No connection is there yet.

        Args:
            serve: Answers one request.
            settings: Of the listener.
            loop: The event loop.
            current: Returns the settings that are in force, which may have changed; None: they never do.
            refused: Is told of requests that are refused here; None: nobody is.
        """
        self.serve, self.settings, self.loop = serve, settings, loop
        self._refused = refused
        self._current: Callable[[], GatewaySettings] = (lambda: settings) if current is None else current
        self.peers = Peers(
            max_connections=settings.max_connections_per_client, rate=settings.client_rate, burst=settings.client_burst)
        self.clients = ClientAddresses.behind(settings.trusted_proxies)
        self.read_memory = ReadMemory()
        self._patience = AsyncTimeout("client", settings.client_timeout)
        self.is_leaving = self.draining = False
        self.failed_handshakes: dict[str, int] = {}
        self._connections: set[Http1Connection | Http2Connection] = set()
        self._sweeping = False
        self.date, self._date_at = b"", -1
        self._empty: asyncio.Future[None] | None = None
        self.find_room()

    def succeed(self, front: Front) -> None:
        """Count the clients of another *front*, whose place this one takes, as its own: no limit is refilled."""
        self.peers, self.failed_handshakes = front.peers, front.failed_handshakes
        self._configure_peers()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    def find_room(self) -> None:
        """Find out how many connections may be open."""
        self.most_connections = room_for(self.settings.max_connections)

    def refresh(self) -> None:
        """Take over the settings that are in force; each new connection asks for this."""
        settings = self._current()
        if settings is not self.settings:
            self.settings, self.clients = settings, ClientAddresses.behind(settings.trusted_proxies)
            self._patience.timeout = settings.client_timeout
            self._configure_peers()
            self.find_room()

    async def taken(self, writable: asyncio.Future[None], transport: asyncio.Transport) -> None:
        """Wait until a client has taken enough of what it was sent for *writable* to come to an end.

        Args:
            writable: Comes to an end once there is room to write.
            transport: Of its connection.

        Raises:
            ClientGoneError: It does not take anything; see ReadProgress.
        """
        self.refresh()
        taking = ReadProgress(transport)
        while not writable.done():
            try:
                await within(self._patience, asyncio.shield(writable), ClientGoneError)
            except ClientGoneError:
                if not writable.done() and not taking.goes_on():
                    raise

    def _configure_peers(self) -> None:
        settings = self.settings
        self.peers.configure(max_connections=settings.max_connections_per_client, rate=settings.client_rate,
                             burst=settings.client_burst, now=self.loop.time())

    def enter(self, connection: Http1Connection | Http2Connection) -> bool:
        """Take a new connection in; whether it may stay. leave() must follow either way."""
        self._connections.add(connection)
        if not self._sweeping:
            self._sweep()
        return len(self._connections) <= self.most_connections

    def leave(self, connection: Http1Connection | Http2Connection) -> None:
        """A connection has ended."""
        self._connections.discard(connection)
        if not self._connections and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    def refusal_answer(self, head: RequestHead, refusal: Refusal, *, close: bool) -> tuple[int, list[Header], bytes]:
        """Status, headers and body of the answer to a request that is refused before it could be served.

        Args:
            head: What is known of it.
            refusal: Says why.
            close: Whether the answer says that it is the connection's last.
        """
        status, headers, body = refusal.answer(head, close=close)
        if self._refused is not None:
            self._refused(RefusedRequest(head, status, refusal.reason, len(body)))
        return status, headers, body

    def _sweep(self) -> None:
        now, date = self.loop.time(), int(time.time())
        if date != self._date_at:
            self.date, self._date_at = formatdate(date, usegmt=True).encode(), date
        self.find_room()
        for connection in [each for each in self._connections if each.deadline <= now]:
            connection.expire(now)
        self._sweeping = bool(self._connections)
        if self._sweeping:
            self.loop.call_later(SWEEP_EVERY_S, self._sweep)

    def send_away(self) -> None:
        """Ask clients to send their next requests elsewhere: on other connections."""
        if not self.is_leaving:
            self.is_leaving = True
            for connection in list(self._connections):
                connection.send_away()

    async def drain(self, time_s: float) -> None:
        """Let requests under way end for *time_s* seconds, and then cut what is left."""
        self.is_leaving = self.draining = True
        for connection in list(self._connections):
            connection.drain()
        await self._emptied(time_s)
        for connection in list(self._connections):
            connection.cut()
        await self._emptied(1.0)
        for connection in list(self._connections):
            connection.cut()
        await asyncio.sleep(0)

    async def _emptied(self, time_s: float) -> None:
        if self._connections:
            self._empty = self.loop.create_future()
            await asyncio.wait((self._empty,), timeout=time_s)
