"""Events: bytes of an event stream in, data of its events out.

Follows the WHATWG grammar as far as a metrics stream needs it, as the page does: lines end with CR, LF or CRLF,
the `data` lines of one event are joined with LF, comments and other fields are skipped. How long an event may be is
bounded by whoever reads the stream (upstream.py).
"""

from __future__ import annotations

import re

_LINE_END = re.compile(rb"\r\n|\n|\r")


class EventReader:
    """Reads one stream. Belongs to one task."""

    def __init__(self) -> None:
        self._begun: list[bytes] = []  # pieces of a line that has not ended; joined once, however many there are
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> list[bytes]:
        """Take the next piece; returns the data of each event that it completes, lines joined with LF."""
        ended = self._begun and self._begun[-1].endswith(b"\r")
        self._begun.append(piece)
        if not ended and _LINE_END.search(piece) is None:
            return []
        text = b"".join(self._begun)
        held = b"\r" if text.endswith(b"\r") else b""  # its LF may come with the next piece
        *lines, rest = _LINE_END.split(text[: len(text) - len(held)])
        self._begun = [rest + held]
        return [data for line in lines if (data := self._line(line)) is not None]

    def _line(self, line: bytes) -> bytes | None:
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif not line and self._data:
            data, self._data = b"\n".join(self._data), []
            return data
        return None
