"""Trailers on their way through: which fields may come after a body (RFC 9110, 6.5.1). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .exchange import Header
from .headers import CLAIMS, HOP_BY_HOP, folded

#: Fields that frame, route, authenticate, or say how to read the body: whoever merged them would be misled.
_NEVER: Final = HOP_BY_HOP | CLAIMS | {
    b"age", b"authorization", b"cache-control", b"content-encoding", b"content-length", b"content-range",
    b"content-type", b"cookie", b"date", b"expires", b"host", b"location", b"max-forwards", b"pragma", b"range",
    b"retry-after", b"set-cookie", b"trailer", b"vary", b"via", b"warning", b"www-authenticate"}
_NEVER_BEGINNING: Final = (b"x-forwarded-", b"if-", b"access-control-", b"sec-")


def passing(trailers: Iterable[Header]) -> list[Header]:
    """Those of *trailers*, names in lower case, that may pass."""
    return [trailer for trailer in trailers if _may_pass(folded(trailer[0]))]


def _may_pass(name: bytes) -> bool:
    return name not in _NEVER and not name.startswith(_NEVER_BEGINNING)


def trailer_lines(trailers: Iterable[Header]) -> bytes:
    """The lines of *trailers* that may pass, and can stand in a line; CGI takes an underscore for a hyphen there."""
    lines = [b"%b: %b\r\n" % trailer for trailer in passing(trailers) if b"_" not in trailer[0]]
    return b"".join(line for line in lines if line.count(b"\n") == line.count(b"\r") == 1 and b"\0" not in line)
