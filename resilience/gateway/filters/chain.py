"""Chains: the filters of one route in their order, and what becomes of one exchange between them.

The rules are Zuul 2's:

    inbound     one after the other, by order and name, until one refuses; then the rest is skipped
    endpoint    exactly one: the error endpoint after a refusal, else what answer() was given, else the one that is
                named, else the service
    outbound    one after the other, over every response, also one of the gateway's own

A filter is skipped after stop(), unless it is declared with ``always``, and if its ``when`` says so. A filter that
fails or is late does not end the exchange: its error is noted, and the next one runs, unless it is declared to fail
closed, as all that authenticate and authorise are; then the error is answered. An endpoint that fails is answered for
by the error endpoint.

Every response that is sent has passed all outbound filters: an error response that takes the place of another, since an
outbound filter has refused, passes them from the first one on. One to a request that no route takes passes those that
every route has.

A chain is put together once, when the configuration is read. Each filter is a step (step.py).
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Hashable, Iterable, Mapping
from time import perf_counter
from typing import Final

import attrs

from ...core.exception_copy import alone, traceback_of
from ...core.exception_groups import is_a
from ...core.http_problem import problem_body
from ...core.setting_names import did_you_mean
from ...errors import ResilienceError
from ..config import IdentityHeaders
from ..forwarding import AnswerBody, Forwarder
from ..logs.observed_request import ObservedRequest
from ..messages.exchange import Header, Request, UpstreamError
from ..messages.framing import BODILESS
from ..messages.grpc_status import is_grpc, refusal
from ..messages.headers import set_apart, without
from ..messages.inbound import Inbound, RequestHead
from ..messages.named_values import header_value
from ..messages.problem import Problem, too_large
from ..request_mapping import Admitted
from ..services.service import Service
from .compress import CompressedInbound, CompressFilter
from .context import FilterContext, FilterError, FilterRequest, FilterResponse, Refusal
from .declare import FilterKind
from .identity import state
from .step import LOG_EVERY_S, Step

_logger = logging.getLogger(__name__)


@attrs.frozen(eq=False)
class Chain:
    """The filters of one route.

    Attributes:
        inbound: In their order.
        outbound: In their order.
        endpoint: Name of the filter that answers; None: the route's service.
        compresses: Whether one of the outbound filters has responses compressed.
    """

    inbound: tuple[Step, ...]
    outbound: tuple[Step, ...]
    endpoint: str | None
    compresses: bool = False


_NOTHING: Final[frozenset[Header]] = frozenset()
#: Of a route without filters whose errors are answered by an endpoint.
NO_FILTERS: Final = Chain((), (), None)


def chain_of(steps: list[Step]) -> Chain | None:
    """The chain of a route with these filters; None if all of them are switched off."""
    steps = [each for step in steps if step.config.enabled for each in (step, *step.others)]
    steps = sorted(steps, key=lambda step: (step.config.order, step.name))
    if not steps:
        return None
    by_kind = {kind: tuple(step for step in steps if step.said.kind is kind) for kind in FilterKind}
    endpoints = by_kind[FilterKind.ENDPOINT]
    return Chain(by_kind[FilterKind.INBOUND], by_kind[FilterKind.OUTBOUND], endpoints[0].name if endpoints else None,
                 any(isinstance(step.config.target, CompressFilter) for step in steps))


class FilterRunner:
    """Runs chains. For one event loop."""

    def __init__(self, forwarder: Forwarder, services: Mapping[str, Service], steps: Mapping[str, Step],
                 error_endpoint: str | None, identity: IdentityHeaders | None = None) -> None:
        """A runner; nothing runs yet.

        Args:
            forwarder: Forwards to services.
            services: By name.
            steps: All filters, by name; the endpoints among them can be chosen.
            error_endpoint: The one that answers for refusals and failures; None: the gateway does.
            identity: Headers that tell upstreams who sent a request; None: none do.
        """
        self._forwarder, self._services = forwarder, services
        self._endpoints = {name: step for name, step in steps.items()
                           if step.config.enabled and step.said.kind is FilterKind.ENDPOINT}
        self._error_endpoint, self._identity = error_endpoint, identity
        self._keeps_answers = any(
            each.fallbacks is not None and each.fallbacks.answers is not None for each in services.values())
        self._logged = -LOG_EVERY_S  # when a name that there is not was logged last

    async def serve(self, chain: Chain, admitted: Admitted, inbound: Inbound) -> None:
        """Answer an admitted request.

        Raises:
            ClientGoneError: The client stopped taking its answer.
        """
        route = admitted.route
        request = FilterRequest(inbound.head, admitted.request, admitted.path, admitted.host, admitted.parameters)
        context = FilterContext(request, route.name, route.answers, chain.endpoint, self._error_endpoint)
        way_back = CompressedInbound(inbound, context) if chain.compresses else inbound
        if not isinstance(inbound, ObservedRequest):
            await self._pass(chain, context, admitted, way_back)
            return
        context.observed = inbound
        try:
            await self._pass(chain, context, admitted, way_back)
        finally:
            inbound.service = context.service
            inbound.identity = context.identity
            inbound.consumer = None if context.identity is None else context.identity.consumer
            inbound.refused = None if context.refusal is None else context.refusal.reason

    async def tell(self, chain: Chain, problem: Problem, inbound: Inbound) -> None:
        """Answer a request that was not admitted: by the error endpoint, if there is one, and through outbound filters.

        Raises:
            ClientGoneError: The client stopped taking its answer.
        """
        observed = inbound if isinstance(inbound, ObservedRequest) else None
        route, service = (observed.route, observed.service) if observed is not None else (None, None)
        context = FilterContext(_unadmitted(inbound.head, self._forwarder.reserved), route or "", service or "", None,
                                self._error_endpoint)
        context.observed = observed
        _note(context, problem)
        await self._answer(chain, context, CompressedInbound(inbound, context) if chain.compresses else inbound)

    async def _pass(self, chain: Chain, context: FilterContext, admitted: Admitted, inbound: Inbound) -> None:
        came = frozenset(context.request.headers.lines) if self._keeps_answers else _NOTHING
        for step in chain.inbound:
            if context.refusal is not None:
                break
            if not self._is_skipped(step, context) \
                    and (step.body is None or await self._taken_in(step, context, inbound)):
                await self._run(step, context)
        if self._identity is not None and context.identity is not None:  # endpoints may call services, too
            state(context.request.headers, self._identity, context.identity)
        if self._keeps_answers:
            admitted.request.owner = _owner(context, came)
        if context.refusal is None and context.static is None and context.endpoint is None \
                and await self._is_forwarded(chain, context, admitted, inbound):
            return
        if admitted.route.settings.compose is not None and context.refusal is None:
            inbound.body_is_over()  # services are asked: a client that leaves takes that along
        await self._answer(chain, context, inbound)

    async def _answer(self, chain: Chain, context: FilterContext, inbound: Inbound) -> None:
        """Send a response of the gateway's own."""
        context.response = await self._local(context, inbound)
        await self._filtered(chain, context, None)
        status, headers, body = _sendable(context, context.response)
        if context.refusal is not None and is_grpc(inbound.head):
            status, headers, body = refusal(context.refusal.status, context.refusal.detail, headers)
        await inbound.respond(status, headers, body or b"")

    # -- one filter

    def _is_skipped(self, step: Step, context: FilterContext) -> bool:
        if context.stopped and not step.always:
            return True
        if step.when is None:
            return False
        try:
            return not step.when(context)
        except Exception as error:  # noqa: BLE001 - a filter's failure is not the exchange's
            self._failed(step, context, error)
            return True

    async def _run(self, step: Step, context: FilterContext) -> None:
        try:
            result = step.run(context)
            if step.waits:
                await result
        except Exception as error:  # noqa: BLE001 - a filter's failure is not the exchange's
            self._failed(step, context, error)

    def _failed(self, step: Step, context: FilterContext, error: Exception) -> None:
        now = perf_counter()
        if now - step.logged >= LOG_EVERY_S:
            step.logged = now
            is_plain = is_a(error, (ResilienceError, UpstreamError, FilterError)) or traceback_of(error) is None
            _logger.error("the filter %s failed: %s", step.name, error, exc_info=None if is_plain else error)
        context.errors.append((step.name, alone(error)))  # frames would hold the context, which holds it
        if step.fails_closed:
            if is_a(error, ResilienceError):
                context.refuse(503, f"the filter {step.name} did not answer in time")
            else:
                context.refuse(500, f"the filter {step.name} failed")

    async def _taken_in(self, step: Step, context: FilterContext, inbound: Inbound) -> bool:
        """Whether the request's body is there for an inbound filter; if not, the client is to blame, and refused."""
        request, limit, service = context.request, step.body or 0, self._services.get(context.service)
        if service is not None and service.max_body is not None:
            limit = min(limit, service.max_body)
        try:
            if request.body is None:
                if request.length is not None and request.length > limit:
                    raise too_large(limit)
                request.body = await self._forwarder.intake(inbound, limit).whole(request.length)
            elif len(request.body) > limit:
                raise too_large(limit)
        except Problem as problem:
            _note(context, problem)
            return False
        return True

    # -- the endpoint

    async def _is_forwarded(self, chain: Chain, context: FilterContext, admitted: Admitted, inbound: Inbound) -> bool:
        """Whether the service has answered, and the client has its answer; else there is a refusal to be answered."""
        service = self._services.get(context.service)
        if service is None:
            self._missing(context, "service", context.service, self._services)
            return False
        outbound = functools.partial(self._changed, chain, context) if chain.outbound else None
        try:
            outgoing = _outgoing(context.request, admitted.request, service)
            await self._forwarder.forward(service, outgoing, inbound, outbound, mirror=admitted.route.mirror)
        except Problem as problem:
            context.response = None
            _note(context, problem)
            return False
        return True

    async def _local(self, context: FilterContext, inbound: Inbound) -> FilterResponse:
        """The response of the gateway's own."""
        if context.refusal is None and context.static is None:
            step = self._endpoints.get(context.endpoint or "")
            if step is None:
                self._missing(context, "endpoint", context.endpoint or "", self._endpoints)
            elif step.body is None or await self._taken_in(step, context, inbound):
                await self._run(step, context)
                if context.static is None:
                    context.refuse(500, f"the endpoint {step.name} gave no answer")
        if context.refusal is None:
            assert context.static is not None
            return context.static
        return await self._error_response(context, context.refusal)

    async def _error_response(self, context: FilterContext, refusal: Refusal) -> FilterResponse:
        if refusal.response is not None:
            return refusal.response
        step = self._endpoints.get(context.error_endpoint or "")
        if step is not None:
            _forget_answer(context)
            failures = len(context.errors)
            await self._run(step, context)
            if context.static is not None and len(context.errors) == failures:
                return _with_headers_of(refusal, context.static)
        headers = [(b"content-type", b"application/problem+json"), *refusal.headers]
        return FilterResponse(refusal.status, headers, problem_body(refusal.status, refusal.detail, **refusal.members),
                              is_ours=True)

    def _missing(self, context: FilterContext, kind: str, name: str, known: Iterable[str]) -> None:
        """Refuse what a filter has sent to a *name* that there is not."""
        context.refuse(500, f"there is no {kind} {name}")
        now = perf_counter()
        if now - self._logged >= LOG_EVERY_S:
            self._logged = now
            _logger.error("a filter of the route %s has set context.%s to %.100r, and there is none%s",
                          context.route, kind, name, did_you_mean(f"{name}", known, before="; "))

    # -- the response

    async def _changed(self, chain: Chain, context: FilterContext, status: int, headers: list[Header],
                       body: AnswerBody) -> tuple[int, list[Header], bytes | None]:
        """What is sent in the place of a service's answer; see forwarding.Outbound."""
        context.response = FilterResponse(status, headers, None, is_ours=False)
        await self._filtered(chain, context, body)
        return _sendable(context, context.response)

    async def _filtered(self, chain: Chain, context: FilterContext, body: AnswerBody | None) -> None:
        """Let the outbound filters change the response; if one refuses, its error response, too."""
        if not chain.outbound:
            return
        refusal = await self._outbound(chain, context, body, once=False)
        if refusal is not None:
            context.response = await self._error_response(context, refusal)
            await self._outbound(chain, context, None, once=True)
            context.refusal = refusal  # what is refused by now cannot be refused once more

    async def _outbound(self, chain: Chain, context: FilterContext, body: AnswerBody | None, *,
                        once: bool) -> Refusal | None:
        """Run the outbound filters; unless *once* is true, until one refuses, whose refusal is returned."""
        before = context.refusal
        for step in chain.outbound:
            if not self._is_skipped(step, context):
                if step.body is None or await _has_body(context.response, body, step.body):
                    await self._run(step, context)
                else:
                    self._failed(step, context, ValueError(f"the response's body is larger than {step.body} bytes"))
            if not once and context.refusal is not before:
                return context.refusal
        return None


