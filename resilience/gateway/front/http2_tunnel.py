"""WebSockets over HTTP/2 (RFC 8441): a request by extended CONNECT, and its stream as one side of a tunnel.

To the gateway the request is the GET with an upgrade that HTTP/1.1 has in its place, with a Sec-WebSocket-Key of the
front's own; 101 becomes 200. The tunnel is given a transport that stands for the stream, and has its place in the
connection from then on:

    the end of either side's sending    END_STREAM
    a side that is cut                  RST_STREAM (CANCEL)
    a side that takes nothing           the window of the stream stays shut; that of the connection does not, so that
                                        other streams go on
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Iterable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, Final

from h2.errors import ErrorCodes

from ..http2.fields import MalformedError
from ..http2.wire import Bytes
from ..messages.exchange import Header, UpstreamError
from ..messages.inbound import ClientGoneError
from ..messages.problem import Problem
from ..messages.tunnel import TunnelEnd
from .http2_fields import answer_fields
from .http2_stream import Http2Stream

if TYPE_CHECKING:
    from .http2 import Http2Connection

#: So many bytes wait for room before the tunnel is told to stop writing, and so few before it is told to go on.
HIGH_WATER: Final = 64 * 1024
LOW_WATER: Final = 16 * 1024
_ACCEPT: Final = b"sec-websocket-accept"
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


class OpeningStream(Http2Stream):
    """A stream that is to become a tunnel, and the Inbound of its request, which has no body."""

    __slots__ = ()

    async def receive(self) -> tuple[bytes, bool]:
        """See Inbound. What the client sends is for the tunnel."""
        return b"", False

    def switch(self, headers: Sequence[Header]) -> TunnelEnd:
        """See Inbound."""
        accepted = base64.b64encode(hashlib.sha1(self._request.key + _GUID, usedforsecurity=False).digest())
        if [accepted] != [value for name, value in headers if name == _ACCEPT]:
            raise UpstreamError("the upstream has not accepted the WebSocket's key")
        connection = self._connection
        fields, _ = answer_fields(200, [each for each in headers if each[0] != _ACCEPT], connection.front.date)
        self._start(fields, end=False)
        transport = StreamTransport(connection, self)
        connection.give_away(transport)
        return TunnelEnd(transport, self.take(), self.complete)

    async def respond(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """See Inbound."""
        _refuse_success(status)
        await super().respond(status, headers, body)

    async def start(self, status: int, headers: Sequence[Header]) -> None:
        """See Inbound."""
        _refuse_success(status)
        await super().start(status, headers)


def _refuse_success(status: int) -> None:
    """The client would take any answer of success for a tunnel (RFC 9110, 9.3.6)."""
    if status < 300:
        raise Problem(502, "a WebSocket was asked for, and the answer opens none")


class StreamTransport(asyncio.Transport):
    """What a tunnel has of a stream, and what its connection has in the stream's place.

    Attributes:
        id: Of the stream.
        task: Runs the tunnel.
        deadline: None; see expire().
    """

    deadline: Final = inf

    def __init__(self, connection: Http2Connection, stream: Http2Stream) -> None:
        """Nothing is read yet."""
        super().__init__()
        self._connection, self._stream = connection, stream
        self.id, self.task = stream.id, stream.task
        self._protocol = asyncio.Protocol()
        self._pending = bytearray()
        self._held = 0  # bytes that the window of the stream is still to be opened for
        self._reads = self._is_full = self._ends = self._closing = self._lost = False

    # -- the connection tells

    @property
    def gone(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._stream.gone

    @property
    def answered(self) -> bool:
        """Whether all was sent, and nothing more is wanted."""
        return self._stream.answered

    def came(self, piece: bytes) -> None:
        """The client has sent a piece. While it is not read, no more follows than the window of the stream allows."""
        if piece and not self._closing:
            self._protocol.data_received(piece)
        if self._reads:
            self._connection.wire.give_back(self.id, len(piece))
        else:
            self._held += len(piece)
            self._connection.wire.open_window(0, len(piece))

    def completed(self) -> None:
        """The client has ended its sending."""
        self._stream.complete = True
        if not self._closing and not self._protocol.eof_received():
            self.close()

    def trailers_came(self, fields: Iterable[Header]) -> None:
        """RFC 9113, 8.5: there is nothing but data in a tunnel.

        Raises:
            MalformedError: Always.
        """
        raise MalformedError

    def send_some(self) -> bool:
        """Send a frame of what is pending, if there is room; whether more is pending then."""
        pending = self._pending
        if not pending:
            return False
        try:
            sent = self._connection.put_some(self, pending, end=self._ends)
        except ClientGoneError:
            self.leave()
            return False
        del pending[:sent]
        if self._is_full and len(pending) <= LOW_WATER:
            self._is_full = False
            self._protocol.resume_writing()
        if not pending and self._closing:
            self._closed()
        return sent > 0 and bool(pending)

    def expire(self) -> None:
        """It has no deadline: how long a tunnel waits is its own to say."""

    def leave(self) -> None:
        """The client has left it, or must."""
        if not self._stream.gone:
            self._stream.gone = True
            self._lose(ConnectionResetError("the stream was reset"))

    # -- the tunnel's side

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See asyncio.Transport; that of the connection."""
        return self._connection.wire.transport.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """See asyncio.Transport."""
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def is_closing(self) -> bool:
        """See asyncio.Transport."""
        return self._closing or self.gone

    def pause_reading(self) -> None:
        """See asyncio.Transport. What the window allows still comes."""
        self._reads = False

    def resume_reading(self) -> None:
        """See asyncio.Transport."""
        self._reads = True
        held, self._held = self._held, 0
        self._connection.wire.open_window(self.id, held)

    def write(self, data: Bytes) -> None:
        """See asyncio.Transport."""
        if self._ends or self.gone:
            return
        self._pending += data
        while self.send_some():
            pass
        if len(self._pending) > HIGH_WATER and not self._is_full:
            self._is_full = True
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        """See asyncio.Transport."""
        return True

    def get_write_buffer_size(self) -> int:
        """See asyncio.Transport."""
        return len(self._pending)

    def write_eof(self) -> None:
        """See asyncio.Transport."""
        if self._ends or self.gone:
            return
        self._ends = True
        if not self._pending:
            try:
                self._connection.end_body(self)
            except ClientGoneError:
                self.leave()

    def close(self) -> None:
        """See asyncio.Transport."""
        if not self._closing:
            self.write_eof()
            self._closing, self._reads = True, False
            if not self._pending and not self.gone:
                self._closed()

    def abort(self) -> None:
        """See asyncio.Transport."""
        self._closing = True
        if not self.gone and not self.answered:
            self._connection.wire.reset(self.id, ErrorCodes.CANCEL)
            self._stream.gone = True
        self._lose(None)

    def _closed(self) -> None:
        """All was sent."""
        self._stream.answered = True
        self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        self._pending.clear()
        if not self._lost:
            self._lost = True
            self._connection.front.loop.call_soon(self._protocol.connection_lost, error)
