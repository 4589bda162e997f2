"""Content: media types and content codings of bodies (RFC 9110). Pure."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from typing import Any, Final

from .exchange import Header
from .named_values import header_values
from .unreadable_body import UnreadableBodyError

#: Codings that can be undone, with zlib's window for each.
_WINDOWS: Final = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
#: Members that a body coded by gzip may have.
MOST_MEMBERS: Final = 100
#: What an answer with the status 415 says of them (RFC 9110, 12.5.3).
ACCEPTED: Final = {"accept-encoding": "gzip, deflate"}
#: Asks for no coding: without it, a server may choose any (RFC 9110, 12.5.3).
ASKED_PLAIN: Final = (b"accept-encoding", b"identity")
#: Headers that say something of the bytes of a body, beside its length: of one coding, of one version of it.
OF_THE_BYTES: Final = frozenset({
    b"content-encoding", b"accept-ranges", b"content-md5", b"digest", b"content-digest", b"repr-digest"})
#: Character sets in which the ASCII characters, of which JSON's structure consists, are those of UTF-8.
_CHARSET: Final = re.compile(
    rb"charset\s*=\s*[\"']?(?:utf-?8|(?:us-)?ascii|iso-?8859-\d+|latin-?\d|windows-125\d)[\"']?\s*(?:;|$)", re.I).match
_QUALITY: Final = re.compile(rb"(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)").fullmatch


class CodingError(UnreadableBodyError):
    """A body is too large, or has a content coding that cannot be undone."""


class UnknownCodingError(CodingError):
    """The body has a content coding that cannot be undone here."""

    status, headers = 415, ACCEPTED


class BrokenCodingError(CodingError):
    """The body is not what its content coding says."""


class SeveralTypesError(UnreadableBodyError):
    """The message has several media types, of which each reader takes another."""


class UnknownCharsetError(UnreadableBodyError):
    """The message says that its JSON is no UTF-8, which some readers heed."""

    status = 415


class TooLargeError(CodingError):
    """The body is larger than it may be, as it came or decoded."""

    status = 413


def media_type(headers: Iterable[Header]) -> str | None:
    """The media type of a body, in lower case, without parameters; None: there is none, or there are several."""
    values = header_values(headers, b"content-type")
    if len(values) != 1 or _is_list(values[0]):
        return None
    return values[0].partition(b";")[0].strip().lower().decode("latin-1") or None


def has_several_types(headers: Iterable[Header]) -> bool:
    """Whether a message says several media types of its body (RFC 9110, 8.3): in several lines, or in one.

    Some readers take the first, some the last, and some join them; so nobody knows whether the body is JSON.
    """
    values = header_values(headers, b"content-type")
    return len(values) > 1 or (bool(values) and _is_list(values[0]))


def may_be_json(headers: Iterable[Header]) -> bool:
    """Whether somebody may read the body as JSON: its media type says so, or it has several."""
    lines = list(headers)
    return is_json(media_type(lines)) or has_several_types(lines)


def check_type(headers: Iterable[Header]) -> None:
    """Raise UnreadableBodyError if a message says several media types of its JSON, or another character set."""
    lines = list(headers)
    if has_several_types(lines):
        raise SeveralTypesError("there must be one Content-Type")
    check_charset(lines)


def check_charset(headers: Iterable[Header]) -> None:
    """Raise UnknownCharsetError if some readers would not read JSON as UTF-8, since its type names a character set.

    JSON has no such parameter (RFC 8259, 11), and most ignore it. Who heeds it reads other names and values: in UTF-7,
    ``+AGE-`` is the letter a.
    """
    for value in header_values(headers, b"content-type"):
        for found in re.finditer(rb"charset", value, re.I):
            if not _CHARSET(value, found.start()):
                raise UnknownCharsetError("JSON must be in UTF-8, and its Content-Type name no other character set")


def is_json(media: str | None) -> bool:
    """Whether bodies of this media type are JSON."""
    return media is not None and (media == "application/json" or media.endswith("+json"))


def is_coded(headers: Iterable[Header]) -> bool:
    """Whether the body has a content coding."""
    return bool(_codings(headers))


def decoded(body: bytes, headers: Iterable[Header], most: int) -> bytes:
    """The *body* without its content coding; at most *most* bytes of it are ever made.

    Raises:
        UnknownCodingError: It has one that is not known, or more than one.
        BrokenCodingError: It is not coded as its headers say.
        TooLargeError: It is larger than *most*.
    """
    codings = _codings(headers)
    if not codings:
        if len(body) > most:
            raise _too_large(most)
        return body
    if len(codings) > 1 or codings[0] not in _WINDOWS:
        raise UnknownCodingError("the body has a content coding that cannot be undone here")
    plain, is_whole = _undone(body, codings[0], most + 1)
    if plain is not None and len(plain) > most:
        raise _too_large(most)
    if plain is None or not is_whole:
        raise BrokenCodingError("the body is not coded as its Content-Encoding says")
    return plain


def beginning(body: bytes, headers: Iterable[Header], most: int) -> bytes | None:
    """What the beginning of a *body* says without its content coding; None: nobody knows.

    Args:
        body: As much of it as has come.
        headers: Of the message.
        most: Bytes that are made of a coded one, at most.
    """
    return ContentDecoder(headers, most).piece(body)


class ContentDecoder:
    """Undoes the content coding of a body as it comes. Of one task."""

    __slots__ = ("_left", "_members", "_undo", "_window")

    def __init__(self, headers: Iterable[Header], most: int) -> None:
        """Nothing has come yet.

        Args:
            headers: Of the message.
            most: Bytes that are made of a coded body, at most.
        """
        codings = _codings(headers)
        self._window = 0 if not codings else _WINDOWS.get(codings[0]) if len(codings) == 1 else None
        self._left, self._members = most, 0
        self._undo: Any = None

    def piece(self, data: bytes) -> bytes | None:
        """What the next piece of the body says without its content coding; None: nobody knows."""
        if not self._window:
            return data if self._window == 0 else None
        plain = b""
        while data and self._left > 0:
            if self._undo is None:
                self._undo, self._members = zlib.decompressobj(self._window), self._members + 1
            if self._members > MOST_MEMBERS:
                self._window = None
                return None
            try:
                made = self._undo.decompress(data, self._left)
            except zlib.error:
                if self._members == 1:
                    self._window = None
                    return None
                self._left = 0  # what follows the last member is none
                break
            plain, self._left = plain + made, self._left - len(made)
            data = self._undo.unused_data
            if self._undo.eof:
                self._undo = None
                if self._window == _WINDOWS[b"deflate"]:  # which has no second member
                    self._left = 0
        return plain


def _undone(body: bytes, coding: bytes, most: int) -> tuple[bytes | None, bool]:
    """At most *most* bytes of a *body* without its *coding*, and whether that is all of it, and nothing else follows.

    gzip may have several members, one right behind the other (RFC 1952, 2.2): whoever appends to a file, or compresses
    in blocks, makes them.

    None stands for a body that does not even begin so.

    Raises:
        TooLargeError: It has too many members: what follows a member is copied each time.
    """
    plain = b""
    for number in range(MOST_MEMBERS):
        undo = zlib.decompressobj(_WINDOWS[coding])
        try:
            plain += undo.decompress(body, most - len(plain))
        except zlib.error:
            return plain if number else None, False
        body = undo.unused_data
        if not undo.eof or not body or coding == b"deflate" or len(plain) >= most:
            return plain, undo.eof and not body
    raise TooLargeError(f"the body has more than {MOST_MEMBERS} members of gzip")


def prefers_gzip(headers: Iterable[Header]) -> bool:
    """Whether the client with these request *headers* takes gzip, and likes it no less than no coding (12.5.3)."""
    gzip: float | None = None
    identity, others = 0.0, 0.0
    for value in header_values(headers, b"accept-encoding"):
        for member in value.lower().split(b","):
            coding, _, weight = member.partition(b";")
            name, quality = coding.strip(), _weight(weight)
            if name in (b"gzip", b"x-gzip"):
                gzip = max(gzip or 0.0, quality)
            elif name == b"identity":
                identity = quality
            elif name == b"*":
                others = quality
    wanted = others if gzip is None else gzip
    return wanted > 0 and wanted >= identity


def _too_large(most: int) -> TooLargeError:
    return TooLargeError(f"the body is larger than {most} bytes")


def _is_list(value: bytes) -> bool:
    """Whether a Content-Type has several members; commas within quotation marks part none."""
    if b"," not in value:
        return False
    media, _, parameters = value.partition(b";")
    parts = parameters.split(b'"')  # every other one stands within quotation marks, unless a mark is escaped
    return b"," in media or b"\\" in parameters or len(parts) % 2 == 0 or any(b"," in part for part in parts[::2])


def _codings(headers: Iterable[Header]) -> list[bytes]:
    return [coding for value in header_values(headers, b"content-encoding")
            for part in value.split(b",") if (coding := part.strip().lower()) not in (b"", b"identity")]


def _weight(parameters: bytes) -> float:
    """The weight of a member of Accept-Encoding; 0 for one that cannot be read."""
    name, _, value = parameters.partition(b"=")
    if not parameters.strip():
        return 1.0
    return float(value.strip()) if name.strip() == b"q" and _QUALITY(value.strip()) else 0.0
