"""Documents: what a snapshot is served as, in each form, plain and compressed. Pure.

A list of thousands of instances changes by a few of them. Its text is put together from that of its buckets, which is
made once, and so is its gzip form: each bucket is compressed by itself into whole bytes of one DEFLATE stream (RFC
1951), what stands between two of them goes in as it is, and the checksum of the whole is the only thing that is
computed anew.
"""

from __future__ import annotations

import functools
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final
from xml.sax.saxutils import escape

from .entry import Entry, Form
from .snapshot import Application, Bucket, Snapshot, hashcode

#: gzip's head: DEFLATE, no time, made by an unknown system (RFC 1952).
_HEAD: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_LAST_BLOCK: Final = b"\x03\x00"
#: Of a stored block.
_MOST_STORED: Final = 65_535
_LEVEL: Final = 6


class _Piece:
    """Some of a text, and that as whole bytes of a DEFLATE stream, which are made when they are first asked for."""

    def __init__(self, plain: bytes, *, stored: bool = False) -> None:
        self.plain, self._stored = plain, stored and len(plain) <= _MOST_STORED

    @functools.cached_property
    def deflated(self) -> bytes:
        plain, size = self.plain, len(self.plain)
        if self._stored:
            return b"\x00%b%b%b" % (size.to_bytes(2, "little"), (size ^ 0xFFFF).to_bytes(2, "little"), plain)
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        return packer.compress(plain) + packer.flush(zlib.Z_FULL_FLUSH)


class Document:
    """A text and its gzip form, each of which is made when it is first asked for."""

    def __init__(self, pieces: Iterable[_Piece]) -> None:
        self._pieces = list(pieces)

    @functools.cached_property
    def plain(self) -> bytes:
        """The text."""
        return b"".join([each.plain for each in self._pieces])

    @functools.cached_property
    def compressed(self) -> bytes:
        """The same, compressed."""
        plain = self.plain
        tail = zlib.crc32(plain).to_bytes(4, "little") + (len(plain) & 0xFFFFFFFF).to_bytes(4, "little")
        return b"".join([_HEAD, *(each.deflated for each in self._pieces), _LAST_BLOCK, tail])


class Documents:
    """The documents of one registry's snapshots. The last of each kind is kept, and of each application."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, Form], dict[Bucket, _Piece]] = {}
        self._made: dict[tuple[str, Form], tuple[int, Document]] = {}
        self._applications: tuple[int, dict[tuple[str, Form], Document]] = 0, {}

    def full(self, snapshot: Snapshot, form: Form) -> Document:
        """All applications."""
        return self._list("full", snapshot, snapshot.applications, form)

    def delta(self, snapshot: Snapshot, form: Form) -> Document:
        """What has changed, with the hash of everything."""
        return self._list("delta", snapshot, snapshot.changed, form)

    def application(self, snapshot: Snapshot, name: str, form: Form) -> Document | None:
        """One application; None: there is none of this *name*. Each gateway that follows one asks for it every time."""
        found = snapshot.applications.get(name)
        if found is None:
            return None
        if self._applications[0] != snapshot.version:
            self._applications = snapshot.version, {}
        made = self._applications[1]
        if (name, form) not in made:
            made[name, form] = Document(_application(found, form, {}, {}, outermost=True))
        return made[name, form]

    def _list(self, kind: str, snapshot: Snapshot, applications: Mapping[str, Application], form: Form) -> Document:
        made = self._made.get((kind, form))
        if made is None or made[0] != snapshot.version:
            kept = self._buckets.get((kind, form), {})
            used: dict[Bucket, _Piece] = {}
            document = Document(_applications(
                applications.values(), form, str(snapshot.version), snapshot.hashcode, kept, used))
            self._buckets[kind, form] = used
            made = self._made[kind, form] = snapshot.version, document
        return made[1]


def of_some(entries: Mapping[str, Sequence[Entry]], form: Form) -> Document:
    """Applications with some of their instances, as for a virtual address."""
    applications = [Application.of(name, some) for name, some in entries.items()]
    return Document(_applications(applications, form, "-1", hashcode(applications), {}, {}))


def of_instance(entry: Entry, form: Form) -> Document:
    """One instance."""
    text = entry.text(form)
    return Document([_Piece(b'{"instance":%b}' % text if form.is_json else text)])


def _applications(applications: Iterable[Application], form: Form, version: str, hashed: str,
                  kept: Mapping[Bucket, _Piece], used: dict[Bucket, _Piece]) -> Iterator[_Piece]:
    if form.is_json:
        yield _glue(f'{{"applications":{{"versions__delta":"{version}","apps__hashcode":"{hashed}","application":[')
    else:
        yield _glue(f"<applications><versions__delta>{version}</versions__delta>"
                    f"<apps__hashcode>{hashed}</apps__hashcode>")
    for number, application in enumerate(applications):
        if number and form.is_json:
            yield _glue(",")
        yield from _application(application, form, kept, used)
    yield _glue("]}}" if form.is_json else "</applications>")


def _application(application: Application, form: Form, kept: Mapping[Bucket, _Piece], used: dict[Bucket, _Piece], *,
                 outermost: bool = False) -> Iterator[_Piece]:
    if form.is_json:
        head = f'{{"name":{json.dumps(application.name, ensure_ascii=False)},"instance":['
        yield _glue(f'{{"application":{head}' if outermost else head)
    else:
        yield _glue(f"<application><name>{escape(application.name)}</name>")
    separator = b"," if form.is_json else b""
    begun = False
    for bucket in application.buckets:
        if not bucket:
            continue
        if begun and separator:
            yield _glue(",")
        begun = True
        piece = kept.get(bucket)
        if piece is None:
            piece = _Piece(separator.join([entry.text(form) for entry in bucket]))
        used[bucket] = piece
        yield piece
    if form.is_json:
        yield _glue("]}}" if outermost else "]}")
    else:
        yield _glue("</application>")


def _glue(text: str) -> _Piece:
    return _Piece(text.encode(), stored=True)
