"""Forwarding: the bytes of one exchange between a client and a service.

The request's body is taken in if it is small (request_body.py), and a service is called (service.py). The answer
streams back piece by piece; no more is read from either side than the other has taken. Every wait has a bound:

    for the client's next piece            client_timeout      408, or the connection is cut
    for all pieces of the client's body    upload_timeout      408
    for room in the client's connection    client_timeout      the connection is cut
    for the upstream to answer             command.timeout     504
    for the upstream's next piece          idle_timeout        the connection is cut
    for room in the upstream's connection  idle_timeout        502

An answer that breaks off after its head was sent cannot be taken back. The client
must not take it for complete, so the response is left without its end, and the server cuts the connection.

A client that leaves is nobody's failure: the exchange is cut and counts as cancelled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final

from ..drivers.async_timeouts import AsyncTimeout
from ..errors import ResilienceError
from .headers import to_client
from .inbound import ClientGoneError, Inbound
from .mirroring import Mirror
from .problem import Problem, problem_of
from .request_body import SMALL_BODY_BYTES, Intake, within
from .request_mapping import PSEUDONYM
from .service import Service
from .upstream import Exchange, Header, InvalidRequestError, Request, UpstreamError, UpstreamStalledError

_VIA: Final = b"1.1 " + PSEUDONYM
_logger = logging.getLogger(__name__)


class AnswerBody:
    """The body of an upstream's answer, before any of it was sent on. Of one task."""

    __slots__ = ("_exchange", "_idle", "taken")

    def __init__(self, exchange: Exchange, idle: AsyncTimeout) -> None:
        self._exchange, self._idle = exchange, idle
        self.taken = b""

    async def whole(self, limit: int) -> bytes | None:
        """Wait for all of it; None if there are more than *limit* bytes.

        Raises:
            UpstreamError: It breaks off, or stalls.
        """
        exchange = self._exchange
        self.taken += exchange.take()
        while not exchange.complete and len(self.taken) <= limit:
            await within(self._idle, exchange.more(), _stalled)
            self.taken += exchange.take()
        return self.taken if exchange.complete and len(self.taken) <= limit else None


#: Changes an answer before its head is sent: gets status, headers and body; returns status, headers, and the body to
#: send in its place, if any.
Outbound = Callable[[int, list[Header], AnswerBody], Awaitable[tuple[int, list[Header], bytes | None]]]


