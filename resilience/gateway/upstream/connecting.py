"""Connecting to an endpoint, by name or by address.

A name that has several addresses is tried as RFC 8305 says ("happy eyeballs"): the next address a quarter of a second
after the last, or at once when that has failed, families in turn; whichever connects first is used.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import ipaddress
import socket
from typing import Any, Final

from ..messages.exchange import Endpoint, LocalLimitError, UpstreamUnreachableError

NEXT_ADDRESS_S: Final = 0.25  # RFC 8305, section 5
#: What says that this machine has no more files, ports or memory.
_LOCAL: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})


async def connect(endpoint: Endpoint, protocol: asyncio.Protocol, connect_timeout: float | None) -> None:
    """Put *protocol* on a fresh transport, the handshake of TLS included.

    Raises:
        UpstreamUnreachableError: There is none to be had within *connect_timeout* seconds; None: whoever calls it
            bounds that.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(connect_timeout):
            if is_address(endpoint.host):
                await loop.create_connection(lambda: protocol, endpoint.host, endpoint.port, ssl=endpoint.tls,
                                             server_hostname=_verified(endpoint))
            else:
                await _connect_by_name(loop, endpoint, protocol)
    except (OSError, ValueError) as error:  # TimeoutError is the one; a name that no resolver takes, the other
        raise unreachable(error) from error


def unreachable(error: Exception) -> UpstreamUnreachableError:
    """What *error* of connecting amounts to."""
    kind = LocalLimitError if getattr(error, "errno", None) in _LOCAL else UpstreamUnreachableError
    return kind(type(error).__name__)


@functools.lru_cache(maxsize=1024)  # a sick endpoint costs a new connection for each request
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


async def _connect_by_name(loop: asyncio.AbstractEventLoop, endpoint: Endpoint, protocol: asyncio.Protocol) -> None:
    from aiohappyeyeballs import start_connection

    addresses: Any = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    sock = await start_connection(addresses, happy_eyeballs_delay=NEXT_ADDRESS_S, interleave=1, loop=loop)
    try:
        await loop.create_connection(lambda: protocol, sock=sock, ssl=endpoint.tls,
                                     server_hostname=_verified(endpoint))
    except BaseException:
        sock.close()
        raise
