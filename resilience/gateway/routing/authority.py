"""Authorities: the host, and perhaps the port, that a request is for. Pure.

One form is matched and forwarded: in lower case, without the dot that a full domain name may end in, an IPv6 address
in its shortest spelling. The target's own authority, where a client sends the absolute form, beats the Host header
(RFC 9112, 3.2.2).
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final

_HOST: Final = re.compile(rb"([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{0,5}))?").fullmatch
_ABSOLUTE: Final = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(.*)", re.DOTALL).fullmatch


class AuthorityError(ValueError):
    """A host, or a request target, that cannot be served; the message says why."""


class Authority:
    """What a request is for.

    Attributes:
        name: The host as routes are compared with it; empty if the client named none.
        text: With the port, if there is one, as it is forwarded.
    """

    __slots__ = ("name", "text")

    def __init__(self, name: bytes, text: bytes) -> None:
        self.name, self.text = name, text


NOBODY: Final = Authority(b"", b"")


def authority(host: bytes) -> Authority:
    """The authority in a Host header, or in a request target.

    Raises:
        AuthorityError: It is something else.
    """
    found = _HOST(host)
    if found is None:
        raise AuthorityError("no valid Host")
    name, port = found.groups()
    name = name.lower()
    if name.startswith(b"["):
        try:
            name = b"[%b]" % ipaddress.IPv6Address(name[1:-1].decode()).compressed.encode()
        except ValueError:
            raise AuthorityError("no valid Host") from None
    elif name.endswith(b"."):
        name = name[:-1]
    if not name or name.startswith(b".") or name.endswith(b".") or b".." in name or (port and int(port) > 65535):
        raise AuthorityError("no valid Host")
    return Authority(name, b"%b:%b" % (name, port) if port else name)


def absolute(target: bytes, *, is_secured: bool) -> tuple[bytes, bytes] | None:
    """The authority and the path of a request target in absolute form; None if it is in another form.

    Args:
        target: Raw, without its query.
        is_secured: Whether it came by TLS, or from whom one believes that it once did.

    Raises:
        AuthorityError: Its scheme is not that of a gateway for HTTP, or not that of its connection.
    """
    found = _ABSOLUTE(target)
    if found is None:
        return None
    scheme = found[1].lower()
    if scheme not in (b"http", b"https"):
        raise AuthorityError("a target that is neither http nor https")
    if scheme == b"https" and not is_secured:  # RFC 9110, 7.4
        raise AuthorityError("an https target on a connection without TLS")
    return found[2], found[3]


def path_of(target: bytes) -> bytes:
    """The path of a request target, in whichever form a client has sent it."""
    found = _ABSOLUTE(target)
    return target if found is None else found[3] or b"/"


def host_mistake(host: Any) -> str | None:
    """What is wrong with a route's host; None if nothing is."""
    wanted = "host must be a host name or address without a port, or *. and a domain"
    if not isinstance(host, str) or not host.isascii():
        return wanted
    domain = host.removeprefix("*.")
    try:
        found = authority(domain.encode())
    except AuthorityError:
        return wanted
    is_address = domain.startswith("[") or re.fullmatch(r"[0-9.]+", domain)
    return wanted if found.text != found.name or domain.endswith(":") or (domain != host and is_address) else None
