"""One client's connection: HTTP/1.1 on an asyncio transport. Its requests are Http1Exchanges.

The first request makes one task, which serves this and all that follow, one after the other, until the connection ends.
Requests that come meanwhile wait for their turn (pipeline.py).

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
from math import inf
from typing import TYPE_CHECKING, Final, cast

from ..messages.exchange import Piece
from ..messages.inbound import ClientGoneError
from ..messages.problem import Problem
from ..messages.tunnel import TunnelEnd
from .accepted import Accepted
from .answer import AnswerHead
from .http1_exchange import Http1Exchange
from .http2 import PREFACE, Http2Connection
from .peers import Peer
from .pipeline import Pipeline
from .proxy_protocol import Proxied
from .read_progress import ReadProgress
from .refusal import SHUTTING_DOWN, SLOW_HEAD, TOO_MANY_CONNECTIONS

if TYPE_CHECKING:
    from .front import Front

PROBE_S: Final = 0.25
LINGER_S: Final = 2.0
FIRST_REQUEST_S: Final = 0.5  # once the front drains
_logger = logging.getLogger("resilience.gateway")


class Http1Connection(asyncio.Protocol):
    """A client's connection. See Http1Exchange for its requests.

    Attributes:
        front: Has it.
        peer: Whom it counts for.
        pipeline: Its requests that wait.
        deadline: When expire() is due.
        transport: Its own, from connection_made() on.
        gone: Whether the connection is lost.
        writable: Comes to an end once there is room to write; None: there is.
    """

    __slots__ = (
        "_closing", "_cut", "_eof", "_exchange", "_heard", "_last", "_lingers", "_proxied", "_served", "_taking",
        "_task", "_waiter", "deadline", "front", "gone", "peer", "pipeline", "transport", "writable")

    def __init__(self, front: Front, proxied: Proxied | None = None) -> None:
        front.refresh()
        self.front, self._proxied = front, proxied
        self.peer = Peer(front.peers)
        self._exchange: Http1Exchange | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.writable: asyncio.Future[None] | None = None
        self.gone = self._eof = self._last = self._closing = self._lingers = self._cut = False
        self._served = 0
        self.transport = cast("asyncio.Transport", None)  # until connection_made()
        self._taking: ReadProgress | None = None  # while it has client_timeout to take what was sent
        self._heard = b""  # while it may become the preface of HTTP/2
        self.deadline = inf

    # -- the server's side

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way, or waits."""
        return self._exchange is None and not self.pipeline.waiting

    def send_away(self) -> None:
        """Nothing is to be done: keep() looks whether the front is leaving."""

    def drain(self) -> None:
        """Close it if it is idle; else it closes after its next answer."""
        if self.is_idle and not self.pipeline.has_begun:
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
            if self._taking is not None and self._taking.goes_on():
                self.deadline = now + self.front.settings.client_timeout
            else:
                self._abort()
        elif self._eof:
            wait = None if self._exchange is None else self._exchange.probe()
            if wait is None:
                self._abort()
            else:
                self.deadline = now + wait
        elif self.pipeline.has_begun:
            self.pipeline.refusal = SLOW_HEAD
            self._refuse()
        else:
            self._close()

    # -- asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        front, accepted = self.front, Accepted.over(transport, self._proxied)
        self.transport = transport = cast("asyncio.Transport", transport)
        self.pipeline = Pipeline(transport, accepted, front.settings, front.read_memory)
        self.deadline = front.loop.time() + front.settings.header_timeout
        if not front.enter(self):
            self._abort()
        elif not self.peer.enter(accepted.client[0] if accepted.client else "", front.clients):
            self.pipeline.refusal = TOO_MANY_CONNECTIONS
            self._refuse()
        elif accepted.protocol == "h2":
            self._hand_over()

    def _hand_over(self) -> Http2Connection:
        """Let HTTP/2 have the connection, and what that counts for."""
        pipeline, front = self.pipeline, self.front
        pipeline.close()
        front.leave(self)
        return Http2Connection(front, self.transport, pipeline.accepted, self.peer, self.deadline)

    def _may_be_http2(self, data: bytes) -> bool:
        """Whether a connection that has had no request begins with the preface of HTTP/2, as far as it has come."""
        if not PREFACE.startswith(data[:len(PREFACE)]) or not self.front.settings.http2:
            self._heard = b""
            return False
        if len(data) < len(PREFACE):
            self._heard = data
        else:
            self._hand_over().data_received(data)
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
        self.pipeline.close()
        if self.writable is not None:
            self.resume_writing()
        if self._exchange is None or (self._waiter is not None and not self._waiter.done()):
            self._wake()
        else:
            self.cancel()

    def eof_received(self) -> bool:
        """See asyncio.Protocol."""
        self._eof = True
        if not self.transport.can_write_eof():
            return False
        if self._closing:
            self._abort()
            return False
        if self.is_idle:
            return False
        self.pipeline.break_off()
        self._wake()
        self.deadline = self.front.loop.time() + PROBE_S
        return True

    def data_received(self, data: Piece) -> None:
        """See asyncio.Protocol."""
        if self._closing:
            return
        pipeline = self.pipeline
        if self._task is None and (data[:1] == b"P" or self._heard) and not pipeline.has_begun:
            data = self._heard + data
            if self._may_be_http2(data):
                return
        pipeline.feed(data)
        if self._task is not None:
            self._wake()
        elif pipeline.waiting:
            self._task = self.front.loop.create_task(self._run())
        if pipeline.refusal is not None:
            self._refuse()
        elif pipeline.has_begun:
            if self._task is not None and self.is_idle:  # the first head is bounded from when the connection was made
                self.deadline = min(self.deadline, self.front.loop.time() + self.front.settings.header_timeout)
            pipeline.flow()
        elif len(pipeline.waiting) > 1 or pipeline.leftover is not None:
            pipeline.flow()

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        if self.writable is None:
            self.writable = self.front.loop.create_future()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        writable, self.writable = self.writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    # -- requests

    def _refuse(self) -> None:
        """Nothing more is read. Answer, after all that came before."""
        if self.is_idle:
            self._answer_refusal()
        else:
            self.pipeline.break_off()  # what is malformed may be a body: receive() says so
            self.pipeline.stop()
            self._wake()

    def _answer_refusal(self) -> None:
        head, refusal = self.pipeline.refused_head(), self.pipeline.refusal
        assert refusal is not None
        self._closing = True
        if not self.gone:
            status, headers, body = self.front.refusal_answer(head, refusal, close=True)
            framing = b"content-length: %d\r\nconnection: close\r\n" % len(body)
            self.transport.write(AnswerHead(status, headers, self.front.date).bytes(
                framing, b"" if head.method == "HEAD" else body))
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
        if self.gone:
            return
        if exchange is not None and exchange.switched:
            self.connection_lost(None)  # the tunnel had the transport since, and has closed it
        elif exchange is not None and not exchange.answered:
            exchange.break_off()
            self._abort()
        elif self.pipeline.waiting or self.pipeline.refusal is not None or (
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
        if not self.pipeline.waiting:
            if self.pipeline.refusal is not None:
                self._answer_refusal()
                return False
            if self._eof or front.draining:
                return False
            self.deadline = front.loop.time() + (
                front.settings.header_timeout if self.pipeline.has_begun else front.settings.keep_alive_timeout)
            while not self.pipeline.waiting:
                await self.wait()
                if self.gone or self._closing:
                    return False
        self.deadline = inf if not self._eof else front.loop.time() + PROBE_S
        return True

    async def _serve(self) -> None:
        """Serve the next request; what is not answered then will not be."""
        exchange = self._exchange = Http1Exchange(self, self.pipeline.take())
        self._served += 1
        try:
            refusal = self.peer.refusal(self.front.loop.time())
            if refusal is None:
                await self.front.serve(exchange)
            else:
                await exchange.respond(*self.front.refusal_answer(exchange.head, refusal, close=False))
        except ClientGoneError:
            self._closing = True
        except Exception:
            _logger.exception("a request failed in the gateway")
            if not exchange.started and not self.gone:
                await exchange.respond(500, *Problem(500, "the gateway failed", close=True).response())
        if not exchange.answered:
            self._closing = True
        if not self._closing and not self._last:
            self._exchange = None
            if self.pipeline.leftover is not None:
                self.pipeline.resume()

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
        leftover = self.pipeline.leftover
        if self.gone or leftover is None:
            raise ClientGoneError
        self._last = True
        self.deadline = inf
        self.transport.pause_reading()
        self.transport.write(head)
        return TunnelEnd(self.transport, leftover, self._eof, self.writable is not None)

    # -- the end

    def _await_taking(self) -> None:
        """Nothing more is sent before the client has taken what was. Most have before anybody looks."""
        self._taking, self.deadline = ReadProgress(self.transport, late=True), 0.0

    def _close(self) -> None:
        """Close it once what was written is sent, or after a while."""
        self._closing = True
        if not self.gone:
            self._await_taking()
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
        if self.transport.can_write_eof():
            with contextlib.suppress(OSError):  # a client that has reset the connection, which is not noticed yet
                self.transport.write_eof()
        self.pipeline.go_on()

    def _abort(self) -> None:
        self._closing = True
        if not self.gone:
            if self._exchange is not None:
                self._exchange.break_off()
            self.transport.abort()
        self._wake()
