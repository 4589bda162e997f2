"""Lingering: streams whose requests were answered before their bodies had come. Pure: told the time.

A server may end such a stream by RST_STREAM with NO_ERROR at once (RFC 9113, 8.1). Many clients take that for a failure
if it comes with the answer, and forget the answer. So the rest of the body is taken and thrown away for a while, as
HTTP/1.1 does it (RFC 9112, 9.6), and the stream is reset when the time or the bytes are used up. Nobody serves it
meanwhile; it still is one of the streams that a client may have at once.
"""

from __future__ import annotations

from math import inf
from typing import Final

import attrs

LINGER_S: Final = 2.0
#: Of one body.
LINGER_BYTES: Final = 1024 * 1024


@attrs.define
class _Stream:
    until: float
    left: int = LINGER_BYTES


class Lingering:
    """The streams of one connection that linger, by number."""

    __slots__ = ("_streams",)

    def __init__(self) -> None:
        self._streams: dict[int, _Stream] = {}

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def deadline(self) -> float:
        """When the time of the next one is used up; infinite: there is none."""
        return min((each.until for each in self._streams.values()), default=inf)

    def begin(self, number: int, now: float) -> None:
        """A stream was answered, and its body has not come."""
        self._streams[number] = _Stream(now + LINGER_S)

    def take(self, number: int, size: int) -> bool:
        """So many bytes came for a stream; whether there is no more patience with it."""
        stream = self._streams.get(number)
        if stream is None:
            return False
        stream.left -= size
        return stream.left < 0

    def end(self, number: int) -> bool:
        """A stream is over; whether it lingered."""
        return self._streams.pop(number, None) is not None

    def due(self, now: float) -> list[int]:
        """The streams whose time is used up."""
        return [number for number, each in self._streams.items() if each.until <= now]
