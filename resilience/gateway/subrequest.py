"""Subrequests: the gateway itself asks a service something, and needs the whole answer, which has a bound."""

from __future__ import annotations

from contextlib import aclosing

import attrs

from .forwarding import AnswerBody
from .service import Service
from .upstream import Header, Request, UpstreamError, UpstreamStatusError, UpstreamTooLargeError


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
    """Send *request*, which has its body, under the command of *service*; redirects are not followed.

    Raises:
        ResilienceError: The command has refused it, or it was late.
        InvalidRequestError: It cannot be sent.
        UpstreamError: There is no valid answer; UpstreamTooLargeError: its body is larger than *max_body* bytes.
    """
    async with aclosing(service.call(request)) as calls:
        exchange = await anext(calls)
        if exchange.failure is not None:
            await anext(calls)  # raises it
            raise exchange.failure
        body = AnswerBody(exchange, service.idle)
        try:
            whole = await body.whole(max_body)
        except UpstreamError as error:
            exchange.failure = error
            whole = None
        if whole is None and exchange.failure is None:
            exchange.failure = UpstreamTooLargeError(f"the answer is larger than {max_body} bytes")
        try:
            await anext(calls)
        except (StopAsyncIteration, UpstreamStatusError):  # the status is for who asks to judge
            pass
        assert whole is not None
        return Answer(exchange.status, exchange.headers, whole)
