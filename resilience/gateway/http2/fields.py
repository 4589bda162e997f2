"""Field sections of HTTP/2, as whoever reads or writes them must check them. Pure.

h2 decodes them and knows the order of frames. Whether their content may stand in a message is decided here and not by
h2, which ends the whole connection over one malformed message; a stream error is enough (RFC 9113, 8.1.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from ..messages.exchange import Header
from ..messages.trailers import passing

_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+").fullmatch
_VALUE: Final = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?").fullmatch
#: RFC 9113, 8.2.2: what concerns one connection is said in frames.
OF_CONNECTIONS: Final = frozenset({
    b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"http2-settings"})


class MalformedError(Exception):
    """A message that is none: its stream is reset."""


def told_apart(fields: Iterable[Header], pseudo_names: frozenset[bytes]) -> tuple[dict[bytes, bytes], list[Header]]:
    """Pseudo-header fields, and the others.

    Raises:
        MalformedError: Some are double, unknown, out of place, or may not stand in a message of HTTP/2.
    """
    pseudo: dict[bytes, bytes] = {}
    headers: list[Header] = []
    for name, value in fields:
        if name[:1] == b":":
            if headers or name in pseudo or name not in pseudo_names or not _VALUE(value):
                raise MalformedError
            pseudo[bytes(name)] = bytes(value)
        else:
            headers.append(_checked(name, value))
    return pseudo, headers


def _checked(name: bytes, value: bytes) -> Header:
    if not _NAME(name) or not _VALUE(value) or name in OF_CONNECTIONS:
        raise MalformedError
    return bytes(name), bytes(value)


def trailers_of(fields: Iterable[Header]) -> list[Header]:
    """The trailers in a field section.

    Raises:
        MalformedError: They are none.
    """
    return [_checked(name, value) for name, value in fields]


def sendable(name: bytes, value: bytes) -> Header | None:
    """A header as it can be sent; None: it cannot."""
    if not _VALUE(value):
        value = value.strip(b" \t")
        if b"\r" in value or b"\n" in value or b"\0" in value:
            return None
    if not _NAME(name):
        name = name.lower()
        if not _NAME(name):
            return None
    return name, value


def trailer_fields(trailers: Iterable[Header]) -> list[Header]:
    """Those of *trailers* that may pass, and can be sent."""
    return [header for header in passing(trailers) if _NAME(header[0]) and _VALUE(header[1])]
