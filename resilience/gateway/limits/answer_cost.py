"""Answer costs: what a request really took, read from its answer as it passes. Pure.

A cost stands in a header, or in the JSON of the body, at one or more pointers (RFC 6901) whose numbers are added. An
answer of server-sent events is read event by event, and for each pointer the last event counts in which it has a
number, as model vendors send their ``usage``. Some begin with what the request cost so far, and say the rest in the
end; so a stream that does not come to its end, because it broke off or its client left, costs the estimate at least:
who leaves early would pay next to nothing. Nothing is held up: the pieces are looked at, and at most so much of them
is kept as a JSON body or an event may have. What is larger, is coded (gzip), or is no JSON says nothing, and the
estimate stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from ..messages.content import is_coded, may_be_json
from ..messages.event_stream import EventStreamReader, is_event_stream
from ..messages.exchange import Header
from ..messages.json_pointer import found, parsed
from ..messages.json_text import MOST_VALUES, check_size
from ..messages.named_values import header_value

#: Bytes of a body that are kept to be read.
MAX_JSON: Final = 1 << 20
#: Bytes of one event's data.
MAX_EVENT: Final = 1 << 16
_MOST: Final = 1e15  # units: what is beyond is no cost
_NUMBER: Final = re.compile(rb"\d{1,15}(?:\.\d{1,15})?")


def units_at(value: Any, pointers: Sequence[str]) -> float | None:
    """The sum of the numbers that stand at *pointers*; None if there is none."""
    costs = [each for each in (found(value, parsed(pointer)) for pointer in pointers) if _is_cost(each)]
    return float(sum(costs)) if costs else None


def units_in(text: str | bytes | None) -> float | None:
    """The number that a header says; None if it says none."""
    if text is None:
        return None
    raw = text.encode("latin-1", "replace") if isinstance(text, str) else text
    return float(raw) if _NUMBER.fullmatch(raw.strip(b" \t")) else None


def json_of(text: bytes) -> Any:
    """The value of a JSON *text*; None if it is none, or has more values than may be parsed."""
    try:
        check_size(text, MOST_VALUES)
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_cost(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= _MOST


class AnswerCost:
    """Reads the cost of one answer. Of one task; see logs.observed_request.AnswerReader."""

    __slots__ = ("_body", "_events", "_header", "_last", "_marks", "_pointers", "_stated")

    def __init__(self, header: str | None, pointers: Sequence[str]) -> None:
        """Read nothing yet.

        Args:
            header: Name of the header that says it, which goes before the body.
            pointers: Where in the body's JSON, or in that of an event, it stands.
        """
        self._header = None if header is None else header.lower().encode()
        self._pointers = pointers
        self._stated: float | None = None
        self._events: EventStreamReader | None = None  # of a stream of events
        self._body: bytearray | None = None  # of another answer that is read
        self._marks: dict[str, re.Pattern[bytes]] = {}
        self._last: dict[str, float] = {}

    def units(self, estimate: float, *, is_whole: bool) -> float | None:
        """What the answer says that it cost; None: nothing.

        Args:
            estimate: What it was expected to cost.
            is_whole: Whether it came to its end.
        """
        if self._stated is not None:
            return self._stated
        if self._events is not None:
            said = sum(self._last.values())
            return None if not self._last else said if is_whole else max(said, estimate)
        return units_at(json_of(bytes(self._body)), self._pointers) if self._body else None

    def head(self, status: int, headers: Sequence[Header]) -> None:
        """See AnswerReader."""
        if self._header is not None:
            self._stated = units_in(header_value(headers, self._header))
        if not self._pointers or is_coded(headers):
            return
        if is_event_stream(headers):
            self._events = EventStreamReader(MAX_EVENT)
            self._marks = {pointer: re.compile(rb'"%b"\s*:\s*[0-9]' % re.escape(pointer.rpartition("/")[2].encode()))
                           for pointer in self._pointers}
        elif may_be_json(headers):
            self._body = bytearray()

    def piece(self, data: bytes) -> None:
        """See AnswerReader."""
        if self._events is not None:
            for event in self._events.events(data):
                self._event(event.data)
        elif self._body is not None:
            self._body += data
            if len(self._body) > MAX_JSON:
                self._body = None

    def _event(self, data: bytes) -> None:
        wanted = [pointer for pointer, mark in self._marks.items() if mark.search(data)]
        if wanted:
            value = json_of(data)
            for pointer in wanted:
                cost = found(value, parsed(pointer))
                if _is_cost(cost):
                    self._last[pointer] = float(cost)
