"""ReservedPorts: what keeps other gateways off the ports of this one.

Workers share a port (SO_REUSEPORT), and would share it with the workers of another gateway of the same user as well:
each of the two would get a part of the connections. So the supervisor has a socket at each port as long as workers may
listen there. It does not listen, and gets no connection. It is bound as one that shares with nobody, and only then
becomes one that shares: workers can still bind, and another supervisor can not.

Linux lets two sockets with SO_REUSEADDR be bound to one port until one of them listens, and before its version 6.9 it
remembers of the port that this was so, whatever has become of the option. So the socket listens for an instant.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable
from typing import Final

from ..config.addresses import is_shared
from ..front.listener import bound
from ..listeners import taken

#: Whether it takes listen() to have a port alone.
_LISTENS: Final = sys.platform == "linux"


class ReservedPorts:
    """The ports of one supervisor. One thread at a time."""

    def __init__(self) -> None:
        self._sockets: dict[str, list[socket.socket]] = {}

    def reserve(self, binds: Iterable[str]) -> None:
        """Have these as well.

        Raises:
            ServeError: Somebody else has one, or it is no address of this machine.
        """
        for bind in set(binds) - self._sockets.keys():
            is_ours = any(is_shared(bind, each) for each in self._sockets)
            listens = _LISTENS and not is_ours
            try:
                found = bound(bind, shared=is_ours, listens=listens)
            except OSError as error:
                raise taken(bind, error) from None
            for each in found:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
                if listens:
                    each.shutdown(socket.SHUT_RDWR)  # it is still bound
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._sockets[bind] = found

    def keep(self, binds: Iterable[str]) -> None:
        """Give back all but these."""
        for bind in self._sockets.keys() - set(binds):
            for each in self._sockets.pop(bind):
                each.close()
