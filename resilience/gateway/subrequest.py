"""Subrequests: the gateway itself asks a service something, and needs the whole answer, which has a bound."""

from __future__ import annotations

import attrs

from ..drivers.async_timeouts import AsyncTimeout
from .answers import held_answers
from .forwarding import AnswerBody
from .messages.exchange import Header, Request, UpstreamError, UpstreamStatusError, UpstreamTooLargeError
from .services.service import Service


@attrs.frozen
class Answer:
    """What a service has answered.

    Attributes:
        status: HTTP status.
        headers: Names in lower case.
        body: All of it.
    """

    status: int
    headers: list[Header]
    body: bytes


async def asked(service: Service, request: Request, max_body: int) -> Answer:
    """Send *request*, which has its body, under the command and deadline of *service*; redirects are not followed.

    Raises:
        ResilienceError: The command has refused it, or it was late.
        InvalidRequestError: It cannot be sent.
        UpstreamError: There is no valid answer; UpstreamTooLargeError: its body is larger than *max_body* bytes.
    """
    with service.bounded(request):
        return await _asked(service, request, max_body)


async def _asked(service: Service, request: Request, max_body: int) -> Answer:
    attempts = service.attempts(request)
    try:
        exchange = await attempts.answered()
        whole = exchange.failure or await _whole(exchange, service.idle, max_body)
        failure = await attempts.settled()
    finally:
        await attempts.close()
    if isinstance(whole, UpstreamError):
        raise failure or whole
    if failure is not None and not isinstance(failure, UpstreamStatusError):  # the status is for who asks to judge
        raise failure
    return Answer(exchange.status, exchange.headers, whole)


async def _whole(exchange: held_answers.Answer, idle: AsyncTimeout, max_body: int) -> bytes | UpstreamError:
    """The body; or why there is none, which counts as the exchange's failure."""
    try:
        whole = await AnswerBody(exchange, idle).whole(max_body)
        if whole is not None:
            return whole
        exchange.failure = UpstreamTooLargeError(f"the answer is larger than {max_body} bytes")
    except UpstreamError as error:
        exchange.failure = error
    return exchange.failure
