"""Wire: h2 on a transport, and what both ends of a connection send there: heads, bodies as windows allow, resets."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event
from h2.exceptions import ProtocolError
from hpack import Encoder
from hyperframe.frame import Frame, GoAwayFrame

from ..messages.exchange import Header

_PENDING: Final = 16 * 1024  # bytes that wait for the event loop's next turn
#: Of the table that answers are compressed by. A larger one saves few bytes, and costs much time (see TableEncoder).
TABLE_BYTES: Final = 4096
#: The last stream of a GOAWAY that refuses none (RFC 9113, 6.8).
ANY_STREAM: Final = 2**31 - 1
Bytes = bytes | bytearray | memoryview


class TableEncoder(Encoder):
    """Encodes fields with a dynamic table whose size is ours to choose, up to what the other end allows.

    hpack takes any size that it is told, and looks for each field through the whole table: with the 2 GiB that a peer
    may allow, each answer with new values would make the next one slower. What came of two changes before one field
    section is not told well either: of the sizes in between, the smallest and the last are due (RFC 7541, 4.2).
    """

    def __init__(self, most: int, *, huffman: bool) -> None:
        """The table has the size that both ends begin with, or *most* bytes, if that is less.

        Args:
            most: Bytes that the table may have.
            huffman: Whether literals are written in Huffman's code.
        """
        super().__init__()
        self._most, self._huffman = most, huffman
        self.header_table_size = self.header_table.maxsize

    @property
    def header_table_size(self) -> int:
        """How large the table is at most. Setting it says what the other end allows."""
        return self.header_table.maxsize

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        table, changes, size = self.header_table, self.table_size_changes, min(value, self._most)
        if size != table.maxsize:
            table.maxsize = size
            smallest = min((size, *changes[:1]))
            self.table_size_changes = [size] if smallest == size else [smallest, size]

    def encode(self, headers: Any, huffman: bool = True) -> bytes:
        """See hpack."""
        return super().encode(headers, huffman and self._huffman)


class H2(H2Connection):
    """h2 as it is used here: it checks no fields, which fields.py does, forgets old streams, and outlives a GOAWAY."""

    MAX_CLOSED_STREAMS = 1024  # remembered

    def __init__(self, *, client_side: bool) -> None:
        super().__init__(H2Configuration(
            client_side=client_side, header_encoding=None, validate_inbound_headers=False,
            normalize_inbound_headers=False, validate_outbound_headers=False, normalize_outbound_headers=False))
        # Many clients share a connection to an upstream: nothing of one's requests shows in the size of another's.
        # Huffman's code costs more time there than its bytes do on the way.
        self.encoder = TableEncoder(0 if client_side else TABLE_BYTES, huffman=not client_side)

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        """Tell of a GOAWAY, and go on: what is under way may end all the same (RFC 9113, 6.8); to h2 all is over."""
        said = ConnectionTerminated()
        said.error_code, said.last_stream_id = frame.error_code, frame.last_stream_id
        return [], [said]


class Wire:
    """What is sent on one connection. Of one event loop.

    Attributes:
        h2: Says which bytes.
        transport: Takes them.
        paused: Whether it has enough for now.
        is_over: Whether nothing more may be sent.
    """

    __slots__ = ("_flushing", "_held", "_loop", "_window", "h2", "is_over", "paused", "transport")

    def __init__(self, h2: H2, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.h2, self.transport, self._loop = h2, transport, loop
        self.paused = self.is_over = self._flushing = False
        self._held, self._window = 0, 65_535  # of the connection; RFC 9113, 6.9.2

    def put_some(self, number: int, piece: Bytes, *, end: bool) -> int:
        """Send so much of a body as there is room for, and how much that was.

        Args:
            number: Of the stream.
            piece: More than nothing.
            end: Whether the body is complete with it.

        Raises:
            ProtocolError: The stream is closed.
        """
        room = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size, len(piece))
        if self.paused or room <= 0:
            return 0
        self.put(number, bytes(piece[:room]), end=end and room == len(piece))
        return room

    def is_open(self, number: int) -> bool:
        """Whether the window of a stream has room, whatever that of the connection has."""
        stream = self.h2.streams.get(number)
        return stream is not None and stream.outbound_flow_control_window > 0

    def put(self, number: int, piece: bytes, *, end: bool) -> None:
        """Send a piece of a body, for which there is room.

        Raises:
            ProtocolError: The stream is closed.
        """
        self.h2.send_data(number, piece, end_stream=end)
        if len(piece) >= _PENDING:
            self.flush()
        else:
            self.flush_soon()

    def put_fields(self, number: int, fields: list[Header], *, end: bool = False) -> None:
        """Send a field section.

        Raises:
            ProtocolError: The stream is closed.
        """
        self.h2.send_headers(number, fields, end_stream=end)
        self.flush_soon()

    def widen(self, window: int) -> None:
        """Let the window of the connection have so many bytes in all."""
        self.h2.increment_flow_control_window(window - self._window)
        self._window = window

    def hold(self, size: int, most: int) -> None:
        """So many bytes of a body have come, and are held until release().

        If what all streams hold is half of the connection's window, it is doubled, up to *most* bytes: bodies that
        nobody takes stop no others.
        """
        self._held += size
        if self._held > self._window // 2 and self._window < most and not self.is_over:
            self.widen(min(most, 2 * self._window))
            self.flush_soon()

    def release(self, number: int, size: int) -> None:
        """So many bytes that hold() was told of are taken."""
        self._held -= size
        self.give_back(number, size)

    def give_back(self, number: int, held: int) -> None:
        """Open the windows again: *held* bytes of a body are taken."""
        if held and not self.is_over:
            self.h2.acknowledge_received_data(held, number)
            self.flush_soon()

    def open_window(self, number: int, held: int) -> None:
        """Open one window alone: that of a stream, or of the connection (0), for what give_back() is not called for."""
        stream = self.h2.streams.get(number)
        if held and not self.is_over and (not number or (stream is not None and stream.open)):
            self.h2.increment_flow_control_window(held, number or None)
            self.flush_soon()

    def reset(self, number: int, code: ErrorCodes) -> None:
        """Reset a stream, unless it is closed already."""
        if not self.is_over:
            try:
                self.h2.reset_stream(number, code)
            except ProtocolError:
                return
            self.flush_soon()

    def goaway(self, last: int) -> None:
        """Ask the other end for no streams after the *last* one; h2 could not go on then, so it never learns of it."""
        self.flush()
        self.transport.write(GoAwayFrame(0, last_stream_id=last).serialize())

    def flush_soon(self) -> None:
        """Write what is to be sent, with all else that this turn of the event loop brings."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what is to be sent."""
        self._flushing = False
        data = self.h2.data_to_send()
        if data and not self.transport.is_closing():
            self.transport.write(data)
