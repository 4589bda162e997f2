"""Event streams (text/event-stream): the events of one, as it comes. Pure.

See the HTML standard, "Server-sent events", for the format. Comments and events without data are what servers send to
keep a connection open: they say nothing of whether the answer has begun, and are no events here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import inf
from typing import Final

import attrs

from .named_values import header_value

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_PREFIX: Final = len("event: ")  # the longest of those that count
_BOM: Final = b"\xef\xbb\xbf"


@attrs.frozen
class ServerSentEvent:
    """An event.

    Attributes:
        name: Its type; "message" if it does not say.
        data: Its data, lines joined.
    """

    name: str
    data: bytes


class EventStreamReader:
    """Reads one stream, piece by piece. Of one task.

    Args:
        most: Bytes of one event's data, which is passed over if it is larger, and of its type.
    """

    __slots__ = ("_after_cr", "_data", "_is_begun", "_is_cut", "_most", "_name", "_rest", "_size")

    def __init__(self, most: float = inf) -> None:
        self._most = most
        self._is_begun = False
        self._rest = bytearray()  # a line that is not over
        self._after_cr = False  # a LF in the beginning of the next piece belongs to the end of the last line
        self._is_cut = False  # the line that is not over was too long, and its beginning is gone
        self._name = b""
        self._data: list[bytes] = []  # of the event that is not over
        self._size = 0

    def events(self, piece: bytes) -> Iterator[ServerSentEvent]:
        """The events that are over with the next *piece*; all of them must be taken."""
        for line in self._lines(piece):
            if line:
                self._field(line)
                continue
            if self._data and self._size <= self._most:
                yield ServerSentEvent(self._name.decode("utf-8", "replace") or "message", b"\n".join(self._data))
            self._name, self._data, self._size = b"", [], 0

    def _field(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._size += len(value) + 1
            if self._size <= self._most:
                self._data.append(value)
        elif field == b"event" and len(value) <= self._most:
            self._name = value

    def _lines(self, piece: bytes) -> Sequence[bytes]:
        """The lines that are over with *piece*; what is left of it is kept."""
        if not piece:
            return ()
        if self._after_cr:
            piece = piece.removeprefix(b"\n")
        lines = list[bytes]()
        if self._is_begun and not _LINE_END.search(piece):  # of a long line, each byte is looked at once
            self._after_cr = False
            self._rest += piece
        else:
            text = bytes(self._rest) + piece
            if not self._is_begun:
                if _BOM.startswith(text):
                    self._rest[:] = text
                    return ()  # that may become a byte order mark
                text, self._is_begun = text.removeprefix(_BOM), True
            *lines, self._rest[:] = _LINE_END.split(text)
            self._after_cr = text.endswith(b"\r")
        if self._is_cut and lines:
            del lines[0]
            self._is_cut = False
        if self._is_cut or len(self._rest) > self._most + _PREFIX:
            if not self._is_cut and self._rest.startswith(b"data:"):
                self._size += len(self._rest)  # so that this event is too large
            self._is_cut = True
            self._rest.clear()
        return lines


def first_event(begun: bytes) -> ServerSentEvent | None:
    """The first event in what has *begun* to come of a stream; None: there is none yet."""
    return next(EventStreamReader().events(begun), None)


def is_event_stream(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether an answer with these *headers* is an event stream."""
    kind = header_value(headers, b"content-type") or b""
    return kind.partition(b";")[0].strip().lower() == b"text/event-stream"
