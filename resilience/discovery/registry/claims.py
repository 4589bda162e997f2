"""Claims: which addresses an instance may say that it has. Pure.

Clients send requests to what an instance says. So nobody may register a loopback or link-local address from elsewhere:
it would mean each client's own machine, or the metadata service of its cloud. Names are not resolved: what they stand
for may change at any time, and is for the clients to know.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

from .instance import Instance, InvalidInstanceError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
                          r"(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?").fullmatch
_NUMERIC: Final = re.compile(r"(0[xX][0-9A-Fa-f]*|[0-9]+)(\.(0[xX][0-9A-Fa-f]*|[0-9]+))*\.?").fullmatch
_URLS: Final = ("homePageUrl", "statusPageUrl", "healthCheckUrl", "secureHealthCheckUrl")
_LOCAL_NAMES: Final = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")


class ClaimRefusedError(Exception):
    """An instance says that it has an address that it may not have; the message is for whoever registers it."""


class Claims:
    """What may be claimed.

    Args:
        networks: Networks that instances may be in; empty: any.
    """

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks: list[Network] = []
        self.go_by(networks)

    def go_by(self, networks: Sequence[str]) -> None:
        """Let instances be in other *networks* from now on."""
        self._networks = [ipaddress.ip_network(each) for each in networks]

    def check(self, instance: Instance, is_local: bool) -> None:
        """Make sure that an *instance* may say what it says.

        Args:
            instance: Wants to be registered.
            is_local: Whether the request comes from this machine.

        Raises:
            ClaimRefusedError: It may not.
            InvalidInstanceError: Its address is none, or its host can be none.
        """
        address, host = _address(instance.ip_addr), instance.host_name
        if address is None:
            raise InvalidInstanceError("ipAddr must be an address")
        named = _address(host.removeprefix("[").removesuffix("]"))
        if named is None and (not _HOST(host) or _NUMERIC(host)):  # 127.1 is an address to many a client
            raise InvalidInstanceError("hostName must be the name of a host, or an address")
        for found, what in ((address, "ipAddr"), (named, "hostName")):
            if found is not None:
                self._check_network(found, what)
        if not is_local:
            for text, what in ((instance.ip_addr, "ipAddr"), (host, "hostName"), *_hosts_of_urls(instance)):
                if _is_local(text):
                    raise ClaimRefusedError(f"{what}: a loopback or link-local address, and localhost, are only taken "
                                            "from the machine itself")

    def _check_network(self, address: Address, what: str) -> None:
        if address.is_unspecified or address.is_multicast or str(address) == "255.255.255.255":
            raise ClaimRefusedError(f"{what}: nobody can have this address")
        if self._networks and not (address.is_loopback or address.is_link_local) and not any(
                address.version == each.version and address in each for each in self._networks):
            raise ClaimRefusedError(f"{what}: this registry takes no instances of this network")


def _hosts_of_urls(instance: Instance) -> Iterator[tuple[str, str]]:
    for name in _URLS:
        try:
            host = urlsplit(instance.texts.get(name, "")).hostname
        except ValueError:
            raise InvalidInstanceError(f"{name} must be a URL") from None
        if host:
            yield host, name


def _is_local(host: str) -> bool:
    """Whether a *host* is the machine of whoever asks for it, or its own network alone."""
    name = host.lower().strip("[]").rstrip(".")
    address = _address(name)
    if address is None:
        return name in _LOCAL_NAMES or name.endswith(".localhost") or _NUMERIC(name) is not None
    return address.is_loopback or address.is_link_local or address.is_unspecified


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
