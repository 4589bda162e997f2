"""Content coding: which answers gain by gzip, and what becomes of their heads. Pure.

gzip is what zlib has and every client knows; ``deflate`` means two formats on the web, and is never chosen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from ..messages.content import OF_THE_BYTES, is_coded, media_type
from ..messages.exchange import Header
from ..messages.framing import EMPTY
from ..messages.named_values import header_values

#: Media types that are text, or as good as text.
TEXTS: Final = ("text/*", "application/json", "+json", "application/javascript", "application/xml", "+xml")
#: Whoever reads it must have each event at once, and one compressor takes 256 KiB for as long as the stream lasts.
_EVENTS: Final = "text/event-stream"
_TYPE: Final = re.compile(r"\+[a-z0-9.-]+|[a-z0-9][a-z0-9.+-]*/(?:\*|[a-z0-9][a-z0-9.+-]*)").fullmatch
_DENSE: Final = ("image/", "audio/", "video/", "application/grpc")
#: Headers that say something of the bytes of one coding.
_OF_THE_BYTES: Final = OF_THE_BYTES | {b"content-length"}


def type_mistake(name: object) -> str | None:
    """What is wrong with a media type that is to be compressed; None: nothing."""
    if not isinstance(name, str) or not _TYPE(name):
        return 'a media type must be such as "application/json", "text/*" or "+json", in lower case'
    if name.startswith(_DENSE) and not name.endswith("+xml"):
        return "what is compressed already, or frames its own messages, only gets slower by it"
    return None


class MediaTypes:
    """Media types that are compressed."""

    def __init__(self, names: Sequence[str]) -> None:
        """Take the *names*: a whole type, all of a kind (``text/*``), or all with a suffix (``+json``)."""
        self._whole = frozenset(names)
        self._parts = tuple(name.removesuffix("*") for name in names if name.endswith("/*"))
        self._suffixes = tuple(name for name in names if name.startswith("+"))

    def have(self, media: str) -> bool:
        """Whether this type is among them. Event streams are only if they are named."""
        if media in self._whole:
            return True
        return media != _EVENTS and not media.startswith("application/grpc") \
            and (media.startswith(self._parts) or media.endswith(self._suffixes))


def may_be_coded(types: MediaTypes, status: int, headers: Sequence[Header]) -> bool:
    """Whether an answer with this head is sent compressed to those who prefer that.

    For 304 this says whether the answer that the client has may have been.
    """
    if status in (204, 205, 206) or is_coded(headers) or forbids_changes(headers):
        return False
    media = media_type(headers)
    return status == 304 if media is None else types.have(media)


def forbids_changes(headers: Iterable[Header]) -> bool:
    """Whether a message with these *headers* must not be transformed on its way."""
    return any(b"no-transform" in value.lower() for value in header_values(headers, b"cache-control"))


def has_body(method: str, status: int) -> bool:
    """Whether an answer with this *status* to this *method* has a body."""
    return method != "HEAD" and status not in EMPTY


def varied(headers: Sequence[Header]) -> list[Header]:
    """The *headers*, saying that the answer depends on Accept-Encoding; once."""
    lines = list(headers)
    last = -1
    for index, (name, value) in enumerate(lines):
        if name == b"vary":
            if not {each.strip().lower() for each in value.split(b",")}.isdisjoint((b"accept-encoding", b"*")):
                return lines
            last = index
    if last < 0:
        lines.append((b"vary", b"Accept-Encoding"))
    else:
        lines[last] = b"vary", lines[last][1] + b", Accept-Encoding"
    return lines


def weakened(headers: Iterable[Header]) -> list[Header]:
    """The *headers* with a weak entity tag: what it names has the same meaning, and no longer the same bytes."""
    return [(name, b"W/" + value) if name == b"etag" and not value.startswith(b"W/") else (name, value)
            for name, value in headers]


def coded(headers: Iterable[Header]) -> list[Header]:
    """The *headers* of the same answer, compressed; without its length."""
    return [*(line for line in weakened(headers) if line[0] not in _OF_THE_BYTES), (b"content-encoding", b"gzip")]


def without_digests(trailers: Iterable[Header]) -> list[Header]:
    """The *trailers*, but for what they say of the bytes that were compressed."""
    return [line for line in trailers if line[0] not in _OF_THE_BYTES]
