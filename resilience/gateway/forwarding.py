"""Forwarding: the bytes of one exchange between a client and a service.

The request's body is taken in if it is small (request_body.py), and a service is called (service.py). The answer
streams back piece by piece; no more is read from either side than the other has taken. Every wait has a bound:

    for the client's next piece            client_timeout      408, or the connection is cut
    for all pieces of the client's body    upload_timeout      408
    for the pace of these pieces           min_upload_rate         408
    for room in the client's connection    client_timeout      the connection is cut; see Inbound
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
from collections.abc import Awaitable, Callable
from typing import Final

import attrs

from ..drivers.async_timeouts import AsyncTimeout
from ..errors import CircuitOpenError, ResilienceError
from .answers.held_answers import Answer, HeldAnswer, Resumed, begun_or_whole
from .messages.content import ACCEPTED, may_be_json
from .messages.exchange import Header, InvalidRequestError, Request, UpstreamError, UpstreamStalledError
from .messages.grpc_status import is_grpc, trailers_for
from .messages.headers import to_client
from .messages.inbound import HopRequest, Inbound
from .messages.problem import Problem, ReplacedAnswer, problem_of, too_large
from .messages.request_body import SMALL_BODY_BYTES, BegunIntake, Intake, is_too_slow, within
from .messages.tunnel import Tunnel
from .mirroring import Mirror
from .request_mapping import PSEUDONYM
from .services.attempts import Attempts
from .services.hedging import HedgedAttempts
from .services.served_endpoint import MAX_JSON
from .services.service import Service
from .upload import Upload

_VIA: Final = {version: b"%b %b" % (version.encode(), PSEUDONYM) for version in ("1.0", "1.1", "2")}
_TRAILERS: Final = (b"te", b"trailers")
_logger = logging.getLogger(__name__)


class AnswerBody:
    """The body of an upstream's answer, before any of it was sent on. Of one task."""

    __slots__ = ("_exchange", "_idle", "taken")

    def __init__(self, exchange: Answer, idle: AsyncTimeout) -> None:
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
    """Forwards requests to services, with one bound on every client's pace. For one event loop.

    Attributes:
        reserved: Folded names of headers that services take for the gateway's word.
    """

    def __init__(self, *, client_timeout: float, upload_timeout: float | None, min_upload_rate: float | None,
                 reserved: frozenset[bytes] = frozenset()) -> None:
        """With bounds.

        Args:
            client_timeout: Seconds for each piece that a client sends.
            upload_timeout: Seconds for the whole of a request's body; None: no limit.
            min_upload_rate: Bytes a second that a client has to send at least; None: no limit.
            reserved: Folded names of headers that services take for the gateway's word: no trailer of a client may
                have them.
        """
        self._patience = AsyncTimeout("client", client_timeout)
        self._upload_timeout, self._upload_rate, self.reserved = upload_timeout, min_upload_rate, reserved

    async def forward(self, service: Service, request: Request, inbound: Inbound,
                      outbound: Outbound | None = None, *, mirror: Mirror | None = None) -> None:
        """Send *request* to *service*, and its answer back, as *outbound* changes it.

        Args:
            service: Answers.
            request: With its body, or without if that is yet to come.
            inbound: Brings the body, and takes the answer.
            outbound: Is given the head of the answer, and the body if it wants it; None: the answer stays as it is.
            mirror: Gets a copy, if the body is small enough to be taken in first; None: nobody does.

        Raises:
            Problem: There is none to send back, and nothing was sent.
            ClientGoneError: The client stopped taking it.
        """
        request.interim = inbound.interim
        if inbound.hop is not None:
            _ask(request, inbound.hop, service)
        intake: Intake | BegunIntake | None = None
        if request.body is None:
            request, intake = await self._begun(service, request, inbound)
        if mirror is not None and request.body is not None and not request.upgrade:  # half a handshake is none
            mirror.copy(request)
        try:
            if service.has_deadline:
                with service.bounded(request):
                    await self._exchange(service, request, intake, inbound, outbound)
            else:
                await self._exchange(service, request, intake, inbound, outbound)
        except Problem as problem:
            if service.fallbacks is None or (problem.status < 500 and not isinstance(problem, ReplacedAnswer)):
                raise
            await self._fall_back(service, request, problem, inbound, outbound)

    async def _fall_back(self, service: Service, request: Request, problem: Problem, inbound: Inbound,
                         outbound: Outbound | None) -> None:
        """Answer in the place of a service that failed; nothing was passed on yet."""
        fallbacks = service.fallbacks
        assert fallbacks is not None
        found, static = fallbacks.kept(request, service.clock()), fallbacks.static()
        if found is None and service.fallback_service is not None and request.body is not None:
            another = request if static is None else attrs.evolve(request, unwanted=request.unwanted | fallbacks.codes)
            with contextlib.suppress(Problem):
                await self.forward(service.fallback_service, another, inbound, outbound)
                return
        found = found or static
        if found is not None and request.replaced is not None:
            request.replaced(problem.reason)
        elif isinstance(problem, ReplacedAnswer) and problem.status not in request.unwanted:
            found = found or problem.answer
        if found is None:
            raise problem
        status, headers, body = found
        if outbound is not None:
            kept = AnswerBody(HeldAnswer(status, headers, body), service.idle)
            status, headers, whole = await outbound(status, headers, kept)
            body = body if whole is None else whole
        await inbound.respond(status, headers, b"" if request.method == "HEAD" else body)

    def intake(self, inbound: Inbound, max_body: int | None) -> Intake:
        """The body of a request, of at most *max_body* bytes."""
        return Intake(inbound.receive, self._patience, self._upload_timeout, max_body, self._upload_rate)

    async def _begun(self, service: Service, request: Request, inbound: Inbound) -> (
            tuple[Request, Intake | BegunIntake | None]):
        """The request with its body, if that is small; else as it is, and what its body is to be read from."""
        intake = self.intake(inbound, service.max_body)
        if service.endpoints.sets_json and may_be_json(request.headers):
            return await _with_json(request, intake, max(MAX_JSON, service.retry.takes_in)), None
        if request.length is not None and request.length <= service.retry.takes_in:
            return attrs.evolve(request, body=await intake.whole(request.length)), None
        if service.retry.takes_in > SMALL_BODY_BYTES or service.uploads.are_full or inbound.head.has_come:
            return await _taken_in_if_short(request, intake, service.retry.takes_in)
        return request, intake

    async def _exchange(self, service: Service, request: Request, intake: Intake | BegunIntake | None,
                        inbound: Inbound, outbound: Outbound | None) -> None:
        if intake is None and (refusal := service.refusal(request)) is not None:
            raise problem_of(refusal, service.name)
        try:
            attempts = service.attempts(request)
        except CircuitOpenError as error:
            raise problem_of(error, service.name) from None
        try:
            rest: asyncio.Future[None] | None = None
            if intake is not None:
                with service.uploads.one():
                    upload = await self._upload(service, attempts, intake, inbound)
                if upload is not None:
                    rest = asyncio.ensure_future(upload.rest())
            try:
                await self._download(service, request, attempts, inbound, outbound)
            finally:
                if rest is not None:
                    rest.cancel()
        except BaseException:
            await attempts.close()
            raise

    async def _upload(self, service: Service, attempts: Attempts | HedgedAttempts,
                      intake: Intake | BegunIntake, inbound: Inbound) -> Upload | None:
        """Stream the request's body; what sends the rest, if that is to go on beside the answer."""
        try:
            exchange = await attempts.opened()
        except Exception as error:  # noqa: BLE001 - told to the client, and logged if it is none of theirs
            raise _told(service, error) from None
        upload = Upload(service, exchange, intake, inbound, self.reserved)
        return upload if await upload.run() else None

    async def _download(self, service: Service, request: Request, attempts: Attempts | HedgedAttempts,
                        inbound: Inbound, outbound: Outbound | None) -> None:
        inbound.body_is_over()
        try:
            answer: Answer = await attempts.answered()
        except Exception as error:  # noqa: BLE001 - told to the client, and logged if it is none of theirs
            raise _told(service, error) from None
        if service.fallbacks is not None or request.unwanted:
            answer = await self._replaceable(service, request, answer, attempts)
        if answer.failure is not None:
            raise problem_of(await attempts.settled() or answer.failure, service.name)
        if answer.status == 101:
            await self._tunnel(service, attempts, answer, inbound)
            return
        headers = to_client(answer.headers, _VIA[answer.version], answer.status)
        await self._pass_on(service, request, answer, headers, attempts, inbound, outbound)
        await attempts.settled()

    async def _pass_on(self, service: Service, request: Request, answer: Answer, headers: list[Header],
                       attempts: Attempts | HedgedAttempts, inbound: Inbound, outbound: Outbound | None) -> None:
        """Give the client an answer, as *outbound* changes it."""
        kept = None if service.fallbacks is None else service.fallbacks.answers
        if kept is not None:
            kept.outdate(request, answer.status)
            if answer.complete:
                answer = Resumed(answer, bytes(answer.take()))
                kept.keep(request, answer.status, headers, answer.begun, service.clock())
        if service.config.balancing.sticky is not None:  # of this client alone: what is kept is for others
            headers = [*headers, *service.cookie(request, attempts)]
        status, begun, whole = answer.status, b"", None
        if outbound is not None:
            body = AnswerBody(answer, service.idle)
            try:
                status, headers, whole = await outbound(status, headers, body)
            except UpstreamError as error:
                answer.failure = error
                raise problem_of(await attempts.settled() or error, service.name) from None
            begun = body.taken
        if whole is not None:
            await inbound.respond(status, headers, whole)
        elif answer.complete and not answer.trailers:
            await inbound.respond(status, headers, begun + answer.take())
        else:
            await inbound.start(status, headers)
            await self._stream(service, answer, inbound, begun)

    @staticmethod
    async def _tunnel(service: Service, attempts: Attempts | HedgedAttempts, answer: Answer, inbound: Inbound) -> None:
        """Give both connections to a tunnel, which is in flight until it ends, and a success however it ends."""
        assert not isinstance(answer, HeldAnswer)
        upgrade = [header for header in answer.headers if header[0] == b"upgrade"]
        try:
            end = inbound.switch([*to_client(answer.headers, _VIA[answer.version], 101), *upgrade])
            await Tunnel(end, answer.detach(), service.tunnel_idle_s).run()
        except UpstreamError as error:
            answer.failure = error
            raise problem_of(error, service.name) from None
        finally:
            await attempts.settled()

    @staticmethod
    async def _replaceable(service: Service, request: Request, answer: Answer,
                           attempts: Attempts | HedgedAttempts) -> Answer:
        """The answer; whole, if it is to be kept. Raises a Problem for one that is replaced by a fallback."""
        fallbacks, status, now, held = service.fallbacks, answer.status, service.clock(), None
        is_replaced = fallbacks is not None and fallbacks.could_replace(request, status, now)
        if is_replaced or status in request.unwanted:
            if fallbacks is not None and is_replaced and not fallbacks.are_at_hand(request, now):
                found = await begun_or_whole(answer, service.idle)
                if isinstance(found, HeldAnswer):
                    held = status, to_client(found.headers, _VIA[found.version], status), found.begun
            await attempts.settled()
            raise ReplacedAnswer(status, f"{service.name} failed", held)
        kept = None if fallbacks is None else fallbacks.answers
        if kept is None or isinstance(answer, HeldAnswer) or not kept.wants(request, answer.status, answer.headers):
            return answer
        whole = Resumed(answer, bytes(answer.take()))
        try:
            while not answer.complete:
                await within(service.idle, answer.more(), _stalled)
                whole.begun += answer.take()
        except UpstreamError as error:
            answer.failure = error
        return whole

    async def _stream(self, service: Service, exchange: Answer, inbound: Inbound, begun: bytes) -> None:
        """Send the body as it comes, after what has *begun* it. Without its end if it breaks off."""
        pace = None if service.config.min_rate is None else _Pace(service.config.min_rate)
        try:
            # The first piece, though it may be empty, makes ASGI servers send the head now.
            await inbound.write(begun + exchange.take())
            while not exchange.complete:
                if pace is None:
                    await within(service.idle, exchange.more(), _stalled)
                else:
                    await pace.kept(within(service.idle, exchange.more(), _stalled))
                if not exchange.complete:
                    piece = exchange.take()
                    if pace is not None:
                        pace.size += len(piece)
                    await inbound.write(piece)
        except UpstreamError as error:
            exchange.failure = error
            if inbound.hop is not None and inbound.hop.takes_trailers and is_grpc(inbound.head):
                told = problem_of(error, service.name)
                await inbound.end(b"", trailers_for(told.status, told.detail))
            return
        await inbound.end(exchange.take(), exchange.trailers)


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


