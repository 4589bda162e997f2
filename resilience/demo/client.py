"""The demo's HTTP client: the gateway's own, for GET requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from ..gateway.messages.exchange import Endpoint, Exchange, Request
from ..gateway.upstream.http1 import Http1Client

_CONNECT_S = 5.0


class Client:
    """Keeps its connections; for one event loop."""

    def __init__(self) -> None:
        self._client = Http1Client()

    async def get(self, url: str) -> tuple[int, bytes]:
        """Status and body of the answer.

        Raises:
            UpstreamError: There was no complete answer.
        """
        exchange = await self._send(url)
        try:
            await exchange.head()
            return exchange.status, b"".join([chunk async for chunk in _body(exchange)])
        finally:
            exchange.release()

    async def stream(self, url: str) -> AsyncIterator[bytes]:
        """The pieces of the answer's body as they come; none if its status is not 200.

        Raises:
            UpstreamError: The answer broke off.
        """
        exchange = await self._send(url)
        try:
            await exchange.head()
            if exchange.status == 200:
                async for chunk in _body(exchange):
                    yield bytes(chunk)
        finally:
            exchange.release()

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()

    async def _send(self, url: str) -> Exchange:
        parts = urlsplit(url)
        endpoint = Endpoint.parse(f"{parts.scheme}://{parts.netloc}")
        request = Request(method="GET", target=parts.path.encode(), host=None, headers=())
        return await self._client.send(endpoint, request, connect_timeout=_CONNECT_S)


async def _body(exchange: Exchange) -> AsyncIterator[bytes]:
    while True:
        chunk = exchange.take()
        if chunk:
            yield bytes(chunk)
        elif exchange.complete:
            return
        else:
            await exchange.more()