class Forwarder:
    """Forwards requests to services, with one bound on every client's pace. For one event loop."""

    def __init__(self, *, client_timeout: float, upload_timeout: float | None) -> None:
        self._patience = AsyncTimeout("client", client_timeout)
        self._upload_timeout = upload_timeout

    async def forward(self, service: Service, request: Request, inbound: Inbound, outbound: Outbound | None = None, *,
                      mirror: Mirror | None = None) -> None:
        """Send *request* to *service*, and its answer back, as *outbound* changes it.

        Args:
            service: Answers.
            request: With its body, or without if that is yet to come.
            inbound: Brings the body, and takes the answer.
            outbound: Changes the answer before its head is sent; None: it is sent as it is.
            mirror: Gets a copy, if the body is small enough to be taken in first; None: nobody does.

        Raises:
            Problem: There is none to send back, and nothing was sent.
            ClientGoneError: The client stopped taking it.
        """
        intake = None
        if request.body is None:
            intake = self.intake(inbound, service.max_body)
            if request.length is not None and request.length <= SMALL_BODY_BYTES:
                request, intake = await _taken_in(request, request.length, intake), None
        if mirror is not None and request.body is not None:
            mirror.copy(request)
        calls = service.call(request)
        try:
            if intake is not None:
                await self._upload(service, calls, intake)
            await self._download(service, calls, inbound, outbound)
        except BaseException:
            await calls.aclose()
            raise

    def intake(self, inbound: Inbound, max_body: int | None) -> Intake:
        """The body of a request, of at most *max_body* bytes."""
        return Intake(inbound.receive, self._patience, self._upload_timeout, max_body)

    async def _upload(self, service: Service, calls: AsyncGenerator[Exchange, None], intake: Intake) -> None:
        """Stream the request's body; stop when the upstream answers before its end."""
        exchange = await _step(service, calls)
        answered = asyncio.ensure_future(exchange.answering())
        try:
            while not exchange.answered:
                piece = asyncio.ensure_future(intake.piece())
                try:
                    await asyncio.wait((piece, answered), return_when=asyncio.FIRST_COMPLETED)
                    if not piece.done():
                        return
                    if not await _sent(service, exchange, *piece.result()):
                        return
                finally:
                    piece.cancel()
                    del piece  # or its exception and this frame keep each other, and the server's receive(), alive
        finally:
            answered.cancel()

    async def _download(self, service: Service, calls: AsyncGenerator[Exchange, None], inbound: Inbound,
                        outbound: Outbound | None) -> None:
        inbound.body_is_over()
        exchange = await _step(service, calls)
        if exchange.failure is not None:
            raise problem_of(await _verdict(calls) or exchange.failure, service.name)
        status, begun, whole = exchange.status, b"", None
        headers = to_client(exchange.headers, _VIA, status)
        if outbound is not None:
            body = AnswerBody(exchange, service.idle)
            try:
                status, headers, whole = await outbound(status, headers, body)
            except UpstreamError as error:
                exchange.failure = error
                raise problem_of(await _verdict(calls) or error, service.name) from None
            begun = body.taken
        if whole is not None:
            await inbound.respond(status, headers, whole)
        elif exchange.complete:
            await inbound.respond(status, headers, begun + exchange.take())
        else:
            await inbound.start(status, headers)
            await self._stream(service, exchange, inbound, begun)
        await _verdict(calls)

    async def _stream(self, service: Service, exchange: Exchange, inbound: Inbound, begun: bytes) -> None:
        """Send the body as it comes, after what has *begun* it. Without its end if it breaks off."""
        try:
            # The first piece, though it may be empty, makes ASGI servers send the head now.
            await within(self._patience, inbound.write(begun + exchange.take()), ClientGoneError)
            while not exchange.complete:
                await within(service.idle, exchange.more(), _stalled)
                if not exchange.complete:
                    await within(self._patience, inbound.write(exchange.take()), ClientGoneError)
        except UpstreamError as error:
            exchange.failure = error
            return
        await within(self._patience, inbound.end(exchange.take()), ClientGoneError)


async def _taken_in(request: Request, length: int, intake: Intake) -> Request:
    """The request with its small body."""
    return Request(method=request.method, target=request.target, host=request.host, headers=request.headers,
                   length=length, body=await intake.whole(length))


async def _sent(service: Service, exchange: Exchange, piece: bytes, more: bool) -> bool:
    """Send a piece of the request's body; whether another is wanted."""
    try:
        if piece:
            await within(service.idle, exchange.write(piece), lambda: UpstreamStalledError("takes nothing"))
        if not more:
            exchange.end()
    except InvalidRequestError as error:
        raise Problem(400, f"{error}", close=True) from None
    except UpstreamError as error:
        exchange.failure = error
        return False
    return more


def _stalled() -> UpstreamStalledError:
    return UpstreamStalledError("the upstream stopped in the middle of its answer")


async def _step(service: Service, calls: AsyncGenerator[Exchange, None]) -> Exchange:
    """Let the guarded exchange go on.

    Raises:
        Problem: It was refused, or failed.
    """
    try:
        return await calls.__anext__()
    except InvalidRequestError as error:
        raise Problem(400, f"{error}", close=True) from None
    except (ResilienceError, UpstreamError) as error:
        raise problem_of(error, service.name) from None
    except Exception:
        _logger.exception("the exchange with %s failed in the gateway", service.name)
        raise Problem(500, "the gateway failed") from None


async def _verdict(calls: AsyncGenerator[Exchange, None]) -> UpstreamError | None:
    """Let the guarded exchange end, and be counted."""
    try:
        await calls.__anext__()
    except StopAsyncIteration:
        return None
    except UpstreamError as error:
        return error
    return None
