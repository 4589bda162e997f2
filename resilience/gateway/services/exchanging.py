"""Exchanging: what the command of an endpoint guards.

The guarded function is an async generator, since the engine then holds the permit
until the exchange is over, but times and counts only what is the upstream's doing:
the generator runs while the upstream is to act (connect, answer) and is paused
while the client is (send its body, take the answer's). What it yields is always
the same exchange: once, when the request's body is to be streamed in, and once
more when the answer's head is there. The last step is for the verdict: an answer that
broke off or stalled is a failure of the upstream; one with a status that the service's failure rules
name is raised for them to judge, although the client has had every byte of it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

from ..messages.exchange import (
    Exchange,
    IgnoredAnswerError,
    Request,
    RuledAnswerError,
    UpstreamClient,
    UpstreamError,
    UpstreamStatusError,
)
from .service_command import Exchanging, Sending


def exchanging(client: UpstreamClient, judged: Callable[[Request, Exchange], UpstreamStatusError | None] | None = None
               ) -> Exchanging:
    """Make exchanges.

    Args:
        client: Sends requests.
        judged: Says what an answer amounts to that has come, if that is not what its status says; None: it always is.
    """
    send = client.send

    async def exchange(request: Request, sending: Sending) -> AsyncGenerator[Exchange, None]:
        served = sending.endpoint
        exchange = await send(served.endpoint, request, connect_timeout=served.connect_timeout)
        sending.sent = True
        try:
            if request.body is None:
                yield exchange
            await exchange.head()
            yield exchange
            if exchange.failure is not None:
                raise exchange.failure
            counted = counted_as(exchange, sending.counts, served.statuses)
            if counted is None and judged is not None and sending.counts is None:
                said = judged(request, exchange)
                counted = said if said is not None and said.status in served.statuses else None
            if counted is not None:
                raise counted
        finally:
            if not sending.keeps:
                exchange.release()

    return exchange


def counted_as(exchange: Exchange, counts: str | None, statuses: frozenset[int]) -> UpstreamError | None:
    """What an answer that has not broken off counts as; None: a success.

    Args:
        exchange: Has the answer.
        counts: What a rule says that it counts as; None: no rule says anything.
        statuses: Of answers that the failure rules judge.
    """
    if counts is None:
        return UpstreamStatusError(exchange.status, exchange.headers) if exchange.status in statuses else None
    if counts == "success":
        return None
    answer = UpstreamStatusError(exchange.status, exchange.headers)
    return RuledAnswerError(answer) if counts == "failure" else IgnoredAnswerError(answer)
