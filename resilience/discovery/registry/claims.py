"""Claims: which addresses an instance may say that it has. Pure.

Clients send requests to what an instance says. So nobody may register a loopback or link-local address from elsewhere:
it would mean each client's own machine, or the metadata service of its cloud.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

from .instance import Instance, InvalidInstanceError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
                          r"(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?").fullmatch
_NUMERIC: Final = re.compile(r"(0[xX][0-9A-Fa-f]*|[0-9]+)(\.(0[xX][0-9A-Fa-f]*|[0-9]+))*\.?").fullmatch
_LOCAL_NAMES: Final = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")


class ClaimRefusedError(Exception):
    """An instance says that it has an address that it may not have; the message is for whoever registers it."""


class Claims:
    """What may be claimed.

    Args:
        networks: Networks that instances may be in; empty: any.
    """

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks: list[Network] = [ipaddress.ip_network(each) for each in networks]

    def check(self, instance: Instance, is_local: bool) -> None:
        """Make sure that an *instance* may say what it says.

        Args:
            instance: Wants to be registered.
            is_local: Whether the request comes from this machine.

        Raises:
            ClaimRefusedError: It may not.
            InvalidInstanceError: Its address is none.
        """
        address = _address(instance.ip_addr)
        if address is None:
            raise InvalidInstanceError("ipAddr must be an address")
        self._check_address(address, "ipAddr", is_local)
        host = instance.host_name
        named = _address(host.removeprefix("[").removesuffix("]"))
        if named is not None:
            self._check_address(named, "hostName", is_local)
        elif not _HOST(host) or _NUMERIC(host):  # 127.1 and 0x7f000001 are addresses to many a client
            raise InvalidInstanceError("hostName must be the name of a host, or an address")
        elif _is_local_name(host.lower().rstrip(".")) and not is_local:
            raise ClaimRefusedError("hostName: localhost is only taken from the machine itself")

    def _check_address(self, address: Address, what: str, is_local: bool) -> None:
        if address.is_loopback or address.is_link_local:
            if not is_local:
                raise ClaimRefusedError(
                    f"{what}: a loopback or link-local address is only taken from the machine itself")
            return
        if address.is_unspecified or address.is_multicast or str(address) == "255.255.255.255":
            raise ClaimRefusedError(f"{what}: nobody can have this address")
        if self._networks and not any(address.version == each.version and address in each for each in self._networks):
            raise ClaimRefusedError(f"{what}: this registry takes no instances of this network")


def _is_local_name(host: str) -> bool:
    return host in _LOCAL_NAMES or host.endswith(".localhost")


def _address(text: str) -> Address | None:
    """The address that *text* is; one of IPv4 within IPv6 is that of IPv4."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (getattr(found, "ipv4_mapped", None) or getattr(found, "sixtofour", None) or found)


def source_of(peer: str) -> str:
    """What counts as one address of registrants: an IPv4 address, or the /64 that an IPv6 address is in."""
    found = _address(peer)
    if found is None or found.version == 4:
        return peer if found is None else str(found)
    return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))


def is_own(peer: str, server: str) -> bool:
    """Whether a *peer* is this machine: by a loopback address, or by the one that the *server* was reached at."""
    found = _address(peer)
    return found is not None and (found.is_loopback or found == _address(server))
