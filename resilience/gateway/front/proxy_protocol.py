"""The PROXY protocol, versions 1 and 2: whose connection a proxy in front has passed on. Pure.

A strict reader of our own: the one library for it that we found has had no release for years. It is only asked of peers
that are trusted proxies, and these must say it: whoever can reach the port otherwise could say anything.

http://www.haproxy.org/download/2.9/doc/proxy-protocol.txt
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

import attrs

MAX_BYTES: Final = 2048  # of a header of version 2 with all that it may tell beside the addresses
_MAX_LINE: Final = 107
_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED: Final = 16  # bytes at the beginning of a header of version 2
_PORT: Final = re.compile("0|[1-9][0-9]{0,4}").fullmatch
#: By family and protocol: length of one address. Only TCP; of datagrams and of what is unspecified nothing is known.
_LENGTHS: Final = {0x11: 4, 0x21: 16}


class ProxyProtocolError(Exception):
    """What came is no header of the PROXY protocol."""


@attrs.frozen
class Proxied:
    """The addresses of the connection that the proxy has passed on.

    Attributes:
        client: Address and port of the client.
        server: Address and port that it has connected to.
    """

    client: tuple[str, int]
    server: tuple[str, int]


def header_length(data: bytes) -> int | None:
    """How long the header is that *data* begins with; None: not known yet, and all of *data* belongs to it.

    Raises:
        ProxyProtocolError: It is none.
    """
    if data.startswith(b"PROXY "[:len(data)]):
        end = data.find(b"\r\n", 0, _MAX_LINE)
        if end < 0 and len(data) >= _MAX_LINE:
            raise ProxyProtocolError("the line does not end")
        return None if end < 0 else end + 2
    if not data.startswith(_SIGNATURE[:len(data)]):
        raise ProxyProtocolError("there is none")
    if len(data) < _FIXED:
        return None
    length = _FIXED + int.from_bytes(data[14:16], "big")
    if length > MAX_BYTES:
        raise ProxyProtocolError("it is too long")
    return length


def proxied(header: bytes) -> Proxied | None:
    """What a whole header says; None: the connection is the proxy's own, or of an unknown kind.

    Raises:
        ProxyProtocolError: It is malformed.
    """
    if header.startswith(b"PROXY "):
        return _line(header)
    version, kind = header[12], header[13]
    if version == 0x20:  # LOCAL: such as a health check
        return None
    if version != 0x21:
        raise ProxyProtocolError("another version or command")
    size = _LENGTHS.get(kind)
    if size is None:
        if kind in (0x00, 0x12, 0x22, 0x31, 0x32):
            return None
        raise ProxyProtocolError("an unknown family")
    rest = header[_FIXED:]
    if len(rest) < 2 * size + 4:
        raise ProxyProtocolError("it is too short for its addresses")
    source, target = (str(ipaddress.ip_address(rest[start : start + size])) for start in (0, size))
    return Proxied((source, int.from_bytes(rest[2 * size : 2 * size + 2], "big")),
                   (target, int.from_bytes(rest[2 * size + 2 : 2 * size + 4], "big")))


def _line(header: bytes) -> Proxied | None:
    try:
        words = header[:-2].decode("ascii").split(" ")
    except UnicodeDecodeError:
        raise ProxyProtocolError("the line is not ASCII") from None
    if words[1] == "UNKNOWN":
        return None
    family = {"TCP4": ipaddress.IPv4Address, "TCP6": ipaddress.IPv6Address}.get(words[1])
    if family is None or len(words) != 6 or not all(_PORT(word) and int(word) < 65536 for word in words[4:]):
        raise ProxyProtocolError("the line is malformed")
    try:
        source, target = (str(family(word)) for word in words[2:4])
    except ValueError:
        raise ProxyProtocolError("the line has no addresses") from None
    return Proxied((source, int(words[4])), (target, int(words[5])))