async def _has_body(response: FilterResponse | None, body: AnswerBody | None, limit: int) -> bool:
    """Whether the response's body is there for an outbound filter, and no larger than it takes."""
    assert response is not None
    if response.body is None and body is not None:
        response.body = response.original = await body.whole(limit)
    return response.body is not None and len(response.body) <= limit


def _unadmitted(head: RequestHead, reserved: frozenset[bytes]) -> FilterRequest:
    """A request that was not admitted: path and host are as they came; headers that claim something are left out."""
    try:
        headers = without(set_apart(head.headers).plain, reserved)
    except Problem:
        headers = []
    host = header_value(head.headers, b"host") or b""
    request = Request(method=head.method, target=head.path, host=None, headers=headers, length=None, body=None)
    return FilterRequest(head, request, head.path, host, {})


def _owner(context: FilterContext, came: frozenset[Header]) -> Hashable:
    """The ``owner`` of a Request: what is known of who has sent it, and all that filters tell the service of it."""
    identity = context.identity
    told = tuple(line for line in context.request.headers.lines if line not in came)
    return None if identity is None else identity.key, told


def _with_headers_of(refusal: Refusal, answer: FilterResponse) -> FilterResponse:
    """The answer of an error endpoint, with what it has not said of the same error: Allow, Retry-After and the like."""
    if answer.status == refusal.status:
        said = {name for name, _ in answer.headers.lines}
        answer.headers.lines += [line for line in refusal.headers if line[0] not in said]
    return answer


