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
import contextlib
import logging
from collections.abc import Awaitable
from typing import Final, TypeVar

import attrs

from ..drivers.async_timeouts import AsyncTimeout
from ..errors import ResilienceError
from .attempts import Attempts
from .fallbacks import Fallbacks
from .headers import to_client
from .hedging import HedgedAttempts
from .held_answers import HeldAnswer, Resumed
from .inbound import ClientGoneError, Inbound
from .problem import Problem, problem_of
from .request_body import SMALL_BODY_BYTES, BegunIntake, Intake, is_too_slow, within
from .request_mapping import PSEUDONYM
from .service import Service
from .upstream import Exchange, InvalidRequestError, Request, UpstreamError, UpstreamStalledError

_Answer = TypeVar("_Answer", bound="Exchange | HeldAnswer | Resumed")
_UNBOUNDED: Final = contextlib.nullcontext()
_VIA: Final = b"1.1 " + PSEUDONYM
_logger = logging.getLogger(__name__)


class Forwarder:
    """Forwards requests to services, with one bound on every client's pace. For one event loop."""

    def __init__(self, *, client_timeout: float, upload_timeout: float | None) -> None:
        self._patience = AsyncTimeout("client", client_timeout)
        self._upload_timeout = upload_timeout

    async def forward(self, service: Service, request: Request, inbound: Inbound) -> None:
        """Send *request* to *service*, and its answer back.

        Raises:
            Problem: There is none to send back, and nothing was sent.
            ClientGoneError: The client stopped taking it.
        """
        intake: Intake | BegunIntake | None = None
        if request.body is None:
            intake = Intake(inbound.receive, self._patience, self._upload_timeout, service.max_body,
                            service.config.min_upload_rate)
            if request.length is not None and request.length <= service.takes_in:
                request, intake = await _taken_in(request, request.length, intake), None
            elif service.takes_in > SMALL_BODY_BYTES or service.uploads.are_full:
                request, intake = await _taken_in_if_short(request, intake, service.takes_in)
        try:
            with service.bounded(request) if service.has_deadline else _UNBOUNDED:
                attempts = service.attempts(request)
                try:
                    if intake is not None:
                        with service.uploads.one():
                            await self._upload(service, attempts, intake)
                    await self._download(service, request, attempts, inbound)
                except BaseException:
                    await attempts.close()
                    raise
        except Problem as problem:
            if service.fallbacks is None or problem.status < 500:
                raise
            await self._fall_back(service, request, problem, inbound)

    async def _fall_back(self, service: Service, request: Request, problem: Problem, inbound: Inbound) -> None:
        """Answer in the place of a service that failed; nothing was passed on yet."""
        fallbacks = service.fallbacks
        assert fallbacks is not None
        found = fallbacks.kept(request, service.clock())
        if found is None and service.fallback_service is not None and request.body is not None:
            await self.forward(service.fallback_service, request, inbound)
            return
        found = found or fallbacks.static()
        if found is None:
            raise problem
        status, headers, body = found
        await inbound.respond(status, headers, b"" if request.method == "HEAD" else body)

    async def _upload(self, service: Service, attempts: Attempts | HedgedAttempts,
                      intake: Intake | BegunIntake) -> None:
        """Stream the request's body; stop when the upstream answers before its end."""
        exchange = await _step(service, attempts.opened())
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

    async def _download(self, service: Service, request: Request, attempts: Attempts | HedgedAttempts,
                        inbound: Inbound) -> None:
        inbound.body_is_over()
        answer = await _step(service, attempts.answered())
        fallbacks = service.fallbacks
        if fallbacks is not None:
            answer = await self._replaceable(service, fallbacks, request, answer, attempts)
        if answer.failure is not None:
            raise problem_of(await attempts.settled() or answer.failure, service.name)
        headers = to_client(answer.headers, _VIA)
        if service.config.balancing.sticky is not None:
            headers = [*headers, *service.cookie(request, attempts)]
        if isinstance(answer, HeldAnswer) or answer.complete:
            body = answer.take()
            if fallbacks is not None and fallbacks.answers is not None:
                fallbacks.answers.keep(request, answer.status, headers, body, service.clock())
            await inbound.respond(answer.status, headers, body)
        else:
            await inbound.start(answer.status, headers)
            await self._stream(service, answer, inbound)
        await attempts.settled()

    @staticmethod
    async def _replaceable(service: Service, fallbacks: Fallbacks, request: Request,
                           answer: Exchange | Resumed | HeldAnswer, attempts: Attempts | HedgedAttempts) -> (
            Exchange | Resumed | HeldAnswer):
        """The answer; whole, if it is to be kept. Raises a Problem for one that is replaced by a fallback."""
        if fallbacks.could_replace(request, answer.status, service.clock()):
            await attempts.settled()
            raise Problem(answer.status, f"{service.name} failed")
        kept = fallbacks.answers
        if kept is None or isinstance(answer, HeldAnswer) or not kept.wants(request, answer.status, answer.headers):
            return answer
        whole = Resumed(answer, answer.take())
        try:
            while not answer.complete:
                await within(service.idle, answer.more(), _stalled)
                whole.begun += answer.take()
        except UpstreamError as error:
            answer.failure = error
        return whole

    async def _stream(self, service: Service, exchange: Exchange | Resumed, inbound: Inbound) -> None:
        """Send the body as it comes. Without its end if it breaks off."""
        pace = None if service.config.min_rate is None else _Pace(service.config.min_rate)
        try:
            # The first piece, though it may be empty, makes ASGI servers send the head now.
            await within(self._patience, inbound.write(exchange.take()), ClientGoneError)
            while not exchange.complete:
                if pace is None:
                    await within(service.idle, exchange.more(), _stalled)
                else:
                    await pace.kept(within(service.idle, exchange.more(), _stalled))
                if not exchange.complete:
                    piece = exchange.take()
                    if pace is not None:
                        pace.size += len(piece)
                    await within(self._patience, inbound.write(piece), ClientGoneError)
        except UpstreamError as error:
            exchange.failure = error
            return
        await within(self._patience, inbound.end(exchange.take()), ClientGoneError)


