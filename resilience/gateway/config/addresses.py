"""Addresses in the gateway's file: where it listens, and which peers it trusts."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import Any, Final

from .checks import in_schema

_HOST: Final = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
                          r"(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*")


def address(bind: str) -> tuple[str, int]:
    """Host and port of "host:port", as in ``bind``; an IPv6 host stands in brackets.

    Raises:
        ValueError: It is something else.
    """
    host, colon, port = bind.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = str(ipaddress.IPv6Address(host[1:-1]))
    elif ":" in host:
        raise ValueError("an IPv6 host stands in brackets")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("no host:port")
    if ":" not in host and not _is_host(host):
        raise ValueError("no host")
    return host, int(port)


def _is_host(host: str) -> bool:
    """Whether it may be the name of a host or an IPv4 address; what looks like an address must be one."""
    if not _HOST.fullmatch(host):
        return False
    if re.fullmatch(r"[0-9.]+", host):
        try:
            socket.inet_aton(host)
        except OSError:
            return False
    return True


def is_shared(one: str, other: str) -> bool:
    """Whether a listener on *one* would take connections to *other*: the listeners of workers share a port silently."""
    (host, port), (other_host, other_port) = address(one), address(other)
    addresses, others = _addresses(host), _addresses(other_host)
    return port == other_port and (
        bool(addresses & others) or "::" in (host, other_host)  # which takes IPv4's connections too
        or any(wide <= {"0.0.0.0"} and any("." in each for each in narrow)  # noqa: S104 - compared, not bound
               for wide, narrow in ((addresses, others), (others, addresses))))


def _addresses(host: str) -> set[str]:
    """What *host* stands for, as far as that is known without asking anybody."""
    if host.lower() == "localhost":
        return {"127.0.0.1", "::1"}
    try:
        return {str(ipaddress.ip_address(host))}
    except ValueError:
        return {host.lower()}


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(texts: Iterable[str]) -> list[Network]:
    """What addresses and networks of peers stand for."""
    return [ipaddress.ip_network(each) for each in texts]


@in_schema(pattern=r"^(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5}$")
def bind_mistake(value: Any) -> str | None:
    """What is wrong with an address to listen on; None if nothing is."""
    try:
        address(value)
    except (ValueError, AttributeError):
        return "must be host:port with a port of 1 to 65535, such as 127.0.0.1:8080 or [::1]:8080"
    return None


def network_mistake(value: Any) -> str | None:
    """What is wrong with an address or network of peers; None if nothing is."""
    try:
        ipaddress.ip_network(value)
    except ValueError:
        return "must be addresses or networks, such as 10.0.0.0/8"
    return None
