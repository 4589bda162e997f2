"""One exchange with an upstream over HTTP/2: a stream of a connection that others share.

The request's body goes out as the windows and the transport allow; of the answer's body no more comes than a window
that is opened as it is taken. An exchange that is given up is reset, and its connection goes on.

A request that was never looked at (GOAWAY), or that came to a connection which had been idle and was closed just then,
is sent once more on another connection to the same endpoint, if its body is still there; the latter only if its
method is idempotent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from h2.exceptions import ProtocolError

from ..balancing.retry_state import IDEMPOTENT
from ..http2.fields import MalformedError, trailer_fields, trailers_of
from ..messages.exchange import (
    Endpoint,
    Header,
    InvalidRequestError,
    Piece,
    Request,
    UnprocessedError,
    UpstreamError,
    UpstreamUnreachableError,
)
from ..messages.framing import BODILESS
from ..messages.headers import interim_to_client, size_of
from ..messages.tunnel import TunnelEnd
from .http2_messages import MAX_HEAD_BYTES, MAX_TRAILERS, answer_of, due_of, request_fields

if TYPE_CHECKING:
    from .http2 import Http2Client
    from .http2_connection import Http2Connection

#: Interim responses to one request that are passed on.
_MAX_INTERIM: Final = 16


class Http2Exchange:
    """See messages.exchange.Exchange.

    Attributes:
        number: Of its stream.
        heard_before: How often its connection had been heard of when it began.
    """

    __slots__ = (
        "_chunks",
        "_client",
        "_connect_timeout",
        "_connection",
        "_due",
        "_endpoint",
        "_held",
        "_interims",
        "_is_again",
        "_left",
        "_pending",
        "_pieces",
        "_released",
        "_request",
        "_room",
        "_sent",
        "_waiter",
        "_was_idle",
        "answered",
        "complete",
        "failure",
        "headers",
        "heard_before",
        "number",
        "status",
        "trailers",
        "unwanted",
    )
    is_duplex, version = True, "2"

    def __init__(self, client: Http2Client, endpoint: Endpoint, request: Request, connect_timeout: float) -> None:
        self._client, self._endpoint, self._request = client, endpoint, request
        self._connect_timeout = connect_timeout
        self._is_again = self._released = False
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    def begin(self, connection: Http2Connection) -> None:
        """Send the request's head on *connection*, and such body as it has.

        Raises:
            InvalidRequestError: It cannot be sent as it is.
        """
        request = self._request
        fields = request_fields(self._endpoint, request)
        self.status = 0
        self.headers: list[Header] = []
        self.trailers: list[Header] = []
        self.answered = self.complete = self.unwanted = False
        self.failure: UpstreamError | None = None
        self._chunks: list[bytes] = []
        self._due: int | None = None
        self._held = self._interims = self._pieces = 0
        self._left = request.length
        self._pending = memoryview(request.body or b"")
        self._sent = request.body is not None  # or will be, without anybody's doing
        self._connection = connection
        self._was_idle = connection.is_used and connection.is_idle
        self.heard_before = connection.heard
        self.number = connection.begin(self, fields, end=request.body == b"")
        self._send()

    # -- the connection tells

    def send_some(self) -> bool:
        """Send a frame of what is pending of the request's body, if there is room; whether more is pending then."""
        if self._pending:
            try:
                size = self._connection.put_some(self.number, self._pending, end=self._sent)
            except ProtocolError:  # it was reset; fail() is next
                return False
            self._pending = self._pending[size:]
            if self._pending:
                return size > 0
            _wake(self._room)
        return False

    def on_head(self, fields: Sequence[Header]) -> None:
        """A head has come.

        Raises:
            MalformedError: It is none.
        """
        status, headers = answer_of(fields)
        if status >= 200:
            self.status, self.headers, self.answered = status, headers, True
            self._due = due_of(self._request.method, status, headers)
            _wake(self._waiter)
            return
        self._interims += 1
        tell = self._request.interim
        if tell is not None and status != 100 and self._interims <= _MAX_INTERIM:  # 100 is of this hop alone
            tell(status, interim_to_client(headers))

    def on_data(self, data: bytes) -> None:
        """A piece of the body has come; what comes behind a head that has none is dropped, as over HTTP/1.1."""
        self._held += len(data)
        if self._due is not None:
            self._due -= len(data)
        if data and self.status not in BODILESS:
            self._chunks.append(data)
            _wake(self._waiter)

    def on_trailers(self, fields: Sequence[Header]) -> None:
        """Trailers have come.

        Raises:
            MalformedError: They are none, or too many.
        """
        trailers = trailers_of(fields)
        if len(trailers) > MAX_TRAILERS or size_of(trailers) > MAX_HEAD_BYTES:
            raise MalformedError
        self.trailers = trailers

    def on_end(self) -> None:
        """The answer is complete.

        Raises:
            MalformedError: It is shorter than its head said. h2 looks at that only if the last frame has data.
        """
        if self._due:
            raise MalformedError
        self.complete = True
        _wake(self._waiter)

    def fail(self, failure: UpstreamError) -> None:
        """The answer will never be complete; or nothing more of the request is wanted, if it is."""
        self.unwanted = True
        self._pending = memoryview(b"")
        if not self.complete and self.failure is None:
            self.failure = failure
            self.answered = True
        _wake(self._waiter)
        _wake(self._room)

    # -- Exchange

    async def write(self, chunk: Piece) -> None:
        """See messages.exchange.Exchange."""
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0:
                raise InvalidRequestError("the body is longer than its Content-Length")
        if self.unwanted or self.failure is not None:
            return  # head() tells
        self._pending = memoryview(chunk)
        self._send()
        while self._pending:
            self._room = self._connection.loop.create_future()
            await self._room
        self._pieces += 1
        _wake(self._waiter)

    def end(self, trailers: Sequence[Header] = ()) -> None:
        """See messages.exchange.Exchange."""
        if self._left:
            raise InvalidRequestError("the body is shorter than its Content-Length")
        self._sent = True
        if not self.unwanted and self.failure is None:
            fields = trailer_fields(trailers) if self._left is None else []
            self._connection.end_request(self.number, fields)

    async def head(self) -> None:
        """See messages.exchange.Exchange."""
        await self.answering()
        if self.failure is not None and not self.status:
            if not self._may_begin_anew(self.failure):
                raise self.failure
            await self._begin_anew(self.failure)
            await self.head()

    async def answering(self) -> None:
        """See messages.exchange.Exchange."""
        while not self.answered and self.failure is None:
            await self._wait()

    def take(self) -> bytes:
        """See messages.exchange.Exchange."""
        chunks = self._chunks
        if not chunks:
            return b""
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._chunks = []
        self._give_back()
        return data

    async def more(self) -> None:
        """See messages.exchange.Exchange; it returns as well when another piece of the request was sent."""
        pieces = self._pieces
        while not self._chunks and not self.complete and self._pieces == pieces:
            if self.failure is not None:
                raise self.failure
            await self._wait()

    def detach(self) -> TunnelEnd:
        """See messages.exchange.Exchange. Nobody has asked for an upgrade."""
        raise AssertionError("HTTP/2 has no upgrades")

    def release(self) -> None:
        """See messages.exchange.Exchange."""
        if not self._released:
            self._released = True
            self._give_back()
            self._connection.leave(self, is_clean=self.complete and self._sent and not self._pending)

    # -- within

    def _send(self) -> None:
        while self.send_some():
            pass

    def _give_back(self) -> None:
        held, self._held = self._held, 0
        self._connection.give_back(self.number, held)

    async def _begin_anew(self, failure: UpstreamError) -> None:
        """Move to another connection, under this object."""
        self._is_again = True
        try:
            connection = await self._client.connection(self._endpoint, self._connect_timeout)
        except UpstreamUnreachableError as error:
            raise failure from error
        self.begin(connection)

    def _may_begin_anew(self, failure: UpstreamError) -> bool:
        if self._is_again or self._request.body is None:
            return False
        if isinstance(failure, UnprocessedError):
            return self._connection.is_retired  # a GOAWAY; a stream that is refused alone would be so again
        return (self._was_idle and self._connection.closed and self.heard_before == self._connection.heard
                and self._request.method in IDEMPOTENT)

    def _wait(self) -> asyncio.Future[None]:
        """What _wake() brings to an end. It stays until the next wait begins: waking it once more does nothing."""
        waiter = self._waiter = self._connection.loop.create_future()
        return waiter


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