class _Pace:
    """Watches that an upstream sends as fast as it must; only the time spent waiting for it counts."""

    def __init__(self, min_rate: float) -> None:
        self._min_rate, self._waited_s, self.size = min_rate, 0.0, 0

    async def kept(self, more: Awaitable[None]) -> None:
        """Wait for *more*.

        Raises:
            UpstreamStalledError: It is too slow.
        """
        clock = asyncio.get_running_loop().time
        began = clock()
        await more
        self._waited_s += clock() - began
        if is_too_slow(self.size, self._waited_s, self._min_rate):
            raise UpstreamStalledError("the upstream sends its answer too slowly")


async def _taken_in(request: Request, length: int, intake: Intake) -> Request:
    """The request with its small body."""
    return Request(method=request.method, target=request.target, host=request.host, headers=request.headers,
                   length=length, body=await intake.whole(length))


async def _taken_in_if_short(request: Request, intake: Intake, most: int) -> tuple[Request, BegunIntake | None]:
    """The request with its body, if that is over within *most* bytes; else what has come of it, and the rest."""
    begun, more = await intake.begun(most)
    if more or len(begun) > most:
        return request, BegunIntake(begun, more, intake)
    if request.length is not None and request.length != len(begun):
        raise Problem(400, "the body is not as long as its Content-Length", close=True)
    return attrs.evolve(request, body=begun), None


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


async def _step(service: Service, step: Awaitable[_Answer]) -> _Answer:
    """Let the attempts go on.

    Raises:
        Problem: They were refused, or failed.
    """
    try:
        return await step
    except InvalidRequestError as error:
        raise Problem(400, f"{error}", close=True) from None
    except (ResilienceError, UpstreamError) as error:
        raise problem_of(error, service.name) from None
    except Exception:
        _logger.exception("the exchange with %s failed in the gateway", service.name)
        raise Problem(500, "the gateway failed") from None
