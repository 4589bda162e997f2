"""Frames as they come from a server, before h2 reads them. Pure.

h2 leaves three things open. After a GOAWAY it reads nothing more, although the server still ends what it has taken on;
so that frame is taken out here. It buffers a frame that is too long until all of it is there. And it does not bound
frames that are no part of an answer; they are counted here.
"""

from __future__ import annotations

from typing import Final

import attrs

#: What a frame may have (RFC 9113, 4.2); nobody was told that it may have more.
MAX_FRAME_BYTES: Final = 16_384
_HEAD: Final = 9
_DATA, _HEADERS, _SETTINGS, _GOAWAY = 0x0, 0x1, 0x4, 0x7
_END_STREAM: Final = 0x1


class FrameError(Exception):
    """What came is not HTTP/2."""


@attrs.frozen
class GoAway:
    """The server takes no more requests on this connection.

    Attributes:
        last: The highest stream that it has taken on, or may still do.
        code: Why; 0: it is about to close.
        detail: In its own words.
    """

    last: int
    code: int
    detail: bytes


class FrameReader:
    """Reads one connection.

    Attributes:
        cheap: Frames so far that cost their sender nothing, and are no part of an answer.
    """

    __slots__ = ("_begun", "_left", "_rest", "cheap")

    def __init__(self) -> None:
        self._rest = b""  # the beginning of a frame
        self._left = 0  # bytes to come of a frame that was begun
        self._begun = False
        self.cheap = 0

    def feed(self, data: bytes) -> list[bytes | GoAway]:
        """What h2 is to read of *data*, and what stood in between.

        Raises:
            FrameError: It is not HTTP/2.
        """
        data = self._rest + data if self._rest else data
        found: list[bytes | GoAway] = []
        begin, at, size = 0, self._left, len(data)
        while at + _HEAD <= size:
            length, kind = int.from_bytes(data[at:at + 3]), data[at + 3]
            if not self._begun and kind != _SETTINGS:
                raise FrameError("the endpoint does not speak HTTP/2")
            if length > MAX_FRAME_BYTES:
                raise FrameError("a frame is too large")
            self._begun = True
            end = at + _HEAD + length
            if kind == _GOAWAY:
                if end > size:
                    break
                if begin < at:
                    found.append(data[begin:at])
                found.append(_goaway(data[at + _HEAD:end]))
                begin = end
            elif kind == _DATA:
                self.cheap += not length and not data[at + 4] & _END_STREAM
            elif kind != _HEADERS:
                self.cheap += 1
            at = end
        known = min(at, size)
        if begin < known:
            found.append(data[begin:known])
        self._left, self._rest = max(0, at - size), data[known:]
        return found


def _goaway(payload: bytes) -> GoAway:
    if len(payload) < 8:
        raise FrameError("a GOAWAY is too short")
    return GoAway(int.from_bytes(payload[:4]) & 0x7FFF_FFFF, int.from_bytes(payload[4:8]), payload[8:])
