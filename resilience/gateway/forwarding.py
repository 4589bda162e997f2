"""Forwarding: the bytes of one exchange between a client and a service.

The request's body is taken in if it is small (request_body.py), and a service is called (service.py). The answer
streams back piece by piece; no more is read from either side than the other has taken. Every wait has a bound:

    for the client's next piece            client_timeout      408, or the connection is cut
    for all pieces of the client's body    upload_timeout      408
    for the pace of these pieces           upload_rate         408
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
from collections.abc import AsyncGenerator
from typing import Final

import attrs

from ..drivers.async_timeouts import AsyncTimeout
from ..errors import ResilienceError
from .headers import to_client
from .inbound import ClientGoneError, HopRequest, Inbound
from .problem import Problem, problem_of
from .request_body import SMALL_BODY_BYTES, Intake, within
from .request_mapping import PSEUDONYM
from .service import Service
from .tunnel import Tunnel
from .upstream import Exchange, InvalidRequestError, Request, UpstreamError, UpstreamStalledError

_VIA: Final = b"1.1 " + PSEUDONYM
_logger = logging.getLogger(__name__)


class Forwarder:
    """Forwards requests to services, with one bound on every client's pace. For one event loop."""

    def __init__(self, *, client_timeout: float, upload_timeout: float | None, upload_rate: float | None) -> None:
        self._patience = AsyncTimeout("client", client_timeout)
        self._upload_timeout, self._upload_rate = upload_timeout, upload_rate

    async def forward(self, service: Service, request: Request, inbound: Inbound) -> None:
        """Send *request* to *service*, and its answer back.

        Raises:
            Problem: There is none to send back, and nothing was sent.
            ClientGoneError: The client stopped taking it.
        """
        request.interim = inbound.interim
        if inbound.hop is not None:
            _ask(request, inbound.hop, service)
        intake = None
        if request.body is None:
            intake = Intake(inbound.receive, self._patience, self._upload_timeout, service.max_body,
                            self._upload_rate)
            if request.length is not None and request.length <= SMALL_BODY_BYTES:
                request, intake = await _taken_in(request, request.length, intake), None
        calls = service.call(request)
        try:
            if intake is not None:
                await self._upload(service, calls, intake, inbound)
            await self._download(service, calls, inbound)
        except BaseException:
            await calls.aclose()
            raise

    async def _upload(self, service: Service, calls: AsyncGenerator[Exchange, None], intake: Intake,
                      inbound: Inbound) -> None:
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
                    if not await _sent(service, exchange, inbound, *piece.result()):
                        return
                finally:
                    piece.cancel()
                    del piece  # or its exception and this frame keep each other, and the server's receive(), alive
        finally:
            answered.cancel()

    async def _download(self, service: Service, calls: AsyncGenerator[Exchange, None], inbound: Inbound) -> None:
        inbound.body_is_over()
        exchange = await _step(service, calls)
        if exchange.failure is not None:
            raise problem_of(await _verdict(calls) or exchange.failure, service.name)
        headers = to_client(exchange.headers, _VIA)
        if exchange.status == 101:
            await self._tunnel(service, calls, exchange, inbound)
            return
        if exchange.complete and not exchange.trailers:
            await inbound.respond(exchange.status, headers, exchange.take())
        else:
            await inbound.start(exchange.status, headers)
            await self._stream(service, exchange, inbound)
        await _verdict(calls)

    @staticmethod
    async def _tunnel(service: Service, calls: AsyncGenerator[Exchange, None], exchange: Exchange,
                      inbound: Inbound) -> None:
        """Give both connections to a tunnel, which is in flight until it ends, and a success however it ends."""
        upgrade = [header for header in exchange.headers if header[0] == b"upgrade"]
        try:
            end = inbound.switch([*to_client(exchange.headers, _VIA), *upgrade])
            await Tunnel(end, exchange.detach(), service.tunnel_idle_s).run()
        finally:
            await _verdict(calls)

    async def _stream(self, service: Service, exchange: Exchange, inbound: Inbound) -> None:
        """Send the body as it comes. Without its end if it breaks off."""
        try:
            # The first piece, though it may be empty, makes ASGI servers send the head now.
            await within(self._patience, inbound.write(exchange.take()), ClientGoneError)
            while not exchange.complete:
                await within(service.idle, exchange.more(), _stalled)
                if not exchange.complete:
                    await within(self._patience, inbound.write(exchange.take()), ClientGoneError)
        except UpstreamError as error:
            exchange.failure = error
            return
        await within(self._patience, inbound.end(exchange.take(), exchange.trailers), ClientGoneError)


def _ask(request: Request, hop: HopRequest, service: Service) -> None:
    """Ask the upstream for what the client has asked of its own connection, as far as that may pass."""
    if hop.upgrade and request.length == 0:
        request.upgrade = [each for each in hop.upgrade if each in service.upgrades]
    if hop.takes_trailers and not request.upgrade:
        request.headers = [*request.headers, (b"connection", b"te"), (b"te", b"trailers")]


async def _taken_in(request: Request, length: int, intake: Intake) -> Request:
    """The request with its small body."""
    return attrs.evolve(request, body=await intake.whole(length))


async def _sent(service: Service, exchange: Exchange, inbound: Inbound, piece: bytes, more: bool) -> bool:
    """Send a piece of the request's body; whether another is wanted."""
    try:
        if piece:
            await within(service.idle, exchange.write(piece), lambda: UpstreamStalledError("takes nothing"))
        if not more:
            exchange.end(inbound.trailers)
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
