"""Validators: whether a client has an answer already that is kept here (RFC 9111, 4.3.2). Pure.

``If-None-Match`` is compared weakly with the answer's ETag, and decides alone. Without it ``If-Modified-Since`` is
compared with Last-Modified, or with the Date of an answer that has none. ``If-Match`` and ``If-Unmodified-Since`` are
for the origin alone, and say nothing here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ...core.retry_after import http_date
from .exchange import Header
from .named_values import header_value

_ENTITY_TAG: Final = re.compile(rb'(?:W/)?("[^"]*")')
#: Of the body that the client has already (RFC 9110, 15.4.5).
_OF_THE_BODY: Final = frozenset({
    b"content-length", b"content-type", b"content-encoding", b"content-language", b"content-range"})


def has_it_already(asked: Sequence[Header], kept: Sequence[Header]) -> bool:
    """Whether the headers of a GET ask for an answer only if it is another than the one with the *kept* headers."""
    tags = [value for name, value in asked if name == b"if-none-match"]
    if tags:
        known = _ENTITY_TAG.fullmatch(header_value(kept, b"etag") or b"")
        return b"*" in tags or (known is not None and known[1] in _ENTITY_TAG.findall(b",".join(tags)))
    since = _date(header_value(asked, b"if-modified-since"))
    changed = _date(header_value(kept, b"last-modified") or header_value(kept, b"date"))
    return since is not None and changed is not None and changed <= since


def not_modified(headers: Sequence[Header]) -> list[Header]:
    """The headers of an answer as those of 304, which is given in its place."""
    return [header for header in headers if header[0] not in _OF_THE_BODY]


def _date(value: bytes | None) -> float | None:
    return None if value is None else http_date(value.decode("latin-1"))
