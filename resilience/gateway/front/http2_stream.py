"""One stream of an HTTP/2 connection: a request, the task that serves it, and its answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from math import inf
from typing import TYPE_CHECKING, Final

from h2.errors import ErrorCodes

from ..http2.fields import trailer_fields, trailers_of
from ..messages.exchange import Header, Piece
from ..messages.framing import BODILESS
from ..messages.grpc_status import answer_of, is_grpc, trailers_for
from ..messages.inbound import BodyBrokenError, ClientGoneError, RequestHead
from ..messages.problem import Problem
from ..messages.tunnel import TunnelEnd
from .answer import InvalidAnswerError
from .http2_fields import Http2Request, answer_fields, interim_fields
from .read_progress import LEAST_TAKEN, ReadProgress
from .refusal import SHUTTING_DOWN

if TYPE_CHECKING:
    from .http2 import Http2Connection

MAX_STREAMS: Final = 100
STREAM_WINDOW: Final = 128 * 1024
#: Bytes of bodies that one connection may hold: the windows of all streams, since each of them may be at a service that
#: takes nothing.
MOST_HELD: Final = MAX_STREAMS * STREAM_WINDOW
_NOTHING: Final = memoryview(b"")
_logger: Final = logging.getLogger("resilience.gateway")


class Http2Stream:
    """A stream, and the Inbound of its request.

    Attributes:
        deadline: When it is reset unless its client has taken what is being sent.
        complete: Whether the whole request has come.
        gone: Whether nothing can be sent any more.
        started: Whether the head of an answer was sent.
        answered: Whether all of an answer was.
        task: Serves it.
    """

    __slots__ = (
        "_body", "_bodyless", "_connection", "_ends", "_left", "_mark", "_pending", "_request", "_room", "_waiter",
        "answered", "complete", "deadline", "gone", "head", "hop", "id", "started", "task", "trailers")

    def __init__(self, connection: Http2Connection, number: int, request: Http2Request, *, complete: bool) -> None:
        self._connection, self._request, self.id = connection, request, number
        self.head: RequestHead = request.head
        self.hop = request.hop
        self.trailers: Sequence[Header] = ()
        self.complete, self.gone = complete, False
        self.started = self.answered = self._bodyless = False
        self._left: int | None = None
        self._pending, self._ends = _NOTHING, False  # of the answer, and whether that ends with it
        self._body = bytearray()
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self.deadline = inf
        self.task = connection.front.loop.create_task(self._run())
        self.task.add_done_callback(self._ended)  # also if it is cancelled before it begins

    async def _run(self) -> None:
        request = self._request
        request.head.has_come = self.complete and not self.trailers
        try:
            if request.refusal is None:
                await self._connection.front.serve(self)
            else:
                await self.respond(*self._connection.front.refusal_answer(request.head, request.refusal, close=False))
        except ClientGoneError:
            pass
        except Problem as problem:  # of OpeningStream, behind what serves no problems
            await self.respond(*answer_of(problem, self.head))
        except Exception:
            _logger.exception("a request failed in the gateway")
            if not self.started and not self.gone:
                await self.respond(*answer_of(Problem(500, "the gateway failed"), self.head))

    def _ended(self, _: asyncio.Task[None]) -> None:
        self._connection.ended(self)

    # -- the connection tells

    def came(self, piece: bytes) -> None:
        """A piece of the body, which takes as much of the windows."""
        self._body += piece
        self._connection.wire.hold(len(piece), MOST_HELD)
        _wake(self._waiter)

    def take(self) -> bytes:
        """What came of the body; the windows are opened again."""
        body = bytes(self._body)
        self._body.clear()
        self._connection.wire.release(self.id, len(body))
        return body

    def completed(self) -> None:
        """The request is complete."""
        self.complete = True
        _wake(self._waiter)

    def trailers_came(self, fields: Iterable[Header]) -> None:
        """Trailers follow the body.

        Raises:
            MalformedError: They are none.
        """
        self.trailers = trailers_of(fields)

    def send_some(self) -> bool:
        """Send a frame of what is pending of the answer, if there is room; whether more is pending then."""
        if not self._pending:
            return False
        try:
            sent = self._connection.put_some(self, self._pending, end=self._ends)
        except ClientGoneError:
            self._give_up()
            return False
        self._pending = self._pending[sent:]
        if not self._pending:
            _wake(self._room)
            return False
        return sent > 0

    def expire(self) -> None:
        """Its deadline has passed: it is reset, unless the client takes answers."""
        if not self._may_wait_on():
            self._connection.wire.reset(self.id, ErrorCodes.CANCEL)
            self._give_up()

    def _may_wait_on(self) -> bool:
        """Whether the client takes answers, though this one has waited until its deadline; if so, it has a new one.

        An answer that waits for its turn on the connection is not one that nobody takes. But a client that has closed
        the window of this one has no more time for it because it takes others.
        """
        connection, (sent, left, taking) = self._connection, self._mark
        is_taking = connection.wire.paused and taking.goes_on()
        if connection.sent - sent < min(left, LEAST_TAKEN) and not is_taking:
            return False
        if len(self._pending) == left and not connection.wire.is_open(self.id):
            return False
        self._wait_on()
        return True

    def leave(self) -> None:
        """The client has left it, or must."""
        if not self.gone:
            self.gone = True
            if not self.answered:
                self.task.cancel()

    def _give_up(self) -> None:
        """Nothing can be sent any more."""
        self.gone, self.deadline = True, inf
        _wake(self._room)

    # -- Inbound

    async def receive(self) -> tuple[bytes, bool]:
        """See Inbound."""
        if self._request.expects_continue:
            self._request.expects_continue = False
            if not self._body and not self.complete:
                self.interim(100, ())
        while not self._body and not self.complete:
            if self.gone:
                raise BodyBrokenError
            self._waiter = self._connection.front.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self.take(), not self.complete

    def body_is_over(self) -> None:
        """See Inbound."""  # a client that leaves cancels the task at any time

    def interim(self, status: int, headers: Sequence[Header]) -> None:
        """See Inbound."""
        fields = interim_fields(status, headers)
        if fields and not self.started and not self.gone:
            self._connection.put_fields(self, fields)

    def switch(self, headers: Sequence[Header]) -> TunnelEnd:
        """See Inbound."""
        raise ClientGoneError  # never asked for: see OpeningStream

    async def respond(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """See Inbound."""
        fields, length = answer_fields(status, headers, self._connection.front.date)
        if self.head.method == "HEAD" or status in BODILESS:
            body = b""
            if length is not None and status != 204:
                fields.append((b"content-length", b"%d" % length))
        elif body or length is not None:
            fields.append((b"content-length", b"%d" % len(body)))
        self._start(fields, end=not body)
        if body:
            await self._send(body, end=True)
        self.answered = True

    async def start(self, status: int, headers: Sequence[Header]) -> None:
        """See Inbound."""
        fields, self._left = answer_fields(status, headers, self._connection.front.date)
        self._bodyless = self.head.method == "HEAD" or status in BODILESS
        if self._left is not None and status != 204:
            fields.append((b"content-length", b"%d" % self._left))
        self._start(fields, end=self._bodyless)

    def _start(self, fields: list[Header], *, end: bool) -> None:
        if self.gone:
            raise ClientGoneError
        self.started = True
        self._connection.put_fields(self, fields, end=end)

    async def write(self, piece: Piece) -> None:
        """See Inbound."""
        await self._send(piece, end=False)

    async def end(self, piece: Piece, trailers: Sequence[Header] = ()) -> None:
        """See Inbound."""
        fields = trailer_fields(trailers) if trailers and self.hop is not None and self.hop.takes_trailers else []
        await self._send(piece, end=not fields)
        if fields and not self._bodyless:
            self._connection.put_fields(self, fields, end=True)
        self.answered = True

    def break_off(self, status: int, detail: str) -> None:
        """End an answer that goes on no further: a gRPC client is told why, any other has its stream reset."""
        if is_grpc(self.head) and self.hop is not None and self.hop.takes_trailers:
            self._connection.put_fields(self, trailers_for(status, detail), end=True)
            self.answered = True

    def shut_down(self) -> None:
        """The time to drain is over: say so, as far as there is room.

        Raises:
            ProtocolError: The stream is closed.
        """
        connection = self._connection
        if self.started:
            self.break_off(SHUTTING_DOWN.status, SHUTTING_DOWN.detail)
            return
        status, headers, body = SHUTTING_DOWN.answer(self.head, close=False)
        body = b"" if self.head.method == "HEAD" else body
        connection.put_fields(self, answer_fields(status, headers, connection.front.date)[0], end=not body)
        self.answered = not body or connection.wire.put_some(self.id, body, end=True) == len(body)

    async def _send(self, piece: Piece, *, end: bool) -> None:
        """Send a piece of the body as the windows and the turns of others allow."""
        if self.gone:
            raise ClientGoneError
        if self._bodyless:
            return
        if self._left is not None:
            self._left -= len(piece)
            if self._left < 0:
                raise InvalidAnswerError
            if end and self._left:  # shorter than it was said to be
                raise ClientGoneError
        if piece:
            self._pending, self._ends = memoryview(piece), end
            while self.send_some():
                pass
            if self._pending:
                await self._rest_sent()
        elif end:
            self._connection.end_body(self)

    async def _rest_sent(self) -> None:
        """Wait until the connection has sent what is pending, as there is room."""
        try:
            if not self.gone:
                self._wait_on()
                self._room = self._connection.front.loop.create_future()
                await self._room
            if self.gone:
                raise ClientGoneError
        finally:
            self._pending, self._room, self.deadline = _NOTHING, None, inf

    def _wait_on(self) -> None:
        """Wait for client_timeout from now on, and note what there is to see then whether the client takes anything."""
        connection = self._connection
        self._mark = connection.sent, len(self._pending), ReadProgress(connection.wire.transport)
        self.deadline = connection.front.loop.time() + connection.front.settings.client_timeout
        connection.look_at(self.deadline)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
