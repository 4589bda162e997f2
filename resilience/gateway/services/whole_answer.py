"""Whole answers to what the gateway itself asks, under no command: it is in no statistics, and nobody's limit."""

from __future__ import annotations

from ..messages.exchange import Request, UpstreamClient, UpstreamTooLargeError
from .served_endpoint import ServedEndpoint


async def whole_answer(client: UpstreamClient, place: ServedEndpoint, request: Request, *, connect_timeout: float,
                       most: int) -> tuple[int, bytes]:
    """Status and body of the answer to *request*, which has its body; whoever calls it bounds the time.

    Args:
        client: Sends it.
        place: Where it goes.
        request: Is changed as the place wants it.
        connect_timeout: Longest wait for a connection, seconds.
        most: Bytes that the body may have; what is larger is not read to its end.

    Raises:
        UpstreamError: There is no answer, or it is too large.
    """
    exchange = await client.send(place.endpoint, place.changed(request), connect_timeout=connect_timeout)
    try:
        await exchange.head()
        body = bytearray()
        while True:
            body += exchange.take()
            if len(body) > most:
                raise UpstreamTooLargeError(f"the answer is larger than {most} bytes")
            if exchange.complete:
                return exchange.status, bytes(body)
            await exchange.more()
    finally:
        exchange.release()
