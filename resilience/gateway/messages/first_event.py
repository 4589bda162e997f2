"""FirstEvent: the first event with data in the beginning of an event stream (text/event-stream). Pure.

Comments and events without data are what servers send to keep a connection open: they say nothing of whether the
answer has begun. See the HTML standard, "Server-sent events", for the format.
"""

from __future__ import annotations

import re
from typing import Final

import attrs

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_BOM: Final = b"\xef\xbb\xbf"


@attrs.frozen
class FirstEvent:
    """An event.

    Attributes:
        name: Its type; "message" if it does not say.
        data: Its data, lines joined.
    """

    name: str
    data: bytes


def first_event(begun: bytes, is_over: bool = False) -> FirstEvent | None:
    """The first event with data in what has come of a stream; None: there is none yet.

    Args:
        begun: The stream from its beginning.
        is_over: Whether that is all of it. An event that no empty line ends is none, as the standard says.
    """
    lines = _LINE_END.split(begun.removeprefix(_BOM))
    if not is_over or lines[-1:] == [b""]:
        lines.pop()  # it may go on
    name, data = b"", list[bytes]()
    for line in lines:
        if not line:
            if data:
                return FirstEvent(name.decode("utf-8", "replace") or "message", b"\n".join(data))
            name = b""
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            name = value
        elif field == b"data":
            data.append(value)
    return None


def is_event_stream(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether an answer with these *headers* is an event stream."""
    kind = next((value for name, value in headers if name == b"content-type"), b"")
    return kind.partition(b";")[0].strip().lower() == b"text/event-stream"
