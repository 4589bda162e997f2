"""Client addresses: who a request comes from, however many proxies it passed. Pure.

The peer of the connection is what the gateway itself sees. If it is a trusted proxy, ``X-Forwarded-For`` says who its
client was: the list is read from its end, each trusted proxy vouches for the element before it, and the first that is
not a trusted proxy is the client. What stands before that one may be invented and is not looked at. So a
client can neither choose its address nor, by a longer list, have another one.

A client has one IPv4 address, but of IPv6 a whole /64 (RFC 6177), out of which it may take another address for each
request. Limits count such a network as one.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Callable, Iterable
from typing import Final, Self

from .config.addresses import networks
from .messages.inbound import RequestHead
from .messages.named_values import header_values
from .routing.predicates import Address, address_of, within

#: Of a client without an address, such as one behind a Unix socket.
UNKNOWN: Final = "unknown"
_FORWARDED_FOR: Final = b"x-forwarded-for"
#: Proxies in a row that are believed; a list that is longer is not read further.
_MOST_HOPS: Final = 32


class ClientAddresses:
    """Finds the clients of requests. Immutable, but for what it remembers; for one thread."""

    def __init__(self, is_trusted: Callable[[str], bool]) -> None:
        """Ask *is_trusted* whether an address is that of a trusted proxy; what it says is remembered."""
        self.is_trusted = functools.lru_cache(maxsize=4096)(is_trusted)

    @classmethod
    def behind(cls, proxies: Iterable[str]) -> Self:
        """Trust the *proxies*: addresses, or networks of them."""
        trusted = networks(proxies)
        return cls(lambda peer: within(address_of(peer), trusted))

    def address_of(self, head: RequestHead) -> Address | None:
        """The address of the client that sent a request with this *head*; None: nobody knows it."""
        if head.client is None:
            return None
        return _beyond(head.client[0], _stated(head), self.is_trusted)[0]

    def address_stated(self, peer: str | None, completed: str) -> Address | None:
        """The address of a client; None: nobody knows it.

        Args:
            peer: Address of the other end of its connection; None: it has none.
            completed: X-Forwarded-For as the gateway sends it on: the last element is the peer.
        """
        if peer is None:
            return None
        return _beyond(peer, completed.rpartition(",")[0].encode("latin-1"), self.is_trusted)[0]

    def client_of(self, head: RequestHead) -> str:
        """The address of the client that sent a request with this *head*, or else the nearest to it that is known."""
        peer = head.client
        if peer is None:
            return UNKNOWN
        if not self.is_trusted(peer[0]):
            return _shown(peer[0])
        return _beyond(peer[0], _stated(head), self.is_trusted)[1]

    def peer_is_trusted(self, head: RequestHead) -> bool:
        """Whether a request with this *head* comes from a trusted proxy."""
        return head.client is not None and self.is_trusted(head.client[0])


def _stated(head: RequestHead) -> bytes:
    return b",".join(header_values(head.headers, _FORWARDED_FOR))


def _beyond(peer: str, stated: bytes, is_trusted: Callable[[str], bool]) -> tuple[Address | None, str]:
    """The client of a request, None if nobody knows; and the nearest address to it that is known.

    Args:
        peer: Address of the other end of the connection.
        stated: What X-Forwarded-For says, which counts if the peer is a trusted proxy.
        is_trusted: Whether an address is that of a trusted proxy.
    """
    address, nearest = _parsed(peer), _shown(peer)
    if not is_trusted(peer):
        return address, nearest
    elements = [each for each in reversed(stated.split(b",")) if each.strip(b" \t")]
    for element in elements[:_MOST_HOPS]:
        address = _parsed(_without_port(element.strip(b" \t").decode("latin-1")))
        if address is None:  # what the last proxy says of its client is no address: nearest is as near as one can get
            break
        nearest = str(address)
        if not is_trusted(nearest):
            break
    return address, nearest


@functools.lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """What counts as one client: an IPv4 address, the /64 of an IPv6 address, or what else the *address* is."""
    parsed = _parsed(address)
    if parsed is None:
        return address
    if parsed.version == 6:
        return f"{ipaddress.IPv6Address(int(parsed) >> 64 << 64)}/64"
    return str(parsed)


@functools.lru_cache(maxsize=4096)
def _shown(peer: str) -> str:
    return str(_parsed(peer) or peer)


def _parsed(text: str) -> Address | None:
    return address_of(text.partition("%")[0])  # the zone is of the gateway's own machine


def _without_port(element: str) -> str:
    if element.startswith("["):
        return element[1:].partition("]")[0]
    return element.partition(":")[0] if element.count(":") == 1 else element
