"""A listener: sockets that take connections in for a front.

Plain connections are accepted by the event loop itself, some at a time. Those that begin with something else, a PROXY
header or a handshake of TLS, are accepted here: each has a task until its first request could come, within
header_timeout, and what it counts for is given back if it does not get so far.

At the end, whoever waits to be accepted is taken in, too. For its client such a connection is established, and has
perhaps had a request sent over it, which a reset would lose; but it was not ready when the loop looked last.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import socket
import ssl
from math import inf
from typing import Final

from ..config.addresses import address
from ..open_files import share_open_files
from .front import Front
from .http1 import Http1Connection
from .proxy_protocol import MAX_BYTES, Proxied, ProxyProtocolError, header_length, proxied
from .tls import TlsContexts

BACKLOG: Final = 1024
#: Connections that a socket takes in for each turn of the event loop. With one, as libuv does it, new clients wait long
#: while turns are; with more, a burst of them, each of which costs more than a request, holds up who is there.
ACCEPTED_AT_ONCE: Final = 2
#: How long nothing is accepted after the process ran out of file descriptors.
_REST_S: Final = 0.1
#: That it has is not said again before so many seconds have passed.
_SAY_EVERY_S: Final = 10.0
#: How long those that were accepted before a drain have to get to where a request could come.
_ARRIVAL_S: Final = 0.5
#: So many turns of the event loop read whatever the kernel has of a request.
_TURNS: Final = 3
_BAD_CERTIFICATE: Final = "client_certificate"
#: Why a connection came to nothing, by the first of these kinds that fits.
_REASONS: Final = ((ssl.SSLCertVerificationError, _BAD_CERTIFICATE), (TimeoutError, "timeout"),
                   (ProxyProtocolError, "proxy_protocol"), (Exception, "other"))
#: Longest end of a connection with TLS, as the event loop has to be told: each connection knows a sooner one itself.
_SHUTDOWN_S: Final = 86_400.0
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_logger = logging.getLogger("resilience.gateway")


def bound(bind: str, *, shared: bool = False, listens: bool = True) -> list[socket.socket]:
    """Sockets that listen on *bind*, host:port: one for each address of the host.

    Args:
        bind: host:port.
        shared: Whether other processes listen there too, each with sockets of its own (SO_REUSEPORT).
        listens: False: they are only bound.

    Raises:
        OSError: It is taken, or no address of this machine.
    """
    host, port = address(bind)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, where in dict.fromkeys(found):
            each = socket.socket(family, kind, protocol)
            sockets.append(each)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
            if shared:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(len(found) > 1))
            each.bind(where)
            if listens:
                each.listen(BACKLOG)
            each.setblocking(False)
    except OSError:
        for each in sockets:
            each.close()
        raise
    return sockets


class Listener:
    """Sockets that take connections in for a front."""

    def __init__(self, front: Front) -> None:
        """Nothing listens yet.

        Args:
            front: Has the connections, and says by its settings what comes before a request.

        Raises:
            ConfigError: The files of TLS are not in order.
        """
        settings = front.settings
        self.front = front
        self.tls = None if settings.tls is None else TlsContexts(settings.tls, http2=settings.http2)
        self._has_proxies = settings.proxy_protocol
        self._listening: list[socket.socket] = []
        self._sockets: list[socket.socket] = []  # those of them that no server closes
        self._servers: list[asyncio.Server] = []
        self._arriving: set[asyncio.Task[None]] = set()
        self._said_at = self._told_at = -inf
        self._has_successor = False  # which takes in those that wait to be accepted
        self._left: list[tuple[socket.socket, tuple[str, int]]] = []  # those that waited when it stopped

    async def listen(self, sockets: list[socket.socket]) -> None:
        """Take connections in from *sockets* that listen, which belong to this listener from now on."""
        front, self._listening = self.front, sockets
        share_open_files(front, listens=True)
        if self._is_plain:
            handles = [each if turn == 0 else each.dup() for each in sockets for turn in range(ACCEPTED_AT_ONCE)]
            connection = functools.partial(Http1Connection, front)
            for each in handles:  # of which uvloop accepts one connection at each a turn
                server = await front.loop.create_server(connection, sock=each, backlog=BACKLOG)
                self._servers.append(server)
        else:
            self._sockets = sockets
            for each in sockets:
                self._watch(each)

    def same_sockets(self) -> list[socket.socket]:
        """The sockets once more, for another listener: with them goes who waits there to be accepted."""
        self._has_successor = True
        return [each.dup() for each in self._listening]

    def stop(self) -> None:
        """Take no more connections in than those that wait for it now."""
        share_open_files(self.front, listens=False)
        listening, self._listening = self._listening, []
        waiting = [] if self._has_successor else [each.dup() for each in listening]
        for server in self._servers:
            server.close()
        for each in self._sockets:
            self.front.loop.remove_reader(each)
            each.close()
        self._sockets = []
        for each in waiting:
            with each:
                self._left += _accepted(each)

    async def drain(self, time_s: float) -> None:
        """Take no more connections in, and let requests under way end for *time_s* seconds.

        Requests that the kernel has already are under way, too. A connection whose handshake or PROXY header takes
        longer than half a second is cut.
        """
        self.stop()
        self.front.is_leaving = True
        left, self._left = self._left, []
        for accepted, peer in left:
            self._take_in(accepted, peer)
        if self._arriving:
            await asyncio.wait(self._arriving, timeout=min(time_s, _ARRIVAL_S))
            for task in self._arriving:
                task.cancel()
            await asyncio.gather(*self._arriving, return_exceptions=True)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        await self.front.drain(time_s)

    @property
    def _is_plain(self) -> bool:
        """Whether nothing comes before the first request."""
        return self.tls is None and not self._has_proxies

    def _watch(self, listening: socket.socket) -> None:
        """Accept whoever comes; by no task, which could be cancelled with a connection in its hands."""
        if listening in self._sockets:
            self.front.loop.add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                accepted, peer = listening.accept()
            except OSError as error:  # BlockingIOError: there are no more
                if error.errno in _EXHAUSTED:
                    self._say_exhausted(error)
                    self.front.loop.remove_reader(listening)
                    self.front.loop.call_later(_REST_S, self._watch, listening)
                return
            accepted.setblocking(False)
            self._take_in(accepted, peer)

    def _say_exhausted(self, error: OSError) -> None:
        now = self.front.loop.time()
        if now - self._said_at >= _SAY_EVERY_S:
            self._said_at = now
            _logger.error("no connection can be accepted: %s; those that wait are accepted when there is room",
                          error.strerror)

    def _take_in(self, accepted: socket.socket, peer: tuple[str, int]) -> None:
        """Make a connection of an *accepted* socket, unless there are too many."""
        self.front.refresh()
        if len(self._arriving) + self.front.connections >= self.front.most_connections:
            accepted.close()
            return
        task = self.front.loop.create_task(self._arrive(accepted, peer[:2]))
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)

    async def _arrive(self, accepted: socket.socket, peer: tuple[str, int]) -> None:
        """Read what comes before the first request, and make a connection of it."""
        front, loop = self.front, self.front.loop
        connection, arrived = None, False
        try:
            async with asyncio.timeout(front.settings.header_timeout):
                told = await _told(loop, accepted) if self._has_proxies and front.clients.is_trusted(peer[0]) else None
                connection = Http1Connection(front, told)
                if not connection.peer.enter(told.client[0] if told else peer[0], front.clients):
                    return
                context = None if self.tls is None else self.tls.current(loop.time())
                await loop.connect_accepted_socket(
                    lambda: connection, accepted, ssl=context,
                    ssl_shutdown_timeout=None if context is None else _SHUTDOWN_S)
                arrived = True
        except (OSError, ProxyProtocolError) as error:  # TimeoutError and SSLError are such
            self._came_to_nothing(error, peer[0])
        finally:
            if not arrived and connection is not None and connection.is_made:
                connection.connection_lost(None)  # made, and cancelled in the same turn; uvloop does not tell it
            elif not arrived:
                accepted.close()
                if connection is not None:
                    connection.peer.leave()

    def _came_to_nothing(self, error: Exception, client: str) -> None:
        """Count a connection that has ended before its first request; say now and then whose certificate was bad."""
        reason = next(reason for kind, reason in _REASONS if isinstance(error, kind))
        counts, now = self.front.failed_handshakes, self.front.loop.time()
        counts[reason] = counts.get(reason, 0) + 1
        if reason == _BAD_CERTIFICATE and now - self._told_at >= _SAY_EVERY_S:
            self._told_at = now
            _logger.warning("the certificate of a client, %s, was rejected: %s; %d so far", client,
                            getattr(error, "verify_message", "") or error, counts[reason])
        else:
            _logger.debug("a connection of %s came to nothing: %s", client, error)


def _accepted(listening: socket.socket) -> list[tuple[socket.socket, tuple[str, int]]]:
    """Accept all connections that wait at a socket that does not block, with their peers."""
    found = list[tuple[socket.socket, tuple[str, int]]]()
    with contextlib.suppress(OSError):  # BlockingIOError: there are no more
        while len(found) < BACKLOG:
            accepted, peer = listening.accept()
            accepted.setblocking(False)
            found.append((accepted, peer))
    return found


async def _told(loop: asyncio.AbstractEventLoop, accepted: socket.socket) -> Proxied | None:
    """Read a PROXY header off a socket, and not a byte more.

    Raises:
        ProxyProtocolError: There is none.
    """
    header = b""
    while True:
        await _readable(loop, accepted)
        seen = accepted.recv(MAX_BYTES, socket.MSG_PEEK)
        if not seen:
            raise ProxyProtocolError("the connection ended before it")
        length = header_length(header + seen)
        missing = len(seen) if length is None else min(len(seen), length - len(header))
        header += accepted.recv(missing)
        if length is not None and len(header) == length:
            return proxied(header)


def _set(readable: asyncio.Future[None]) -> None:
    if not readable.done():
        readable.set_result(None)


async def _readable(loop: asyncio.AbstractEventLoop, accepted: socket.socket) -> None:
    readable = loop.create_future()
    loop.add_reader(accepted, _set, readable)
    try:
        await readable
    finally:
        loop.remove_reader(accepted)
