"""Attempts: one client's request on its way over the endpoints of a service, until an answer may be passed on.

The pure part is balancing.retry_state: what follows a failed attempt. This is its driver: it picks endpoints, lets
their guarded exchanges run, tells the ejector how they ended, and waits.

An answer is the client's from the moment when the forwarder has it. One with a status to retry is held back first: up
to HELD_BYTES of its body are read, so that it can be given after all if the attempts that follow bring nothing better.
A longer one is passed on as it is. So is one that no attempt is to follow.

Whoever makes Attempts must close() them, however they end: the permit of the exchange under way, and its place in
the endpoint's count of requests in flight, go back there, whether the client left, or the task was cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from typing import TYPE_CHECKING, Final

from ...core.failover import RestTerm
from ...core.terms import Term
from ...drivers.deadline_context import remaining
from ...errors import DeadlineExceededError, NoTimeLeftError, RejectedError, ResilienceError
from ..answers.held_answers import HELD_BYTES, Answer, HeldAnswer, OpenAnswer, Resumed
from ..balancing import EndpointState
from ..balancing.retry_state import Ending, RetryDecision, RetryState
from ..messages.exchange import (
    Exchange,
    LocalLimitError,
    Request,
    UpstreamError,
    UpstreamStatusError,
    UpstreamUnreachableError,
)
from .exchanging import counted_as
from .failed_attempts import FailedAttempts, NobodyLeftError
from .outgoing import for_answer_to_read, with_deadline
from .served_endpoint import ServedEndpoint

if TYPE_CHECKING:
    from .service import Service

#: What speaks of an endpoint's or a service's state, and not of a mistake in the gateway.
FAILURES: Final = (UpstreamError, ResilienceError)


class Attempts:
    """One request's attempts. Of one task.

    Attributes:
        endpoint: Where the last attempt went.
        sent: Whether the attempt under way was sent.
        counts: What a rule says that its answer counts as; None: no rule says anything.
        permit: Of the service's own circuit, to be given back; None: nobody asked it.
        keeps: Whether the exchange of the attempt that ends is kept by the failed attempts.
    """

    __slots__ = ("_began", "_calls", "_failed", "_failure", "_key", "_permit", "_request", "_service", "_told",
                 "counts", "endpoint", "keeps", "permit", "sent")
    endpoint: ServedEndpoint
    _permit: RestTerm | None

    def __init__(self, service: Service, request: Request, retry_state: RetryState | None = None) -> None:
        """Nothing is sent yet.

        Args:
            service: Whose endpoints are asked.
            request: With its body, or to be streamed.
            retry_state: Of a second way, when the first has asked the service's circuit; None: this is the first.

        Raises:
            CircuitOpenError: The service's own circuit is open.
        """
        self._service = service
        self._request = for_answer_to_read(request) if service.answers.read else request
        self._failure: Exception | None = None
        self.permit: Term | None = None
        if service.circuit is not None and retry_state is None:
            self.permit = service.circuit.admit(service.clock())
        self._key = service.key_of(request) if service.endpoints.is_keyed else None
        self.sent = self.keeps = False
        self.counts: str | None = None
        self._told = True
        self._calls: AsyncGenerator[Exchange, None] | None = None
        self._failed = None if retry_state is None else FailedAttempts(retry_state)

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

    async def answered(self) -> Answer:
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
        if service.answers.waits_for_item or answer.status in service.answers.statuses:
            return await self._weighed(answer)
        if service.endpoints.wants_times:
            self._timed()
        return answer

    async def settled(self) -> UpstreamError | None:
        """The answer was passed on: let the exchange end, and be counted; why it failed after all."""
        calls = self._calls
        if calls is None:
            self._over()
            return None
        try:
            await calls.__anext__()
        except StopAsyncIteration:
            self._well()
            self._over(is_answered=True)
        except UpstreamError as error:
            self._account(error)
            if self._failure is not error:
                self._failure = None
            self._over()
            return error
        except ResilienceError:  # a deadline passed while the answer was passed on: nobody has failed
            self._left()
            self._failure = None
            self._over()
        return None

    async def close(self) -> None:
        """Give back what is held, whatever was under way."""
        calls, self._calls = self._calls, None
        try:
            if calls is not None:
                await calls.aclose()
        finally:
            self._left()
            self._over()
            if self._failed is not None:
                self._failed.drop()
                self._failed.retry_state.stop(was_sent=self.sent)

    # -- within

    def _begin(self, same: ServedEndpoint | None) -> AsyncGenerator[Exchange, None]:
        """Begin an attempt: at the *same* endpoint as before, or at one that was not asked yet.

        Raises:
            NobodyLeftError: All were asked.
        """
        service = self._service
        if same is not None:
            endpoint, self._permit = same, None
        elif self._failed is not None:
            endpoint = self._chosen()
            self._failed.retry_state.tried.add(endpoint)
        else:
            service.retry.begun()
            balanced = service.endpoints.balanced
            turns = balanced.turns
            if turns is not None and (endpoint := next(turns)).in_flight < balanced.limit:
                self._permit = None
            else:
                endpoint = self._chosen()
        self.endpoint = endpoint
        self._told = False
        endpoint.in_flight += 1  # before anything that may raise: close() gives back what was taken
        if service.endpoints.wants_times:
            self._began = service.clock()
        request = endpoint.changed(self._request) if endpoint.is_changing else self._request
        if service.config.pass_deadline:
            request = with_deadline(request)
        self.counts = None
        if request.asked is not None:
            request.asked(endpoint.name)
        self._calls = calls = endpoint.call(request, self)
        return calls

    def _chosen(self) -> ServedEndpoint:
        """Where the next attempt goes."""
        service = self._service
        tried: Collection[EndpointState] = () if self._failed is None else self._failed.retry_state.tried
        chosen = service.endpoints.balanced.choose(service.clock(), service.random(), self._key, tried)
        if chosen is None:
            raise NobodyLeftError if tried else UpstreamUnreachableError("the service has no endpoints")
        endpoint, self._permit = chosen
        return endpoint

    async def _elsewhere(self, error: Exception) -> Exchange:
        """An attempt has failed: go on until an exchange has got as far as its next step."""
        if self._failed is None and not self._service.is_per_endpoint and isinstance(error, RejectedError):
            self._left()
            raise error  # by the command that all endpoints share
        while True:
            move, delay = self._follows(*self._account(error), error)
            if move is RetryDecision.STOP:
                raise self._failures().most_telling(error) from None
            try:
                return await (await self._next(move, delay)).__anext__()
            except NobodyLeftError:
                raise self._failures().most_telling(error) from None
            except FAILURES as another:
                error = another

    async def _next(self, move: RetryDecision, delay: float) -> AsyncGenerator[Exchange, None]:
        """Begin the next attempt, if there is to be one."""
        if move is RetryDecision.STOP:
            raise NobodyLeftError
        self.sent = False
        if delay:
            await asyncio.sleep(delay)
        return self._begin(self.endpoint if move is RetryDecision.SAME else None)

    async def _weighed(self, answer: Exchange) -> Answer:
        """Look at an answer before it is passed on, and at those that follow it: the one that is passed on."""
        failed = self._failures()
        while True:
            found = await self._looked_at(answer, failed)
            if found is not None:
                failed.drop()
                if self._service.endpoints.wants_times:
                    self._timed()
                return found
            try:
                answer = await self._after(answer, failed)
            except FAILURES:
                failed.retry_state.stop()
                last = await failed.last_answer()
                if last is None:
                    raise
                return last

    async def _looked_at(self, answer: Exchange, failed: FailedAttempts) -> Answer | None:
        """What is to be passed on; None: another attempt is to follow, if there can be one."""
        failed.move = None
        found, rule = await self._service.answers.look(answer)
        if not isinstance(found, (Resumed, HeldAnswer)):
            return found
        goes_on = answer.status in self._service.retry.statuses
        if rule is not None:
            self.counts, goes_on = rule.counts, rule.then != "answer"
        is_begun = isinstance(found, Resumed) and not answer.complete
        if not goes_on or (is_begun and rule is None):
            return found
        failed.move = self._follows_answer(answer, None if rule is None else rule.then)
        if failed.move[0] is RetryDecision.STOP:
            return found
        self._set_aside(answer, found.begun, failed)
        return None

    def _set_aside(self, answer: Exchange, begun: bytes, failed: FailedAttempts) -> None:
        """Have an answer at hand that another attempt is to follow, of whose body so much has come."""
        if answer.complete:
            failed.hold(HeldAnswer(answer.status, answer.headers, begun, answer.trailers, answer.version))
        elif len(begun) <= HELD_BYTES:
            failed.keep(OpenAnswer(answer, begun, self._service.answers.patience_s))
            self.keeps = True

    def _follows_answer(self, answer: Exchange, then: str | None) -> tuple[RetryDecision, float]:
        """What follows an answer; *then* is what a rule says of it, and not its status; None: none does."""
        error = counted_as(answer, self.counts, self.endpoint.statuses) or UpstreamStatusError(answer.status)
        ending, asked = self._service.outcomes.ending_of(error, was_sent=self.sent)
        if then is not None:
            ending = Ending.LATE if then == "next" else Ending.AGAIN
        return self._follows(ending, asked, error)

    async def _after(self, answer: Exchange, failed: FailedAttempts) -> Exchange:
        """The answer is not passed on: let its exchange end, and go on to the next.

        Raises:
            UpstreamError, ResilienceError: There is none.
        """
        error = await self._kept_back(answer.status)
        ending, asked = self._account(error)
        try:
            calls = await self._next(*(failed.move or self._follows(ending, asked, error)))
        except NobodyLeftError:
            raise failed.most_telling(error) from None
        try:
            return await calls.__anext__()
        except FAILURES as another:
            return await self._elsewhere(another)

    async def _kept_back(self, status: int) -> UpstreamError:
        """The exchange with an answer that is not passed on, or that broke off, ends; what is to be said of it."""
        calls, self._calls = self._calls, None
        assert calls is not None
        try:
            await calls.__anext__()
        except UpstreamError as error:
            return error
        except ResilienceError:  # its deadline has passed meanwhile: what was held is passed on, if anything was
            self._left()
            raise
        except StopAsyncIteration:
            self._well()
        finally:
            self.keeps = False
        return UpstreamStatusError(status)

    def beside(self) -> Attempts | None:
        """A second way, which is not begun; None: there is nobody else to ask, or no attempt or token left."""
        service, retry_state = self._service, self._failures().retry_state
        retry_state.tried.add(self.endpoint)
        if not service.endpoints.has_other(self.endpoint, retry_state.tried):
            return None
        second = retry_state.hedge(service.clock())
        return None if second is None else Attempts(service, self._request, second)

    def _failures(self) -> FailedAttempts:
        if self._failed is None:
            self._failed = FailedAttempts(self._service.retry.new_state(self._request))
        return self._failed

    def _timed(self) -> None:
        now = self._service.clock()
        self.endpoint.time(now - self._began, now)

    # -- how it ended

    def _left(self) -> None:
        """The attempt is over, and says nothing of its endpoint unless that was told already."""
        if not self._told:
            self._told = True
            endpoint = self.endpoint
            endpoint.in_flight -= 1
            if self._permit is not None:
                self._service.endpoints.balanced.ejector.left(endpoint, self._permit, self._service.clock())

    def _well(self) -> None:
        endpoint = self.endpoint
        if self._told:
            return
        self._told = True
        endpoint.in_flight -= 1
        if endpoint.failures or self._permit is not None:
            self._service.outcomes.recovered(endpoint, self._permit)
        else:
            endpoint.good += 1

    def _over(self, *, is_answered: bool = False) -> None:
        """The request is over: tell the service's own circuit, once."""
        permit, self.permit = self.permit, None
        circuit = self._service.circuit
        if permit is None or circuit is None:
            return
        if is_answered:
            circuit.ended(permit, self._service.clock())
        else:
            circuit.unanswered(permit, self._failure, self._service.clock())

    def _account(self, error: Exception) -> tuple[Ending, float | None]:
        """The attempt under way has failed: tell it whom it concerns; how it ended, and what the endpoint asks for."""
        endpoint = self.endpoint
        ending, asked = self._service.outcomes.ending_of(error, was_sent=self.sent)
        if not self._told:
            self._told = True
            endpoint.in_flight -= 1
            if self._service.outcomes.failed(endpoint, self._permit, ending, asked, error):
                self._failure = error
        self._failures().note(ending, error)
        return ending, asked

    def _follows(self, ending: Ending, asked: float | None, error: Exception) -> tuple[RetryDecision, float]:
        """What follows an attempt that ended so."""
        service, retry_state = self._service, self._failures().retry_state
        if isinstance(error, (NoTimeLeftError, DeadlineExceededError, LocalLimitError)) or (
                ending is Ending.REFUSED and not service.is_per_endpoint):  # they share the command that refused
            retry_state.stop(was_sent=self.sent)
            return RetryDecision.STOP, 0.0
        has_other = service.endpoints.has_other(self.endpoint, retry_state.tried)
        move, delay = retry_state.after(ending, self.endpoint, asked, has_other, service.clock(), service.random())
        if delay and (left := remaining()) is not None and left <= delay:  # the deadline would pass meanwhile
            move, delay = RetryDecision.STOP, 0.0
        if move is RetryDecision.STOP:
            retry_state.stop()
        return move, delay
