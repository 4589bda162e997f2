"""Content: media types and content codings of bodies. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Final

from ..upstream import Header

#: Codings that can be undone, with zlib's window for each.
_WINDOWS: Final = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}


class UnknownCodingError(ValueError):
    """The body has a content coding that cannot be undone here."""


class BrokenCodingError(ValueError):
    """The body is not what its content coding says."""


class TooLargeError(ValueError):
    """The body is larger than it may be, as it came or decoded."""


def values_of(headers: Iterable[Header], name: bytes) -> list[bytes]:
    """The values of all headers of this *name*, in lower case."""
    return [value for key, value in headers if key == name]


def media_type(headers: Iterable[Header]) -> str | None:
    """The media type of a body, in lower case, without parameters; None: there is none, or there are several."""
    values = values_of(headers, b"content-type")
    if len(values) != 1:
        return None
    return values[0].partition(b";")[0].strip().lower().decode("latin-1") or None


def is_json(media: str | None) -> bool:
    """Whether bodies of this media type are JSON."""
    return media is not None and (media == "application/json" or media.endswith("+json"))


def is_coded(headers: Iterable[Header]) -> bool:
    """Whether the body has a content coding."""
    return any(coding != b"identity" for coding in _codings(headers))


def decoded(body: bytes, headers: Iterable[Header], most: int) -> bytes:
    """The *body* without its content coding; at most *most* bytes of it are ever made.

    Raises:
        UnknownCodingError: It has one that is not known, or more than one.
        BrokenCodingError: It is not coded as its headers say.
        TooLargeError: It is larger than *most*.
    """
    codings = [coding for coding in _codings(headers) if coding != b"identity"]
    if not codings:
        if len(body) > most:
            raise TooLargeError
        return body
    if len(codings) > 1 or codings[0] not in _WINDOWS:
        raise UnknownCodingError(b", ".join(codings).decode("latin-1"))
    undo = zlib.decompressobj(_WINDOWS[codings[0]])
    try:
        plain = undo.decompress(body, most + 1)
    except zlib.error:
        raise BrokenCodingError from None
    if len(plain) > most:
        raise TooLargeError
    if not undo.eof or undo.unused_data:
        raise BrokenCodingError
    return plain


def _codings(headers: Iterable[Header]) -> list[bytes]:
    return [coding for value in values_of(headers, b"content-encoding")
            for part in value.split(b",") if (coding := part.strip().lower())]