def _forget_answer(context: FilterContext) -> None:
    context.static = context.response = None


def _note(context: FilterContext, problem: Problem) -> None:
    context.refusal = context.refusal or Refusal(
        problem.status, problem.detail, problem.headers, problem.close, reason=problem.reason)


def _outgoing(wanted: FilterRequest, request: Request, service: Service) -> Request:
    """The request as the filters have left it."""
    target, _, query = wanted.target.partition(b"?")
    sets_host = service.preserve_host or wanted.sets_host
    if wanted.target is request.target and wanted.body is request.body and wanted.headers.lines is request.headers \
            and not sets_host and request.host is None and wanted.query == query.decode("latin-1"):
        return request  # but for its headers, which are the same list
    if wanted.query:
        target += b"?" + wanted.query.encode("latin-1")
    length = request.length if wanted.body is None else len(wanted.body)
    return attrs.evolve(request, target=target, headers=wanted.headers.lines, length=length, body=wanted.body,
                        host=wanted.host.encode("latin-1") if sets_host else None)


def _sendable(context: FilterContext, response: FilterResponse) -> tuple[int, list[Header], bytes | None]:
    """Status, headers and body as they are sent; no body: it streams past."""
    status, lines, body = response.status, response.headers.lines, response.body
    if status in BODILESS and (response.is_ours or body or status != response.original_status):
        lines, body = [line for line in lines if line[0] != b"content-length"], b""
    elif body is None or body is response.original:
        pass
    elif context.request.method == "HEAD" and not response.is_ours and not response.original:
        lines, body = [line for line in lines if line[0] != b"content-length"], b""  # GET's would have another body
    else:
        lines = [*(line for line in lines if line[0] != b"content-length"), (b"content-length", b"%d" % len(body))]
    if context.refusal is not None and context.refusal.close:
        lines = [*lines, (b"connection", b"close")]
    return status, lines, body
