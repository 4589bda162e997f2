"""One client's connection: HTTP/1.1 on an asyncio transport, and the Inbound of the request under way.

The first request makes one task, which serves this and all that follow, one after the other, until the connection ends.
Requests that come meanwhile wait in a queue, and when many do, or a body is not taken, no more is read.

Who ends what:

    the client leaves         the task is cancelled, once nothing more is wanted of it; before, receive() raises
    the client half-closes    it is answered. Whether it has left altogether shows only when something is sent to it, so
                              one that waits is sent "100 Continue" after PROBE_S; a silent stream ends instead
    an answer breaks off      the connection is cut, so that nobody takes it for complete
    something is no HTTP      answered; then nothing more is read, and what still comes is thrown away (RFC 9112, 9.6)
    a deadline passes         the front's one timer calls expire(); no request has a timer of its own
    the front drains          idle connections are closed, the others say close with their answers, and are cut at last
    protocols are switched    the transport belongs to the tunnel (tunnel.py), which ends it
    it speaks HTTP/2          the transport belongs to an Http2Connection (http2.py), as soon as that shows
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Final, cast

from ..config.addresses import within
from ..inbound import BodyBrokenError, ClientGoneError, HopRequest, RequestHead
from ..problem import Problem
from ..trailers import trailer_lines
from ..tunnel import TunnelEnd
from ..upstream import Header
from .answer import CONTINUE, LAST_CHUNK, AnswerHead, InvalidAnswerError, interim_bytes, refusal_answer
from .client_certificate import client_certificate
from .http2 import PREFACE, Accepted, Http2Connection
from .parser import Incoming, Refusal, RequestParser
from .proxy_protocol import Proxied

if TYPE_CHECKING:
    from .front import Front

HIGH_WATER: Final = 128 * 1024  # of a body that is not taken
MAX_WAITING: Final = 4  # requests that wait while more is read
PROBE_S: Final = 0.25
PROBE_AGAIN_S: Final = 1.0
LINGER_S: Final = 2.0
_logger = logging.getLogger("resilience.gateway")


class Connection(asyncio.Protocol):
    """A client's connection. See Inbound for what serves its requests."""

    __slots__ = (
        "_address", "_answered", "_body_is_over", "_bodyless", "_can_half_close", "_chunked", "_closing", "_counted",
        "_cut", "_eof", "_front", "_gone", "_head", "_heard", "_last", "_left", "_lingers", "_parser", "_paused",
        "_probed", "_proxied", "_queue", "_request", "_served", "_started", "_switched", "_task", "_transport",
        "_waiter", "_writable", "_writes", "deadline", "head", "hop")

    head: RequestHead
    hop: HopRequest | None

    def __init__(self, front: Front, proxied: Proxied | None = None) -> None:
        front.refresh()
        self._front, self._proxied = front, proxied
        self._parser = RequestParser(
            self, max_head_bytes=front.settings.head_bytes, max_headers=front.settings.max_headers)
        self._queue: deque[Incoming] = deque()
        self._request: Incoming | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._gone = self._eof = self._paused = self._last = self._closing = self._lingers = self._cut = False
        self._counted = self._started = self._answered = self._body_is_over = self._chunked = self._bodyless = False
        self._switched = self._probed = False
        self._head = b""  # of the answer, until something of its body goes with it
        self._left: int | None = None
        self._writes = self._served = 0
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)  # until connection_made()
        self._can_half_close = True
        self._address = ""
        self._heard = b""  # while it may become the preface of HTTP/2
        self.deadline = inf

    # -- the server's side

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way, or waits."""
        return self._request is None and not self._queue

    def drain(self) -> None:
        """Close it if it is idle; else it closes after its next answer."""
        if self.is_idle and not self._parser.has_begun:
            self._close()

    def cut(self) -> None:
        """End it now: the time to drain is over."""
        self._cut = True
        if self._task is not None and not self._task.done():
            self._task.cancel()
        else:
            self._abort()

    def expire(self, now: float) -> None:
        """The deadline has passed."""
        self.deadline = inf
        if self._closing:
            self._abort()
        elif self._eof:
            self._probe(now)
        elif self._writable is not None:  # it takes nothing
            self._abort()
        elif self._parser.has_begun:
            self._parser.refusal = Refusal(408, "the request's head did not come in time")
            self._refuse()
        else:
            self._close()

    def _probe(self, now: float) -> None:
        """The client has sent all that it will; find out whether it still reads."""
        # A client that is gone answers the first probe by a reset, which only the next one meets.
        self.deadline = now + (PROBE_AGAIN_S if self._probed else 0.0)
        self._probed = True
        if self._request is None:
            self._abort()
        elif self._writable is not None:  # it has something to take, and a bound for that
            return
        elif self._started:
            if not self._writes:  # nothing can be sent in the middle of an answer to find out
                self._abort()
            self._writes = 0
        elif self.head.version == "1.1":
            self._transport.write(CONTINUE)

    # -- asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        parser, front = self._parser, self._front
        client, server = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if self._proxied is not None:
            client, server = self._proxied.client, self._proxied.server
        parser.client = client[:2] if isinstance(client, tuple) else None
        parser.server = server[:2] if isinstance(server, tuple) else None
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            parser.scheme, parser.certificate = "https", client_certificate(tls)
            self._can_half_close = False
        self.deadline = front.loop.time() + front.settings.head_timeout
        if not front.enter(self):
            self._abort()
        elif not self._counted and not self.count(parser.client[0] if parser.client else ""):
            parser.refusal = Refusal(429, "this address has too many connections", 1)
            self._refuse()
        elif tls is not None and tls.selected_alpn_protocol() == "h2":
            self._hand_over()

    def _hand_over(self) -> Http2Connection:
        """Let HTTP/2 have the connection, and what that counts for."""
        parser, front = self._parser, self._front
        parser.close()
        front.leave(self)
        return Http2Connection(front, Accepted(
            transport=self._transport, scheme=parser.scheme, client=parser.client, server=parser.server,
            certificate=parser.certificate, address=self._address, deadline=self.deadline, leave=self.discount))

    def _may_be_http2(self, data: bytes) -> bool:
        """Whether a connection that has had no request begins with the preface of HTTP/2, as far as it has come."""
        if data.startswith(PREFACE):
            self._hand_over().data_received(data)
        elif PREFACE.startswith(data):
            self._heard = data
        else:
            return False
        return True

    @property
    def is_made(self) -> bool:
        """Whether it has its transport, and will give back itself what it counts for."""
        return self._transport is not None

    def count(self, address: str) -> bool:
        """Count it for this *address*; False: that has too many connections. Trusted proxies are not counted."""
        if within(address, self._front.trusted):
            return True
        self._address = address
        self._counted = self._front.peers.enter(address)
        return self._counted

    def discount(self) -> None:
        """Give back what it counts for."""
        if self._counted:
            self._counted = False
            self._front.peers.leave(self._address)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._gone = True
        self._front.leave(self)
        self.discount()
        self._parser.close()
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)
        if self._request is not None and self._body_is_over and self._task is not None:
            self._task.cancel()
        else:
            self._wake()

    def eof_received(self) -> bool:
        """See asyncio.Protocol."""
        self._eof = True
        if not self._can_half_close:
            return False
        if self._closing:
            self._abort()
            return False
        if self._parser.incoming is not None:
            self._parser.incoming.broken = True
            self._wake()
        if self.is_idle:
            return False
        self.deadline = self._front.loop.time() + PROBE_S
        self._probed = False
        return True

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._closing:
            return
        parser = self._parser
        if self._task is None and self._front.settings.http2 and not parser.has_begun:
            data, self._heard = self._heard + data, b""
            if data[:1] == b"P" and self._may_be_http2(data):
                return
        parser.feed(data)
        self._wake()
        if parser.refusal is not None:
            self._refuse()
        elif parser.has_begun:
            if self._request is None and not self._queue:
                self._head_begins()
            self._flow()
        elif self._paused or len(self._queue) > MAX_WAITING or parser.leftover is not None:
            self._flow()

    def _head_begins(self) -> None:
        """Bound the time of a head from its first byte on; of the first head, from when the connection was made."""
        if self._task is not None and self.deadline > self._front.loop.time() + self._front.settings.head_timeout:
            self.deadline = self._front.loop.time() + self._front.settings.head_timeout

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        if self._writable is None:
            self._writable = self._front.loop.create_future()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def _flow(self) -> None:
        """Read, or do not, as there is room."""
        body = self._parser.incoming
        full = (len(self._queue) > MAX_WAITING or (body is not None and body.buffered > HIGH_WATER)
                or len(self._parser.leftover or b"") > HIGH_WATER)
        if full is not self._paused and not self._gone:
            self._paused = full
            if full:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    # -- requests

    def on_request(self, request: Incoming) -> None:
        """See Receiver."""
        front = self._front
        wait = front.peers.wait(self._address, front.loop.time()) if front.peers.has_rate and self._address else 0
        if wait:
            request.refusal = Refusal(429, "this address sends too many requests", wait)
        self._queue.append(request)
        if self._task is None:
            self._task = front.loop.create_task(self._run())

    def _refuse(self) -> None:
        """Nothing more is read. Answer, after all that came before."""
        if self._parser.incoming is not None:  # its body is malformed: receive() says so
            self._parser.incoming.broken = True
            self._wake()
        elif self.is_idle:
            self._answer_refusal()
            return
        else:
            self._wake()
        if not self._paused and not self._gone:
            self._paused = True
            self._transport.pause_reading()

    def _answer_refusal(self) -> None:
        refusal = self._parser.refusal
        assert refusal is not None
        self._closing = True
        self._started = False
        self._write_whole(*refusal_answer(refusal, close=True), "1.1", is_head=False)
        self._linger()

    async def _run(self) -> None:
        """Serve one request after the other."""
        try:
            while await self._next():
                await self._serve()
                if self._last or self._closing or self._gone:
                    break
        finally:
            if self._cut and not self._gone and not self._started and self._request is not None:
                stopping = Refusal(503, "the gateway is shutting down")
                self._write_whole(*refusal_answer(stopping, close=True), "1.1", is_head=False)
                self._answered = True
            self._end()

    def _end(self) -> None:
        request, self._request = self._request, None
        if self._switched:
            self.connection_lost(None)  # the tunnel had the transport since, and has closed it
        elif request is not None and not self._answered:
            self._abort()
        elif self._queue or self._parser.refusal is not None or (request is not None and not request.complete):
            self._linger()
        else:
            self._close()

    async def _next(self) -> bool:
        """Wait until there is a request to serve; whether there ever will be."""
        front = self._front
        if self._writable is not None:
            self.deadline = front.loop.time() + front.settings.client_timeout
            await self._writable
        if self._gone:
            return False
        if not self._queue:
            if self._eof:
                return False
            if self._parser.refusal is not None:
                self._answer_refusal()
                return False
            if front.draining:
                return False
            self.deadline = front.loop.time() + (
                front.settings.head_timeout if self._parser.has_begun else front.settings.keep_alive_timeout)
            while not self._queue:
                await self._wait()
                if self._gone or self._closing:
                    return False
        self.deadline = inf if not self._eof else front.loop.time() + PROBE_S
        return True

    async def _serve(self) -> None:
        """Serve the next request; what is not answered then will not be."""
        request = self._request = self._queue.popleft()
        if self._paused:
            self._flow()
        self.head, self.hop = request.head, request.hop
        self._started = self._answered = self._body_is_over = self._bodyless = False
        self._writes = 0
        self._served += 1
        try:
            if request.refusal is None:
                await self._front.serve(self)
            else:
                await self.respond(*refusal_answer(request.refusal, close=False))
        except ClientGoneError:
            self._closing = True
        except Exception:
            _logger.exception("a request failed in the gateway")
            if not self._started and not self._gone:
                await self.respond(500, *Problem(500, "the gateway failed", close=True).response())
        if not self._answered:
            self._closing = True
        if self._closing or self._last:
            return
        self._parser.pending -= 1
        self._request = None
        if self._parser.leftover is not None:
            self._parser.resume()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _wait(self) -> asyncio.Future[None]:
        """What _wake() brings to an end. It stays until the next wait begins: waking it once more does nothing."""
        waiter = self._waiter = self._front.loop.create_future()
        return waiter

    # -- Inbound

    @property
    def trailers(self) -> Sequence[Header]:
        """See Inbound."""
        return () if self._request is None else self._request.trailers

    async def receive(self) -> tuple[bytes, bool]:
        """See Inbound."""
        request = self._request
        assert request is not None
        if request.expects_continue:
            request.expects_continue = False
            if not request.pieces and not request.complete and not self._gone:
                self._transport.write(CONTINUE)
        while not request.pieces:
            if request.complete and not request.ended:
                request.ended = True
                return b"", False
            if request.broken or self._gone:
                raise BodyBrokenError
            await self._wait()
        pieces = request.pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        request.pieces = []
        request.buffered = 0
        request.ended = request.complete
        if self._paused and self._parser.refusal is None:
            self._flow()
        return body, not request.complete

    def body_is_over(self) -> None:
        """See Inbound."""
        self._body_is_over = True
        if self._gone and self._task is not None:
            self._task.cancel()

    def interim(self, status: int, headers: Sequence[Header]) -> None:
        """See Inbound."""
        if not self._started and not self._gone and self.head.version == "1.1":
            self._transport.write(interim_bytes(status, headers))

    def switch(self, headers: Sequence[Header]) -> TunnelEnd:
        """See Inbound."""
        leftover = self._parser.leftover
        if self._gone or leftover is None:
            raise ClientGoneError
        head = AnswerHead(101, headers, self._front.date()).bytes(b"connection: upgrade\r\n")
        self._started = self._last = self._switched = True
        self.deadline = inf
        self._transport.pause_reading()
        self._transport.write(head)
        return TunnelEnd(self._transport, leftover, self._eof)

    async def respond(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """See Inbound."""
        if self._gone:
            raise ClientGoneError
        head = self.head
        self._write_whole(status, headers, body, head.version, is_head=head.method == "HEAD")
        self._started = self._answered = True

    def _write_whole(self, status: int, headers: Sequence[Header], body: bytes, version: str, *, is_head: bool) -> None:
        answer = AnswerHead(status, headers, self._front.date())
        framing = self._kept(answer, version)
        if is_head or status in (204, 304):
            body = b""
            if answer.length is not None and status != 204:
                framing = b"content-length: %d\r\n" % answer.length + framing
        else:
            framing = b"content-length: %d\r\n" % len(body) + framing
        if not self._gone:
            self._transport.write(answer.bytes(framing, body))

    def _kept(self, answer: AnswerHead, version: str) -> bytes:
        """What is said of the connection, which decides about it, too."""
        request = self._request
        if (answer.close or request is None or not request.keep_alive or not request.complete or self._front.draining
                or self._last or self._served == self._front.settings.connection_requests):
            self._last = True
            return b"connection: close\r\n"
        return b"" if version == "1.1" else b"connection: keep-alive\r\n"

    async def start(self, status: int, headers: Sequence[Header]) -> None:
        """See Inbound."""
        answer = AnswerHead(status, headers, self._front.date())
        head = self.head
        self._chunked, self._left = False, answer.length
        self._bodyless = head.method == "HEAD" or status in (204, 304)
        framing = b""
        if answer.length is not None and status != 204:
            framing = b"content-length: %d\r\n" % answer.length
        elif not self._bodyless:
            if head.version == "1.1":
                self._chunked = True
                framing = b"transfer-encoding: chunked\r\n"
            else:
                self._last = True
        self._head = answer.bytes(framing + self._kept(answer, head.version))
        self._started = True

    async def write(self, piece: bytes) -> None:
        """See Inbound."""
        self._send(piece, b"")
        if self._writable is not None:
            await self._writable
        if self._gone:
            raise ClientGoneError

    async def end(self, piece: bytes, trailers: Sequence[Header] = ()) -> None:
        """See Inbound."""
        last = LAST_CHUNK if self._chunked else b""
        if trailers and self._chunked and self.hop is not None and self.hop.takes_trailers:
            last = b"0\r\n%b\r\n" % trailer_lines(trailers)
        self._send(piece, last)
        if self._left and not self._bodyless:  # shorter than it was said to be
            raise ClientGoneError
        self._answered = True
        if self._writable is not None:
            await self._writable

    def _send(self, piece: bytes, last: bytes) -> None:
        """Write a piece of the body, with the head before the first and what ends it after the last."""
        if self._gone:
            raise ClientGoneError
        head, self._head = self._head, b""
        self._writes += 1
        if self._bodyless:
            piece = b""
        elif self._left is not None:
            self._left -= len(piece)
            if self._left < 0:
                raise InvalidAnswerError
        elif self._chunked and piece:
            if len(piece) > 4096:
                self._transport.writelines((b"%b%x\r\n" % (head, len(piece)), piece, b"\r\n" + last))
                return
            piece = b"%x\r\n%b\r\n" % (len(piece), piece)
        self._transport.write(head + piece + last if head or last else piece)

    # -- the end

    def _close(self) -> None:
        """Close it once what was written is sent, or after a while."""
        self._closing = True
        if not self._gone:
            self.deadline = self._front.loop.time() + self._front.settings.client_timeout
            self._transport.close()
        self._wake()

    def _linger(self) -> None:
        """Close it so that the client can read the answer although it goes on sending."""
        self._closing = True
        if self._gone or self._lingers:
            return
        if self._eof:
            self._close()
            return
        self._lingers = True
        self.deadline = self._front.loop.time() + LINGER_S
        if self._can_half_close:
            with contextlib.suppress(OSError):  # a client that has reset the connection, which is not noticed yet
                self._transport.write_eof()
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def _abort(self) -> None:
        self._closing = True
        if not self._gone:
            self._transport.abort()
        self._wake()
