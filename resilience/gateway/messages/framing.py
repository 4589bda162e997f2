"""Framing guard: refuse what two parsers could cut into messages differently.

Servers differ in what they let pass. Whatever is still visible here of a
doubtful length, host or version is answered with 400 or 505 and the connection is closed: the
bytes after such a message cannot be trusted. Pure.

It looks at the *special* headers only (see headers.py): those that frame, name
the target, or concern one connection. Beside it stands what both sides of the gateway
know of how messages are framed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .exchange import Header
from .problem import Problem

#: The versions of HTTP that are served, as servers say them, and how they stand in Via.
VERSIONS: Final = {"1": b"1.0", "1.0": b"1.0", "1.1": b"1.1", "2": b"2", "3": b"3"}
#: The fields that say how long a body is.
FIELDS: Final = (b"content-length", b"transfer-encoding")
#: Statuses of answers that have no body, whatever their fields say (RFC 9112, 6.3).
BODILESS: Final = frozenset({204, 304})
#: Statuses of answers that have nothing in their body; with 205 that is said by a length of 0.
EMPTY: Final = BODILESS | {205}
#: The rest of a body that is longer and says how long it is goes past llhttp, which would only copy it.
LARGE: Final = 256 * 1024
_SINGLE: Final = frozenset({b"host", b"content-length", b"transfer-encoding"})
_LONGEST_LENGTH: Final = 18  # digits; more than any body and less than a 64-bit integer


class Framing:
    """How a request's body is delimited.

    Attributes:
        host: The one Host header; empty: HTTP/1.0 without one.
        length: The body's length; None: unknown, it is chunked.
    """

    __slots__ = ("host", "length")

    def __init__(self, host: bytes, length: int | None) -> None:
        self.host, self.length = host, length


def framing_of(special: Sequence[Header], version: str, *, unsized: bool = False) -> Framing:
    """The framing of a request with these *special* headers.

    Args:
        special: Names in lower case.
        version: As in the ASGI scope: "1.0", "1.1", "2".
        unsized: Whether a body follows whose length none of them says; see RequestHead.

    Raises:
        Problem: 400, 417 or 505, closing, for anything doubtful.
    """
    if version not in VERSIONS:  # a text line "HTTP/2.0" too: HTTP/2 has no such line
        raise Problem(505, "the gateway speaks HTTP/1.0, 1.1 and 2", close=True)
    if len(special) == 1 and special[0][0] == b"host" and special[0][1]:  # what most requests have
        return Framing(special[0][1], None if unsized else 0)
    found = _single(special)
    host, length, coding = found.get(b"host", b""), found.get(b"content-length"), found.get(b"transfer-encoding")
    if not host and VERSIONS[version] != b"1.0":
        raise _refused("no valid Host")
    if coding is None:
        return Framing(host, _length(length) if length is not None else None if unsized else 0)
    if length is not None:
        raise _refused("both Content-Length and Transfer-Encoding")
    if version != "1.1":
        raise _refused("Transfer-Encoding in a version of HTTP that has none")
    if coding.lower() != b"chunked":
        raise _refused("a Transfer-Encoding other than chunked")
    return Framing(host, None)


def _single(special: Sequence[Header]) -> dict[bytes, bytes]:
    """The headers that may stand there once, by name."""
    found: dict[bytes, bytes] = {}
    for name, value in special:
        if name in _SINGLE:
            if name in found:
                raise _refused(f"more than one {name.decode().title()}")
            found[name] = value
        elif name == b"expect" and value.lower() != b"100-continue":
            raise Problem(417, "only 100-continue can be expected", close=True)
    return found


def _length(value: bytes) -> int:
    length = length_of(value)
    if length is None:
        raise _refused("an invalid Content-Length")
    return length


def length_of(value: bytes) -> int | None:
    """What a Content-Length says; None: it is none. int() takes signs, underscores and blanks, and fails at length."""
    # bytes.isdigit knows ASCII digits only
    return int(value) if value.isdigit() and len(value) <= _LONGEST_LENGTH else None


def large_rest(headers: Sequence[Header], come: int) -> int:
    """How much is to come of a body that is large and says how long it is; 0 for others.

    Args:
        headers: Of a message that llhttp has read: a Content-Length is a plain number.
        come: Bytes of the body that have come.
    """
    framing = [header for header in headers if header[0] in FIELDS]
    if len(framing) != 1 or framing[0][0] != b"content-length":
        return 0
    left = int(framing[0][1]) - come
    return left if left > LARGE else 0


def _refused(what: str) -> Problem:
    return Problem(400, f"the request has {what}", close=True)
