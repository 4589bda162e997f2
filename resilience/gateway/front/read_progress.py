"""ReadProgress: whether a client takes what it is sent, be it slowly.

Room in the buffers of a connection does not tell. The system keeps some megabytes of a response, and says that there is
room again once about a third of them has gone: a client that reads 40 KB in each second would take nothing for half a
minute, by that. So it is asked how much the client's system has acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from typing import Final

#: Bytes that a client must take within client_timeout, if anything waits for that.
LEAST_TAKEN: Final = 64 * 1024
#: Of Linux's struct tcp_info as far as tcpi_bytes_acked, which is its last part then.
_TCP_INFO: Final = struct.Struct("=120xQ")


class ReadProgress:
    """Looks, now and then, whether the client of a connection takes what it is sent."""

    __slots__ = ("_before", "_transport")

    def __init__(self, transport: asyncio.Transport, *, late: bool = False) -> None:
        """Begin to look; if *late*, only when it is asked first, since a look costs more than most have to be asked."""
        self._transport = transport
        self._before = None if late else acknowledged(transport)

    def goes_on(self) -> bool:
        """Whether it has taken LEAST_TAKEN since the last look; no, where nobody can tell."""
        before, now = self._before, acknowledged(self._transport)
        self._before = now
        return before is None or now - before >= LEAST_TAKEN


def acknowledged(transport: asyncio.Transport) -> int:
    """Bytes that the system of a connection's client has acknowledged; 0 where the own system does not tell."""
    sock = transport.get_extra_info("socket")  # None: the connection is gone
    if sock is not None and sys.platform == "linux":
        # ValueError: uvloop has closed it; struct.error: the kernel is older than 4.1
        with contextlib.suppress(OSError, ValueError, struct.error):
            return int(_TCP_INFO.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size))[0])
    return 0