def _ask(request: Request, hop: HopRequest, service: Service) -> None:
    """Ask the upstream for what the client has asked of its own connection, as far as that may pass."""
    if hop.upgrade and request.length == 0:
        request.upgrade = [each for each in hop.upgrade if each in service.upgrades]
    if hop.takes_trailers and not request.upgrade and _TRAILERS not in request.headers:
        request.headers = [*request.headers, (b"connection", b"te"), _TRAILERS]


async def _taken_in_if_short(request: Request, intake: Intake, most: int) -> tuple[Request, BegunIntake | None]:
    """The request with its body, if that is over within *most* bytes; else what has come of it, and the rest."""
    begun, more = await intake.begun(most)
    if more or len(begun) > most:
        return request, BegunIntake(begun, more, intake)
    if request.length is not None and request.length != len(begun):
        raise Problem(400, "the body is not as long as its Content-Length", close=True)
    return attrs.evolve(request, body=begun), None


async def _with_json(request: Request, intake: Intake, most: int) -> Request:
    """The request with its body, in which some endpoint has values set.

    Raises:
        Problem: 413: it is longer than *most* bytes; else as for Intake.
    """
    if request.length is not None and request.length > most:
        raise too_large(most)
    request, rest = await _taken_in_if_short(request, intake, most)
    if rest is not None:
        raise too_large(most)
    return request


def _stalled() -> UpstreamStalledError:
    return UpstreamStalledError("the upstream stopped in the middle of its answer")


def _told(service: Service, error: Exception) -> Problem:
    """What the client is told of an *error* of the attempts, which is being handled."""
    if isinstance(error, (ResilienceError, UpstreamError)):
        return problem_of(error, service.name)
    if isinstance(error, InvalidRequestError):
        accepted = [(name.encode(), value.encode()) for name, value in ACCEPTED.items() if error.status == 415]
        return Problem(error.status, f"{error}", headers=accepted, close=True)
    _logger.exception("the exchange with %s failed in the gateway", service.name)
    return Problem(500, "the gateway failed")
