"""One HTTP/1.1 connection to an upstream, and the exchange that it carries.

It carries one exchange at a time, and is kept only after an answer that was
complete, to a request that had been sent completely before the answer began, with
nothing left over; otherwise it is cut. So a connection that an upstream or a client left in an unknown state
never carries another request.

Memory is bounded: a head by its bytes, a body by pausing the transport while more
than HIGH_WATER bytes wait to be taken.

A kept connection over which something has come is not used again (unread.py). It
may still be closed by the other end just as a request is written to it. That
request is sent once more, on a fresh connection, if that can do no harm: its method
is idempotent and no byte of an answer has come.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import httptools

from ..balancing.retry_state import IDEMPOTENT
from ..messages.chunks import LAST_CHUNK, write_chunk
from ..messages.exchange import Endpoint, Header, InvalidRequestError, Piece, Request, UpstreamError
from ..messages.framing import BODILESS, FIELDS, large_rest
from ..messages.headers import interim_to_client
from ..messages.large_reads import LargeReads
from ..messages.trailers import trailer_lines
from ..messages.tunnel import TunnelEnd
from .connecting import connect
from .request_head import request_head
from .unread import Unread

if TYPE_CHECKING:
    from .http1 import Http1Client

HIGH_WATER: Final = 128 * 1024
MAX_HEAD_BYTES: Final = 64 * 1024
MAX_TRAILERS: Final = 100
#: Interim responses to one request that are passed on.
MAX_INTERIM: Final = 16


class Connection(asyncio.Protocol):
    """One connection of one event ``loop``, and the exchange that it carries. See messages.exchange.Exchange."""

    is_duplex, version = False, "1.1"

    def __init__(self, client: Http1Client, endpoint: Endpoint, loop: asyncio.AbstractEventLoop,
                 connect_timeout: float) -> None:
        self._client, self._endpoint, self.loop = client, endpoint, loop
        self._connect_timeout = connect_timeout
        self._transport: asyncio.Transport | None = None
        self._parser: Any = httptools.HttpResponseParser(self)
        self.idle_since, self.keep_idle_s = 0.0, 0.0
        self.reused = self.closed = False
        self._writable: asyncio.Future[None] | None = None
        self._switched: bytes | None = None  # to another protocol, with what came of it
        self._busy = self._may_end = self._ended = False

    # -- one exchange

    def begin(self, request: Request) -> None:
        """Write the request; what follows belongs to it."""
        head = request_head(self._endpoint, request)
        self._request = request
        self.status = 0
        self.headers: list[Header] = []
        self.answered = self.complete = False
        self.failure: UpstreamError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._chunks: list[Piece] = []
        self.trailers: list[Header] = []
        self._buffered = self._head_size = self._trailer_size = self._interims = 0
        self._unparsed = 0  # bytes of the body that are to come, and that the parser will not see
        self._interim = self._surplus = self._paused = self._persistent = False
        self._until_close = True  # unless a header says otherwise
        self._busy = True
        self._left = request.length
        self._sent = request.body is not None
        assert self._transport is not None
        body = request.body
        if body is not None and request.length is None:
            body = b"%x\r\n%b\r\n%b" % (len(body), body, LAST_CHUNK) if body else LAST_CHUNK
        self._transport.write(head + body if body else head)
        if body:
            self._left = 0

    async def write(self, chunk: Piece) -> None:
        """Send a piece of the body; returns when there is room for another."""
        transport = self._transport
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0:
                raise InvalidRequestError("the body is longer than its Content-Length")
        if self.failure is not None or transport is None or self.closed:
            return  # head() tells
        if self._left is None:
            write_chunk(transport, chunk)
        else:
            transport.write(chunk)
        if self._writable is not None:
            await self._writable

    def end(self, trailers: Sequence[Header] = ()) -> None:
        """The body is complete."""
        if self._left is None:
            if self._transport is not None and not self.closed:
                self._transport.write(b"0\r\n%b\r\n" % trailer_lines(trailers))
        elif self._left:
            raise InvalidRequestError("the body is shorter than its Content-Length")
        self._sent = True

    async def head(self) -> None:
        """Wait for the answer's head."""
        if not self.answered and self.failure is None:
            await self._wait()
        if self.failure is not None and not self.status:
            if self._is_stale():
                await self._begin_anew()
                return
            raise self.failure

    async def answering(self) -> None:
        """Wait until ``answered``, or for a failure."""
        while not self.answered and self.failure is None:
            await self._wait()

    def take(self) -> Piece:
        """What has arrived of the body and was not taken yet."""
        chunks = self._chunks
        if not chunks:
            return b""
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._chunks = []
        self._buffered = 0
        if self._paused:
            self._paused = False
            if self._transport is not None and not self.closed:
                self._transport.resume_reading()
        return data

    async def more(self) -> None:
        """Wait until there is something to take, or the answer is complete."""
        while not self._chunks and not self.complete:
            if self.failure is not None:
                raise self.failure
            await self._wait()

    def detach(self) -> TunnelEnd:
        """See Exchange."""
        assert self._transport is not None
        return TunnelEnd(self._transport, self._switched or b"", self._ended, self._writable is not None)

    def release(self) -> None:
        """Keep the connection if it is clean, else cut it."""
        if not self._busy:
            return
        self._busy = False
        keep = (self.complete and self._sent and not self._surplus and not self._until_close and not self.closed
                and not self._paused and self._persistent and self._transport is not None
                and not self._transport.get_write_buffer_size())
        if keep and self._request.method == "HEAD":  # llhttp does not know, and still expects the body
            self._parser = httptools.HttpResponseParser(self)
        if not keep or not self._client.keep(self._endpoint, self):
            self.abort()

    def abort(self) -> None:
        """Cut the connection."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def _is_stale(self) -> bool:
        return (self.reused and not self._head_size and self._request.body is not None
                and self._request.method in IDEMPOTENT)

    async def _begin_anew(self) -> None:
        """Move the exchange to a fresh connection, under this object."""
        request = self._request
        self._parser = httptools.HttpResponseParser(self)
        await connect(self._endpoint, self, self._connect_timeout)
        self.reused = False
        self.begin(request)
        await self.head()

    def _wait(self) -> asyncio.Future[None]:
        """What _wake() brings to an end. It stays until the next wait begins: waking it once more does nothing."""
        waiter = self._waiter = self.loop.create_future()
        return waiter

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def fail(self, failure: UpstreamError) -> None:
        """See Exchange."""
        if not self.complete and self.failure is None:
            self.failure = failure
            self.answered = True
            self._wake()

    # -- asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self.unread = Unread(transport)
        self._writable = None
        self.closed = False
        # Without a close_notify, anybody on the way may have ended it (RFC 9112, 9.8).
        self._may_end = self._endpoint.tls is None

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.closed = True
        self._parser = None  # it holds us
        self.resume_writing()
        if not self._busy:
            self._client.forget(self._endpoint, self)
        elif self._until_close and self.status and self.failure is None and exc is None and self._may_end:
            self.complete = True
            self._wake()
        else:
            self.fail(UpstreamError("the connection was closed before the answer was complete"))

    def eof_received(self) -> bool:
        """See asyncio.Protocol."""
        self._ended = True
        if self._switched is not None and self._may_end:
            return True  # the tunnel is to pass it on
        tls = None if self._transport is None else self._transport.get_extra_info("ssl_object")
        if tls is not None:  # asyncio comes by here for a mere end of TCP, too; uvloop does not
            with contextlib.suppress(ssl.SSLError):
                self._may_end = tls.read(1) == b""  # only after a close_notify
        return False

    def data_received(self, data: Piece) -> None:
        """See asyncio.Protocol."""
        if not self._busy:  # nobody asked
            self.abort()
            return
        if self._unparsed or self._switched is not None:
            self._past_parser(data)
            return
        is_head = not self.answered
        if is_head:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            self._switch(bytes(data[error.args[0]:]))
        except Exception:  # noqa: BLE001 - httptools wraps what its callbacks raise, too
            self._surplus = True
            self._nonsense("the answer is not valid HTTP/1.1")
        else:
            if self._head_size > MAX_HEAD_BYTES and not self.answered:
                self._nonsense("the answer's head is too large")
            elif self._chunks:
                self._wake()
            if is_head and self.answered and not self.complete:
                self._go_past_parser()

    def _go_past_parser(self) -> None:
        """Let the rest of a large body go past the parser; nothing behind it is read then."""
        self._unparsed = large_rest(self.headers, self._buffered)
        if self._unparsed and self._transport is not None:
            LargeReads(self._transport, self._unparsed, self._client.read_memory)

    def _past_parser(self, data: Piece) -> None:
        """Take what the parser does not see: bytes of another protocol, or a piece of a large body."""
        if self._switched is not None:
            self._switched += bytes(data)
            return
        self.on_body(data)
        self._unparsed -= len(data)
        if not self._unparsed:
            self._parser = httptools.HttpResponseParser(self)  # the one that was there still waits for the body
            self.complete = True
        self._wake()

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        if self._writable is None:
            self._writable = self.loop.create_future()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def _switch(self, rest: bytes) -> None:
        """The upstream has switched protocols, as it was asked to. It waits until the tunnel is there."""
        if self.status != 101:
            self._nonsense("the answer switches protocols")
            return
        self._switched = rest
        self.complete, self._until_close = True, False
        if self._transport is not None:
            self._transport.pause_reading()
        self._wake()

    def _nonsense(self, what: str) -> None:
        self.fail(UpstreamError(what))
        if not self.complete:
            self.abort()

    # -- llhttp calls these

    def on_message_begin(self) -> None:
        """A message begins."""
        if self.complete:
            self._surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer."""
        name, value = name.lower(), value.rstrip(b" \t")  # no part of the value (RFC 9110, 5.5); llhttp leaves it
        if not self.answered:
            self.headers.append((name, value))
            if name in FIELDS:
                self._until_close = False
        else:
            self.trailers.append((name, value))
            if name == b"connection" or name in FIELDS:  # no business of a trailer, but llhttp reads on by it
                self._persistent = False
            self._trailer_size += len(name) + len(value)
            if len(self.trailers) > MAX_TRAILERS or self._trailer_size > MAX_HEAD_BYTES:
                raise ValueError

    def on_headers_complete(self) -> None:
        """The head is complete."""
        if self.complete:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self._on_interim(status)
            return
        if status > 599 or len(self.headers) > 1000:  # RFC 9110, 15: higher ones are invalid, and servers have no line
            raise ValueError
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise ValueError
        codings = [value for name, value in self.headers if name == b"transfer-encoding"]
        if codings and (len(codings) > 1 or codings[0].lower() != b"chunked"):
            raise ValueError  # nobody would undo the others
        doubtful = bool(codings) and version == "1.0"  # which has none (RFC 9112, 6.1)
        doubtful = doubtful or not self._sent  # who answers before the body is over may never read the rest of it
        self.status, self.version = status, version
        self.answered = True
        self._persistent = not doubtful and self._parser.should_keep_alive()  # llhttp forgets it with the message
        if self._request.method == "HEAD" or status in BODILESS:
            self.complete = True
            self._until_close = False
        self._wake()

    def _on_interim(self, status: int) -> None:
        if status == 101:
            offered = self._request.upgrade
            if not any(name == b"upgrade" and value.lower() in offered for name, value in self.headers):
                raise ValueError
            self.status, self.version, self.answered = status, "1.1", True  # 1.0 has no 101
            return
        if status < 100:
            raise ValueError
        self._interims += 1
        tell = self._request.interim
        if tell is not None and status != 100 and self._interims <= MAX_INTERIM:  # 100 is of this hop alone
            tell(status, interim_to_client(self.headers))
        self._interim = self._until_close = True
        self.headers.clear()

    def on_body(self, body: Piece) -> None:
        """A piece of the body."""
        if self._interim:  # which has none (RFC 9112, 6.3); llhttp knows that of the statuses up to 103
            raise ValueError
        if self.complete:
            self._surplus = True
            return
        self._chunks.append(body)
        self._buffered += len(body)
        if self._buffered > HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """The message is complete."""
        if self._interim:
            self._interim = False
            return
        if self.status == 101:
            return  # llhttp says where the bytes of the other protocol begin
        self.complete = True
        self._wake()
