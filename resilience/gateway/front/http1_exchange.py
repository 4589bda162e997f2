"""One request of an HTTP/1.1 connection and its answer: the Inbound that the gateway serves."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from socket import SO_LINGER, SOL_SOCKET
from typing import TYPE_CHECKING, Final

from ..messages.chunks import LAST_CHUNK, write_chunk
from ..messages.exchange import Header, Piece
from ..messages.framing import BODILESS
from ..messages.inbound import BodyBrokenError, ClientGoneError
from ..messages.trailers import trailer_lines
from ..messages.tunnel import TunnelEnd
from .answer import CONTINUE, AnswerHead, InvalidAnswerError, interim_bytes
from .parser import Incoming

if TYPE_CHECKING:
    from .http1 import Http1Connection

PROBE_AGAIN_S: Final = 1.0
_RESET: Final = struct.pack("ii", 1, 0)  # close at once, and send nothing more than that


class Http1Exchange:
    """A request, and the Inbound of it. Of the one task of its connection.

    Attributes:
        request: As far as it has come.
        started: Whether an answer has begun.
        answered: Whether all of an answer was written.
        switched: Whether the connection was given away to a tunnel.
    """

    started = answered = switched = False
    _chunked = _bodyless = _probed = _wrote = False
    _head = b""  # of the answer, until something of its body goes with it
    _left: int | None = None

    def __init__(self, connection: Http1Connection, request: Incoming) -> None:
        self._connection, self.request = connection, request
        self.head, self.hop = request.head, request.hop

    # -- the request

    @property
    def trailers(self) -> Sequence[Header]:
        """See Inbound."""
        return self.request.trailers

    async def receive(self) -> tuple[Piece, bool]:
        """See Inbound."""
        connection, request = self._connection, self.request
        if request.expects_continue:
            request.expects_continue = False
            if not request.pieces and not request.complete and not connection.gone:
                connection.transport.write(CONTINUE)
        while not request.pieces:
            if request.complete and not request.ended:
                request.ended = True
                return b"", False
            if request.broken or connection.gone:
                raise BodyBrokenError
            await connection.wait()
        pieces = request.pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        request.pieces = []
        request.buffered = 0
        request.ended = request.complete
        connection.pipeline.body_was_taken()
        return body, not request.complete

    def body_is_over(self) -> None:
        """See Inbound."""
        if self._connection.gone:
            self._connection.cancel()

    def probe(self) -> float | None:
        """Find out whether a client that has sent all that it will still reads.

        Returns:
            Seconds until that is to be done again; None: it is gone, or nobody can tell.
        """
        connection = self._connection
        if connection.writable is not None:  # it has something to take, and a bound for that
            return PROBE_AGAIN_S
        if self.started:  # nothing can be sent in the middle of an answer to find out
            wrote, self._wrote = self._wrote, False
            return PROBE_AGAIN_S if wrote else None
        if self.head.version == "1.1":
            connection.transport.write(CONTINUE)
        probed, self._probed = self._probed, True
        return PROBE_AGAIN_S if probed else 0.0  # one that is gone answers by a reset, which only the next one meets

    # -- the answer

    def interim(self, status: int, headers: Sequence[Header]) -> None:
        """See Inbound."""
        connection = self._connection
        if not self.started and not connection.gone and self.head.version == "1.1":
            connection.transport.write(interim_bytes(status, headers))

    def switch(self, headers: Sequence[Header]) -> TunnelEnd:
        """See Inbound."""
        connection = self._connection
        head = AnswerHead(101, headers, connection.front.date).bytes(b"connection: upgrade\r\n")
        end = connection.give_away(head)
        self.started = self.switched = True
        return end

    async def respond(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """See Inbound."""
        if self._connection.gone:
            raise ClientGoneError
        self.write_whole(status, headers, body)

    def write_whole(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """Write a whole response, without a look at whether the client is there."""
        answer = AnswerHead(status, headers, self._connection.front.date)
        framing = self._connection_line(answer)
        if self.head.method == "HEAD" or status in BODILESS:
            body = b""
            if answer.length is not None and status != 204:
                framing = b"content-length: %d\r\n" % answer.length + framing
        else:
            framing = b"content-length: %d\r\n" % len(body) + framing
        self._connection.transport.write(answer.bytes(framing, body))
        self.started = self.answered = True

    async def start(self, status: int, headers: Sequence[Header]) -> None:
        """See Inbound."""
        answer = AnswerHead(status, headers, self._connection.front.date)
        head = self.head
        self._chunked, self._left = False, answer.length
        self._bodyless = head.method == "HEAD" or status in BODILESS
        framing = b""
        if answer.length is not None and status != 204:
            framing = b"content-length: %d\r\n" % answer.length
        elif not self._bodyless:
            if head.version == "1.1":
                self._chunked = True
                framing = b"transfer-encoding: chunked\r\n"
            else:
                answer.close = True  # which says where the body ends
        self._head = answer.bytes(framing + self._connection_line(answer))
        self.started = True

    def _connection_line(self, answer: AnswerHead) -> bytes:
        """What is said of the connection, which decides about it, too."""
        request = self.request
        said = b"upgrade" if answer.upgrades else b""  # whoever names protocols must say this, too (RFC 9110, 7.8)
        if not self._connection.keep(not answer.close and request.keep_alive and request.complete):
            said = b"close, upgrade" if said else b"close"
        elif self.head.version != "1.1":
            said = b"keep-alive"
        return b"connection: %b\r\n" % said if said else b""

    async def write(self, piece: Piece) -> None:
        """See Inbound."""
        self._send(piece, b"")
        connection = self._connection
        if connection.writable is not None:
            await connection.front.taken(connection.writable, connection.transport)
        if connection.gone:
            raise ClientGoneError

    async def end(self, piece: Piece, trailers: Sequence[Header] = ()) -> None:
        """See Inbound."""
        last = LAST_CHUNK if self._chunked else b""
        if trailers and self._chunked and self.hop is not None and self.hop.takes_trailers:
            last = b"0\r\n%b\r\n" % trailer_lines(trailers)
        self._send(piece, last)
        if self._left and not self._bodyless:  # shorter than it was said to be
            raise ClientGoneError
        self.answered = True
        connection = self._connection
        if connection.writable is not None:
            await connection.front.taken(connection.writable, connection.transport)

    def break_off(self) -> None:
        """Let the connection end by a reset, if its end would say that the answer is complete (RFC 9112, 8)."""
        is_delimited = self._chunked or self._bodyless or self._left is not None
        transport = self._connection.transport
        if self.started and not self.answered and not is_delimited and not transport.is_closing():
            transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, _RESET)

    def _send(self, piece: Piece, last: bytes) -> None:
        """Write a piece of the body, with the head before the first and what ends it after the last."""
        connection = self._connection
        if connection.gone:
            raise ClientGoneError
        head, self._head = self._head, b""
        self._wrote = True
        if self._bodyless:
            piece = b""
        elif self._left is not None:
            self._left -= len(piece)
            if self._left < 0:
                raise InvalidAnswerError
        elif self._chunked and piece:
            write_chunk(connection.transport, piece, head, last)
            return
        connection.transport.write(head + piece + last if head or last else piece)
