"""A listener: a socket that takes connections in for a front."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from ..config.addresses import address
from .connection import Connection
from .front import Front

BACKLOG: Final = 1024


class Listener:
    """A socket that takes connections in for a front."""

    def __init__(self, front: Front, server: asyncio.Server) -> None:
        self.front, self._server = front, server

    @classmethod
    async def open(cls, front: Front, bind: str, *, shared: bool = False) -> Listener:
        """Begin to listen.

        Args:
            front: Has the connections.
            bind: host:port.
            shared: Whether other processes listen there too, each with a socket of its own (SO_REUSEPORT).

        Raises:
            OSError: The address is taken, or not of this machine.
        """
        host, port = address(bind)
        server = await front.loop.create_server(
            lambda: Connection(front), host, port, backlog=BACKLOG, reuse_port=shared or None)
        for each in server.sockets:
            if each.family != socket.AF_UNIX:
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
        return cls(front, server)

    def stop(self) -> None:
        """Take no more connections in."""
        self._server.close()
