r"""Paths: the one form in which a path is matched, rewritten and forwarded, and what upstreams could make of it. Pure.

The canonical form is the normal form of RFC 3986, 6.2.2: a percent-encoded letter, digit, ``-``, ``.``, ``_`` or ``~``
is decoded, the digits of the other percent-encodings are in capitals, and all other bytes stay as the client sent them.

Routes compare the *name* of a path: the canonical form, decoded as upstreams decode it. Only the encodings of
``/``, ``\``, ``%`` and ``;`` stay as they are in it, since decoding them would change what the path is made of.

Upstreams do not agree on everything. Some end a segment at ``;`` (Tomcat, Jetty, Spring), some the whole path; some
take two slashes for one; some decode twice. ``readings()`` gives what the most eager of them make of a path. The
gateway forwards a path only if every reading leads to the same route, so it need not know what the upstream does.
What no two parties should ever read in different ways (a dot segment, a backslash, an encoded control character, an
overlong encoding) is refused in any case.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
#: Encodings of what structures a path: some upstreams decode them before they take it apart, and some do not.
_STRUCTURAL: Final = frozenset(b"/\\%;")
#: RFC 3986 pchar without "%" and ";".
_PCHAR: Final = rb"A-Za-z0-9_~!$&'()*+,=:@\-"
#: What browsers leave as it is in a path, although RFC 3986 has no place for it.
_LOOSE: Final = rb"\[\]|^{}\"<>`"

#: What most paths are: no percent-encoding or parameter, no segment that begins with a dot or is empty.
_PLAIN: Final = re.compile(rb"/(?:[%b][%b.]*/)*(?:[%b][%b.]*)?" % (_PCHAR, _PCHAR, _PCHAR, _PCHAR)).fullmatch
_LEGAL: Final = re.compile(rb"(?:[%b%b;./]|%%[0-9A-Fa-f]{2})*" % (_PCHAR, _LOOSE)).fullmatch
_ENCODED: Final = re.compile(rb"%[0-9A-Fa-f]{2}")
_CONTROL: Final = re.compile(rb"%[01][0-9A-F]|%7F").search
_OVERLONG: Final = re.compile(rb"%C[01]%[89AB]|%E0%[89]|%F0%8").search  # perhaps a "/", to decoders that are lax
_DOTS: Final = re.compile(rb"/\.{1,2}(?:;[^/]*)?(?=/|\Z)").search  # "..;x" is ".." to Tomcat
_CONTROLS: Final = re.compile(rb"[\x00-\x1f\x7f]").search
_DEEPEST: Final = 4  # passes of decoding, the last of which finds nothing
_QUERY: Final = re.compile(rb"[%b%b%%;./?\\]*" % (_PCHAR, _LOOSE)).fullmatch


def _spellings(decoded: Collection[int]) -> dict[bytes, bytes]:
    """What stands for each percent-encoding, in any spelling: *decoded* bytes, or the encoding itself."""
    found = {}
    for byte in range(256):
        plain = b"%c" % byte if byte in decoded else b"%%%02X" % byte
        for form in (b"%%%02x" % byte, b"%%%02X" % byte):
            for spelt in (form, form[:2] + form[2:].upper(), form[:1] + form[1:2].upper() + form[2:]):
                found[spelt] = plain
    return found


_CANONICAL: Final = _spellings(_UNRESERVED)
_NAMED: Final = _spellings(frozenset(range(256)) - _STRUCTURAL)
_EAGER: Final = _spellings(range(256))


class PathError(ValueError):
    """A path that is not to be forwarded; the message says why."""


class Path:
    """A path in its canonical form.

    Attributes:
        raw: The canonical form: what is rewritten and forwarded.
        name: What routes are compared with.
        doubtful: Whether upstreams may read it in more ways than one.
    """

    __slots__ = ("doubtful", "name", "raw")

    def __init__(self, raw: bytes, name: bytes, doubtful: bool) -> None:
        self.raw, self.name, self.doubtful = raw, name, doubtful

    def readings(self) -> list[bytes]:
        """Names under which the most eager upstreams may know it, but for the one that routes are compared with."""
        if not self.doubtful:
            return []
        eager = _eager(self.raw)
        found = [_merged(re.sub(rb";[^/]*", b"", eager))]
        if b";" in eager:
            found.append(_merged(eager.partition(b";")[0]))
        return [each for each in dict.fromkeys(found) if each != self.name]


def canonical(path: bytes, allowed: Collection[bytes] = ()) -> Path:
    """The canonical form of a *path* as it stands in the request line, without the query.

    Args:
        path: Raw.
        allowed: Of ``%2f``, ``%5c`` and ``%25``, those to let pass; lower case.

    Raises:
        PathError: It is not to be forwarded.
    """
    if _PLAIN(path):
        return Path(path, path, False)
    if not path.startswith(b"/"):
        raise PathError("the path must begin with a slash")
    if b"\\" in path:
        raise PathError("the path has a backslash")
    if not _LEGAL(path):
        raise PathError("the path has characters that must be percent-encoded, or a broken percent-encoding")
    raw = name = path
    if b"%" in path:
        raw = _ENCODED.sub(lambda found: _CANONICAL[found[0]], path)
        _check_encodings(raw, allowed)
        name = named(raw)
    doubtful = b";" in name or b"%" in name or b"//" in name
    _check_segments(_eager(raw) if doubtful else raw)
    return Path(raw, name, doubtful)


def named(raw: bytes) -> bytes:
    """The name of a canonical path: decoded, but for what would change its structure."""
    return _ENCODED.sub(lambda found: _NAMED[found[0]], raw) if b"%" in raw else raw


def _check_encodings(raw: bytes, allowed: Collection[bytes]) -> None:
    if _CONTROL(raw):
        raise PathError("the path has an encoded control character")
    if _OVERLONG(raw):
        raise PathError("the path has an overlong encoding of a character")
    for encoded in (b"%2F", b"%5C", b"%25"):
        if encoded in raw and encoded.lower() not in allowed:
            raise PathError(f"the path has {encoded.decode().lower()}, which servers read differently")


def _check_segments(eager: bytes) -> None:
    if eager.startswith(b"//"):
        raise PathError("a path that begins with two slashes can be read as a host name")
    if _DOTS(eager):
        raise PathError("the path has a dot segment")
    if _CONTROLS(eager):
        raise PathError("the path has an encoded control character")


def _eager(raw: bytes) -> bytes:
    """A path as the most eager of upstreams would read it: decoded until nothing is left to decode.

    Raises:
        PathError: That takes too long.
    """
    for _ in range(_DEEPEST):
        before, raw = raw, _ENCODED.sub(lambda found: _EAGER[found[0]], raw)
        if raw == before:
            return raw.replace(b"\\", b"/")
    raise PathError("the path is encoded too many times over")


def _merged(path: bytes) -> bytes:
    return re.sub(rb"/{2,}", b"/", path) or b"/"


def query_is_legal(query: bytes) -> bool:
    """Whether a raw query has only characters that are safe to forward as they are."""
    return _QUERY(query) is not None
