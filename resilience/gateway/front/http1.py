"""One client's connection: HTTP/1.1 on an asyncio transport. Its requests are Http1Exchanges.

The first request makes one task, which serves this and all that follow, one after the other, until the connection ends.
Requests that come meanwhile wait in a queue, and when many do, or a body is not taken, no more is read.

Who ends what:

    the client leaves         the task is cancelled, whatever it does; but if it waits in receive(), that raises
    the client half-closes    it is answered. Whether it has left altogether shows only when something is sent to it, so
                              one that waits is sent "100 Continue" after PROBE_S; a silent stream ends instead
    an answer breaks off      the connection is cut so that nobody takes it for complete, or reset if only its end tells
    something is no HTTP      answered; then nothing more is read, and what still comes is thrown away (RFC 9112, 9.6)
    a deadline passes         the front's one timer calls expire(); no request has a timer of its own
    the gateway leaves        each connection says close with its next answer
    the front drains          idle connections are closed, the others say close with their answers, and are cut at last;
                              a new one has half a second for its first request, which is on its way perhaps
    protocols are switched    the transport belongs to the tunnel (tunnel.py), which ends it
    it speaks HTTP/2          the transport belongs to an Http2Connection (http2.py), as soon as that shows
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from math import inf
from typing import TYPE_CHECKING, Final, cast

from ..messages.inbound import ClientGoneError
from ..messages.problem import Problem
from ..messages.tunnel import TunnelEnd
from .accepted import Accepted
from .answer import CONTINUE, AnswerHead
from .http1_exchange import Http1Exchange
from .http2 import PREFACE, Http2Connection
from .parser import Incoming, RequestParser
from .peers import Peer
from .proxy_protocol import Proxied
from .read_progress import ReadProgress
from .refusal import SHUTTING_DOWN, Refusal

if TYPE_CHECKING:
    from .front import Front

HIGH_WATER: Final = 128 * 1024  # of a body that is not taken
MAX_WAITING: Final = 4  # requests that wait while more is read
PROBE_S: Final = 0.25
PROBE_AGAIN_S: Final = 1.0
LINGER_S: Final = 2.0
FIRST_REQUEST_S: Final = 0.5  # once the front drains
_logger = logging.getLogger("resilience.gateway")


class Http1Connection(asyncio.Protocol):
    """A client's connection. See Http1Exchange for its requests.

    Attributes:
        front: Has it.
        peer: Whom it counts for.
        deadline: When expire() is due.
        transport: Its own, from connection_made() on.
        gone: Whether the connection is lost.
        writable: Comes to an end once there is room to write; None: there is.
    """

    __slots__ = (
        "_can_half_close", "_closing", "_cut", "_eof", "_exchange", "_heard", "_last", "_lingers", "_parser", "_paused",
        "_probed", "_proxied", "_queue", "_served", "_taking", "_task", "_waiter", "deadline", "front", "gone", "peer",
        "transport", "writable")

    def __init__(self, front: Front, proxied: Proxied | None = None) -> None:
        front.refresh()
        self.front, self._proxied = front, proxied
        self.peer = Peer(front.peers)
        self._parser = RequestParser(
            self, max_head_bytes=front.settings.max_header_bytes, max_headers=front.settings.max_headers)
        self._queue: deque[Incoming] = deque()
        self._exchange: Http1Exchange | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.writable: asyncio.Future[None] | None = None
        self.gone = self._eof = self._paused = self._last = self._closing = self._lingers = False
        self._cut = self._probed = False
        self._served = 0
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)  # until connection_made()
        self._can_half_close = True
        self._taking: ReadProgress | None = None  # while it has client_timeout to take what was sent
        self._heard = b""  # while it may become the preface of HTTP/2
        self.deadline = inf

    # -- the server's side

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way, or waits."""
        return self._exchange is None and not self._queue

    def send_away(self) -> None:
        """Nothing is to be done: keep() looks whether the front is leaving."""

    def drain(self) -> None:
        """Close it if it is idle; else it closes after its next answer."""
        if self.is_idle and not self._parser.has_begun:
            if self._task is None:
                self.deadline = min(self.deadline, self.front.loop.time() + FIRST_REQUEST_S)
            else:
                self._close()

    def cut(self) -> None:
        """End it now: the time to drain is over."""
        self._cut = True
        if self._task is not None and not self._task.done():
            self.cancel()
        else:
            self._abort()

    def expire(self, now: float) -> None:
        """The deadline has passed."""
        self.deadline = inf
        if self._closing or (self._exchange is None and self.writable is not None):
            if self._taking is None and self.transport.is_closing():
                self._await_taking()
            elif self._taking is not None and self._taking.goes_on():
                self.deadline = now + self.front.settings.client_timeout
            else:
                self._abort()
        elif self._eof:
            self._probe(now)
        elif self._parser.has_begun:
            self._parser.refusal = Refusal(408, "the request's head did not come in time", reason="slow_head")
            self._refuse()
        else:
            self._close()

    def _probe(self, now: float) -> None:
        """The client has sent all that it will; find out whether it still reads."""
        exchange = self._exchange
        # A client that is gone answers the first probe by a reset, which only the next one meets.
        is_first = not self._probed and exchange is not None and not exchange.started
        self.deadline = now + (0.0 if is_first else PROBE_AGAIN_S)
        self._probed = True
        if exchange is None:
            self._abort()
        elif self.writable is not None:  # it has something to take, and a bound for that
            return
        elif exchange.started:
            if not exchange.writes:  # nothing can be sent in the middle of an answer to find out
                self._abort()
            exchange.writes = 0
        elif exchange.head.version == "1.1":
            self.transport.write(CONTINUE)

    # -- asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self.transport = cast("asyncio.Transport", transport)
        parser, front = self._parser, self.front
        accepted = parser.accepted = Accepted.over(transport, self._proxied)
        self._can_half_close = accepted.scheme == "http"
        self.deadline = front.loop.time() + front.settings.header_timeout
        if not front.enter(self):
            self._abort()
        elif not self.peer.enter(accepted.client[0] if accepted.client else "", front.clients):
            parser.refusal = Refusal(429, "this address has too many connections", 1, reason="too_many_connections")
            self._refuse()
        elif accepted.protocol == "h2":
            self._hand_over()

    def _hand_over(self) -> Http2Connection:
        """Let HTTP/2 have the connection, and what that counts for."""
        parser, front = self._parser, self.front
        parser.close()
        front.leave(self)
        return Http2Connection(front, self.transport, parser.accepted, self.peer, self.deadline)

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
        return self.transport is not None

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.gone = True
        self.front.leave(self)
        self.peer.leave()
        self._parser.close()
        writable, self.writable = self.writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)
        if self._exchange is None or (self._waiter is not None and not self._waiter.done()):
            self._wake()
        else:
            self.cancel()

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
        self.deadline = self.front.loop.time() + PROBE_S
        self._probed = False
        return True

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._closing:
            return
        parser = self._parser
        if self._task is None and self.front.settings.http2 and not parser.has_begun:
            data, self._heard = self._heard + data, b""
            if data[:1] == b"P" and self._may_be_http2(data):
                return
        parser.feed(data)
        self._wake()
        if parser.refusal is not None:
            self._refuse()
        elif parser.has_begun:
            if self.is_idle:
                self._head_begins()
            self._flow()
        elif self._paused or len(self._queue) > MAX_WAITING or parser.leftover is not None:
            self._flow()

    def _head_begins(self) -> None:
        """Bound the time of a head from its first byte on; of the first head, from when the connection was made."""
        if self._task is not None and self.deadline > self.front.loop.time() + self.front.settings.header_timeout:
            self.deadline = self.front.loop.time() + self.front.settings.header_timeout

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        if self.writable is None:
            self.writable = self.front.loop.create_future()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        writable, self.writable = self.writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def _flow(self) -> None:
        """Read, or do not, as there is room."""
        body = self._parser.incoming
        full = (len(self._queue) > MAX_WAITING or (body is not None and body.buffered > HIGH_WATER)
                or len(self._parser.leftover or b"") > HIGH_WATER)
        if full is not self._paused and not self.gone:
            self._paused = full
            if full:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    # -- requests

    def on_request(self, request: Incoming) -> None:
        """See Receiver."""
        request.refusal = self.peer.refusal(self.front.loop.time())
        self._queue.append(request)
        if self._task is None:
            self._task = self.front.loop.create_task(self._run())

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
        if not self._paused and not self.gone:
            self._paused = True
            self.transport.pause_reading()

    def _answer_refusal(self) -> None:
        refusal = self._parser.refusal
        assert refusal is not None
        self._closing = True
        if not self.gone:
            status, headers, body = self.front.refusal_answer(self._parser.refused_head(), refusal, close=True)
            framing = b"content-length: %d\r\nconnection: close\r\n" % len(body)
            self.transport.write(AnswerHead(status, headers, self.front.date()).bytes(framing, body))
        self._linger()

    async def _run(self) -> None:
        """Serve one request after the other."""
        try:
            while await self._next():
                await self._serve()
                if self._last or self._closing or self.gone:
                    break
        finally:
            exchange = self._exchange
            if self._cut and not self.gone and exchange is not None and not exchange.started:
                exchange.write_whole(*SHUTTING_DOWN.answer(exchange.head, close=True))
            self._end()

    def _end(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None and exchange.switched:
            self.connection_lost(None)  # the tunnel had the transport since, and has closed it
        elif exchange is not None and not exchange.answered:
            exchange.break_off()
            self._abort()
        elif self._queue or self._parser.refusal is not None or (
                exchange is not None and not exchange.request.complete):
            self._linger()
        else:
            self._close()

    async def _next(self) -> bool:
        """Wait until there is a request to serve; whether there ever will be."""
        front = self.front
        if self.writable is not None:
            self._await_taking()
            await self.writable
        if self.gone:
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
                front.settings.header_timeout if self._parser.has_begun else front.settings.keep_alive_timeout)
            while not self._queue:
                await self.wait()
                if self.gone or self._closing:
                    return False
        self.deadline = inf if not self._eof else front.loop.time() + PROBE_S
        return True

    async def _serve(self) -> None:
        """Serve the next request; what is not answered then will not be."""
        request = self._queue.popleft()
        exchange = self._exchange = Http1Exchange(self, request)
        if self._paused:
            self._flow()
        self._served += 1
        try:
            if request.refusal is None:
                await self.front.serve(exchange)
            else:
                await exchange.respond(*self.front.refusal_answer(request.head, request.refusal, close=False))
        except ClientGoneError:
            self._closing = True
        except Exception:
            _logger.exception("a request failed in the gateway")
            if not exchange.started and not self.gone:
                await exchange.respond(500, *Problem(500, "the gateway failed", close=True).response())
        if not exchange.answered:
            self._closing = True
        if self._closing or self._last:
            return
        self._parser.pending -= 1
        self._exchange = None
        if self._parser.leftover is not None:
            self._parser.resume()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # -- the exchange under way calls these

    def keep(self, wanted: bool) -> bool:
        """Whether it goes on after the answer at hand, which is for the exchange to say, if that *wanted* it to."""
        if not wanted or self.front.is_leaving or self._served == self.front.settings.max_requests_per_connection:
            self._last = True
        return not self._last

    def body_was_taken(self) -> None:
        """There is room for more of the body."""
        if self._paused and self._parser.refusal is None:
            self._flow()

    def cancel(self) -> None:
        """Cancel the task, which serves requests."""
        if self._task is not None:
            self._task.cancel()

    def wait(self) -> asyncio.Future[None]:
        """What _wake() brings to an end. It stays until the next wait begins: waking it once more does nothing."""
        waiter = self._waiter = self.front.loop.create_future()
        return waiter

    def give_away(self, head: bytes) -> TunnelEnd:
        """Write the *head* that switches protocols, and let a tunnel have the transport.

        Raises:
            ClientGoneError: There is no such thing to give.
        """
        leftover = self._parser.leftover
        if self.gone or leftover is None:
            raise ClientGoneError
        self._last = True
        self.deadline = inf
        self.transport.pause_reading()
        self.transport.write(head)
        return TunnelEnd(self.transport, leftover, self._eof, self.writable is not None)

    # -- the end

    def _await_taking(self) -> None:
        """Nothing more is sent before the client has taken what was."""
        self._taking = ReadProgress(self.transport)
        self.deadline = self.front.loop.time() + self.front.settings.client_timeout

    def _close(self) -> None:
        """Close it once what was written is sent, or after a while."""
        self._closing = True
        if not self.gone:
            self._taking, self.deadline = None, 0.0  # most are gone before anybody looks
            self.transport.close()
        self._wake()

    def _linger(self) -> None:
        """Close it so that the client can read the answer although it goes on sending."""
        self._closing = True
        if self.gone or self._lingers:
            return
        if self._eof:
            self._close()
            return
        self._lingers, self._taking = True, None
        self.deadline = self.front.loop.time() + LINGER_S
        if self._can_half_close:
            with contextlib.suppress(OSError):  # a client that has reset the connection, which is not noticed yet
                self.transport.write_eof()
        if self._paused:
            self._paused = False
            self.transport.resume_reading()

    def _abort(self) -> None:
        self._closing = True
        if not self.gone:
            if self._exchange is not None:
                self._exchange.break_off()
            self.transport.abort()
        self._wake()
