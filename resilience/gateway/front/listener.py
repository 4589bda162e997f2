"""A listener: sockets that take connections in for a front.

Plain connections are accepted by the event loop itself. Those that begin with something else, a PROXY header or a
handshake of TLS, are accepted here: each has a task until its first request could come, within head_timeout, and what
it counts for is given back if it does not get so far.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from typing import Final

from ..config.addresses import address, within
from .connection import Connection
from .front import Front
from .proxy_protocol import MAX_BYTES, Proxied, ProxyProtocolError, header_length, proxied
from .tls import TlsContexts

BACKLOG: Final = 1024
#: How long nothing is accepted after the process ran out of file descriptors.
_REST_S: Final = 0.1
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_logger = logging.getLogger("resilience.gateway")


def bound(bind: str, *, shared: bool = False) -> list[socket.socket]:
    """Sockets that listen on *bind*, host:port: one for each address of the host.

    Args:
        bind: host:port.
        shared: Whether other processes listen there too, each with sockets of its own (SO_REUSEPORT).

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
        self._accepting: list[asyncio.Task[None]] = []
        self._arriving: set[asyncio.Task[None]] = set()

    async def listen(self, sockets: list[socket.socket]) -> None:
        """Take connections in from *sockets* that listen, which belong to this listener from now on."""
        front, self._listening = self.front, sockets
        if self.tls is None and not self._has_proxies:
            for each in sockets:
                server = await front.loop.create_server(lambda: Connection(front), sock=each, backlog=BACKLOG)
                self._servers.append(server)
        else:
            self._sockets = sockets
            self._accepting = [front.loop.create_task(self._accept(each)) for each in sockets]

    def same_sockets(self) -> list[socket.socket]:
        """The sockets once more, for another listener: with them goes who waits there to be accepted."""
        return [each.dup() for each in self._listening]

    def stop(self) -> None:
        """Take no more connections in; those that have not got to a request are cut."""
        for server in self._servers:
            server.close()
        for task in (*self._accepting, *self._arriving):
            task.cancel()
        for each in self._sockets:
            each.close()

    async def drain(self, time_s: float) -> None:
        """Take no more connections in, and let requests under way end for *time_s* seconds."""
        self.stop()
        await asyncio.gather(*self._accepting, *self._arriving, return_exceptions=True)
        await self.front.drain(time_s)

    async def _accept(self, listening: socket.socket) -> None:
        loop = self.front.loop
        while True:
            try:
                accepted, peer = await loop.sock_accept(listening)
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    _logger.error("no connection can be accepted: %s", error.strerror)
                    await asyncio.sleep(_REST_S)
                continue
            self.front.refresh()
            if len(self._arriving) + self.front.connections >= self.front.settings.max_connections:
                accepted.close()
                continue
            task = loop.create_task(self._arrive(accepted, peer[:2]))
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

    async def _arrive(self, accepted: socket.socket, peer: tuple[str, int]) -> None:
        """Read what comes before the first request, and make a connection of it."""
        front, loop = self.front, self.front.loop
        connection = None
        try:
            async with asyncio.timeout(front.settings.head_timeout):
                told = await _told(loop, accepted) if self._has_proxies and within(peer[0], front.trusted) else None
                connection = Connection(front, told)
                if not connection.peer.enter(told.client[0] if told else peer[0], front.trusted):
                    accepted.close()
                    return
                context = None if self.tls is None else self.tls.current(loop.time())
                await loop.connect_accepted_socket(lambda: connection, accepted, ssl=context)
        except (OSError, ProxyProtocolError) as error:  # TimeoutError and SSLError are such
            _logger.debug("a connection of %s came to nothing: %s", peer[0], error)
        except BaseException:
            accepted.close()
            raise
        finally:
            if connection is None or not connection.is_made:
                accepted.close()
                if connection is not None:
                    connection.peer.leave()


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
