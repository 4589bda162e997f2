"""Attempts: one client's request on its way over the endpoints of a service, until an answer may be passed on.

The pure part is balancing.course: what follows a failed attempt. This is its driver: it picks endpoints, lets their
guarded exchanges run, tells the ejector how they ended, and waits.

An answer is the client's from the moment when the forwarder has it. One with a status to retry is held back first: up
to HELD_BYTES of its body are read, so that it can be given after all if the attempts that follow bring nothing better.
A longer one is passed on as it is.

Whoever makes Attempts must close() them, however they end: the permit of the exchange under way, and its place in
the endpoint's count of requests in flight, go back there, whether the client left, or the task was cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, Final

from ..core.retry_after import asked_for
from ..core.verdict import Verdict
from ..errors import (
    CallTimeoutError,
    DeadlineExceededError,
    NoTimeLeftError,
    RejectedError,
    ResilienceError,
)
from .balancing.course import IDEMPOTENT, Course, Ending, Move
from .request_body import within
from .served_endpoint import ServedEndpoint
from .upstream import (
    Exchange,
    Header,
    LocalLimitError,
    Request,
    UpstreamError,
    UpstreamStalledError,
    UpstreamStatusError,
    UpstreamUnreachableError,
)

if TYPE_CHECKING:
    from .service import Service

#: So much of an answer's body is kept while it is seen whether another endpoint has a better one.
HELD_BYTES: Final = 64 * 1024
#: What speaks of an endpoint's or a service's state, and not of a mistake in the gateway.
FAILURES: Final = (UpstreamError, ResilienceError)


class HeldAnswer:
    """An answer that has come whole, and whose exchange is over. For the forwarder it is as good as an Exchange."""

    __slots__ = ("_body", "headers", "status")
    answered = complete = True
    failure = None

    def __init__(self, status: int, headers: list[Header], body: bytes) -> None:
        self.status, self.headers, self._body = status, headers, body

    def take(self) -> bytes:
        """The body, once."""
        body, self._body = self._body, b""
        return body


class Resumed:
    """An answer that turned out too long to be held back: what was read of it, and then the rest."""

    __slots__ = ("_begun", "_exchange")

    def __init__(self, exchange: Exchange | Resumed, begun: bytes) -> None:
        self._exchange, self._begun = exchange, begun

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exchange, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in Resumed.__slots__:
            object.__setattr__(self, name, value)
        else:
            setattr(self._exchange, name, value)

    def take(self) -> bytes:
        """See Exchange."""
        begun, self._begun = self._begun, b""
        return begun + self._exchange.take()


class Attempts:
    """One request's attempts. Of one task.

    Attributes:
        endpoint: Where the last attempt went.
        sent: Whether the attempt under way was sent.
    """

    __slots__ = ("_began", "_calls", "_detour", "_key", "_permit", "_request", "_service", "_told", "endpoint", "sent")
    endpoint: ServedEndpoint

    def __init__(self, service: Service, request: Request) -> None:
        self._service, self._request = service, request
        self._key = service.key_of(request) if service.is_keyed else None
        self.sent = False
        self._told = True
        self._calls: AsyncGenerator[Exchange, None] | None = None
        self._detour: Detour | None = None

    # -- the way to an answer

    async def opened(self) -> Exchange:
        """Attempt until the body of the request can be streamed to an endpoint.

        Raises:
            UpstreamError, ResilienceError: There is none that takes it.
        """
        calls = self._begin(None)
        try:
            return await calls.__anext__()
        except FAILURES as error:
            return await self._elsewhere(error)

    async def answered(self) -> Exchange | Resumed | HeldAnswer:
        """Attempt until there is an answer to pass on.

        Raises:
            UpstreamError, ResilienceError: There is none.
        """
        is_streamed, calls = True, self._calls
        if calls is None:
            is_streamed, calls = False, self._begin(None)
        try:
            answer = await calls.__anext__()
        except FAILURES as error:
            if is_streamed:  # of the body nothing is left
                self._account(error)
                raise
            answer = await self._elsewhere(error)
        service = self._service
        if answer.status in service.retried and not is_streamed:
            return await self._weighed(answer)
        if service.wants_times:
            self._timed()
        return answer

    async def settled(self) -> UpstreamError | None:
        """The answer was passed on: let the exchange end, and be counted; why it failed after all."""
        calls = self._calls
        if calls is None:
            return None
        try:
            await calls.__anext__()
        except StopAsyncIteration:
            self._well()
        except UpstreamError as error:
            self._account(error)
            return error
        return None

    async def close(self) -> None:
        """Give back what is held, whatever was under way."""
        calls, self._calls = self._calls, None
        try:
            if calls is not None:
                await calls.aclose()
        finally:
            self._left()
            if self._detour is not None:
                self._detour.course.stop()

    # -- within

    def _begin(self, same: ServedEndpoint | None) -> AsyncGenerator[Exchange, None]:
        """Begin an attempt: at the *same* endpoint as before, or at one that was not asked yet.

        Raises:
            NobodyLeftError: All were asked.
        """
        service = self._service
        if same is None:
            tried = () if self._detour is None else self._detour.course.tried
            chosen = service.endpoints.choose(service.clock(), service.random(), self._key, tried)
            if chosen is None:
                raise NobodyLeftError if tried else UpstreamUnreachableError("the service has no endpoints")
            endpoint, self._permit = chosen
        else:
            endpoint, self._permit = same, None
        if service.wants_times:
            self._began = service.clock()
        request = endpoint.changed(self._request) if endpoint.is_changing else self._request
        self.sent = False
        self.endpoint = endpoint
        self._calls = calls = endpoint.call(request, self)
        self._told = False
        endpoint.in_flight += 1
        return calls

    async def _elsewhere(self, error: Exception) -> Exchange:
        """An attempt has failed: go on until an exchange has got as far as its next step."""
        while True:
            move, delay = self._follows(*self._account(error), error)
            try:
                return await (await self._next(move, delay)).__anext__()
            except NobodyLeftError:
                raise self._way().most_telling(error) from None
            except FAILURES as another:
                error = another

    async def _next(self, move: Move, delay: float) -> AsyncGenerator[Exchange, None]:
        """Begin the next attempt, if there is to be one."""
        if move is Move.STOP:
            raise NobodyLeftError
        if delay:
            await asyncio.sleep(delay)
        return self._begin(self.endpoint if move is Move.SAME else None)

    async def _weighed(self, answer: Exchange) -> Exchange | Resumed | HeldAnswer:
        """An answer has a status to retry: the one that is to be passed on, of all that can be had."""
        detour = self._way()
        while answer.status in self._service.retried and self._may_go_on(detour):
            longer = await self._hold(answer, detour)
            if longer is not None:
                return longer
            error = await self._kept_back(answer.status)
            try:
                calls = await self._next(*self._follows(*self._account(error), error))
                answer = await calls.__anext__()
            except NobodyLeftError:
                if detour.held is None:
                    raise detour.most_telling(error) from None
                return detour.held
            except FAILURES as another:
                try:
                    answer = await self._elsewhere(another)
                except FAILURES:
                    if detour.held is None:
                        raise
                    return detour.held
        if self._service.wants_times:
            self._timed()
        return answer

    async def _kept_back(self, status: int) -> UpstreamError:
        """The exchange with an answer that is not passed on, or that broke off, ends; what is to be said of it."""
        calls, self._calls = self._calls, None
        assert calls is not None
        try:
            await calls.__anext__()
        except UpstreamError as error:
            return error
        except StopAsyncIteration:
            self._well()
        return UpstreamStatusError(status)

    def _may_go_on(self, detour: Detour) -> bool:
        """Whether an answer with a status to retry may be followed by another attempt."""
        return detour.course.could_repeat() and (self._service.repeats_here or self._has_other(detour.course))

    def _has_other(self, course: Course) -> bool:
        endpoint, tried = self.endpoint, course.tried
        return any(state is not endpoint and state not in tried for state in self._service.endpoints.states)

    def _way(self) -> Detour:
        detour = self._detour
        if detour is None:
            service, request = self._service, self._request
            may_repeat = request.body is not None and (service.repeatable or request.method in IDEMPOTENT)
            detour = self._detour = Detour(Course(service.config.retry, service.delays, service.budget, may_repeat))
        return detour

    def _timed(self) -> None:
        now = self._service.clock()
        self.endpoint.time(now - self._began, now)

    async def _hold(self, exchange: Exchange, detour: Detour) -> Resumed | None:
        """Keep an answer, if it is short; else what is to be passed on."""
        pieces: list[bytes] = []
        try:
            while True:
                pieces.append(exchange.take())
                if sum(map(len, pieces)) > HELD_BYTES:
                    return Resumed(exchange, b"".join(pieces))
                if exchange.complete:
                    detour.held = HeldAnswer(exchange.status, exchange.headers, b"".join(pieces))
                    return None
                await within(self._service.idle, exchange.more(), lambda: UpstreamStalledError("stopped in its answer"))
        except UpstreamError as error:
            exchange.failure = error
            return None

    # -- how it ended

    def _left(self) -> None:
        """The attempt is over, and says nothing of its endpoint unless that was told already."""
        if not self._told:
            self._told = True
            endpoint = self.endpoint
            endpoint.in_flight -= 1
            if self._permit is not None:
                self._service.endpoints.ejector.left(endpoint, self._permit, self._service.clock())

    def _well(self) -> None:
        endpoint = self.endpoint
        if self._told:
            return
        self._told = True
        endpoint.in_flight -= 1
        if endpoint.failures or self._permit is not None:
            self._service.recovered(endpoint, self._permit)
        else:
            endpoint.good += 1

    def _account(self, error: Exception) -> tuple[Ending, float | None]:
        """The attempt under way has failed: tell it whom it concerns; how it ended, and what the endpoint asks for."""
        endpoint = self.endpoint
        ending, asked = self._ending(error)
        if not self._told:
            self._told = True
            endpoint.in_flight -= 1
            self._service.failed(endpoint, self._permit, ending, asked, error)
        self._way().note(ending, error)
        return ending, asked

    def _follows(self, ending: Ending, asked: float | None, error: Exception) -> tuple[Move, float]:
        """What follows an attempt that ended so."""
        service, course = self._service, self._way().course
        if isinstance(error, (NoTimeLeftError, DeadlineExceededError, LocalLimitError)) or (
                ending is Ending.REFUSED and not service.is_per_endpoint):  # they share the command that refused
            return Move.STOP, 0.0
        move, delay = course.after(
            ending, self.endpoint, asked, self._has_other(course), service.clock(), service.random())
        if move is Move.STOP:
            course.stop()
        return move, delay

    def _ending(self, error: Exception) -> tuple[Ending, float | None]:
        if isinstance(error, RejectedError):
            return Ending.REFUSED, None
        if isinstance(error, CallTimeoutError):
            return (Ending.LATE if self.sent else Ending.UNSENT), None
        if isinstance(error, UpstreamStatusError):
            if self._service.verdict_of(error) is Verdict.BUSY:
                return Ending.BUSY, asked_for(error)
            return Ending.STATUS, None
        if isinstance(error, UpstreamUnreachableError) and not self.sent:
            return Ending.UNSENT, None
        return Ending.BROKEN, None


class Detour:
    """What one request has met since its first attempt failed.

    Attributes:
        course: What is to follow.
        held: The last answer that was held back.
    """

    __slots__ = ("_refusal", "_trouble", "course", "held")

    def __init__(self, course: Course) -> None:
        self.course = course
        self.held: HeldAnswer | None = None
        self._trouble: Exception | None = None
        self._refusal: RejectedError | None = None

    def note(self, ending: Ending, error: Exception) -> None:
        """An attempt has failed."""
        if ending is not Ending.REFUSED:
            if self._trouble is None or not isinstance(error, UpstreamUnreachableError):
                self._trouble = error
        elif isinstance(error, RejectedError) and (
                self._refusal is None or (error.retry_after or 0.0) < (self._refusal.retry_after or 0.0)):
            self._refusal = error

    def most_telling(self, last: Exception) -> Exception:
        """What the client is told: a failure of what was sent, else the refusal that ends soonest, else the last."""
        trouble, refusal = self._trouble, self._refusal
        if trouble is not None and (refusal is None or not isinstance(trouble, UpstreamUnreachableError)):
            return trouble
        return last if refusal is None else refusal


class NobodyLeftError(Exception):
    """There is to be no further attempt."""
