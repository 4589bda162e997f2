"""Transports for httpx: every request of a client is a guarded call, from its first byte to the end of the body.

See resilience.integrations.http_exchange for how a call lasts as long as its body, and
resilience.integrations.httpx_exchange for what cancellation does.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, Self

import httpx

from ..commands.command import Command
from ..commands.keyed_commands import KeyedCommands
from .httpx_exchange import (
    AsyncBody,
    SyncBody,
    async_exchanges,
    client_of,
    handle,
    handle_async,
    sync_exchanges,
)

__all__ = ["AsyncResilienceTransport", "ResilienceTransport"]

_CLIENT: Final = client_of(httpx)


class _Body(SyncBody, httpx.SyncByteStream):
    pass


class _AsyncBody(AsyncBody, httpx.AsyncByteStream):
    pass


class ResilienceTransport(httpx.BaseTransport):
    """Transport of an ``httpx.Client`` that guards each request with the command of its host.

    It may be used from any thread, like the transport that it wraps.

    Attributes:
        resilience: The handle of its commands: by key, or the only one if ``key`` is a str.
    """

    resilience: Command | KeyedCommands

    def __init__(self, transport: httpx.BaseTransport | None = None, **settings: Any) -> None:
        """Guard the requests that go through a transport.

        Args:
            transport: What sends the requests; None: ``httpx.HTTPTransport()``.
            **settings: The settings of resilience.command, except ``cache``, ``failover``, ``fallback``, ``hedge`` and
                ``timeout``, with these differences.
            key: Name of the command, or a function that is given the request and returns it. Default: the host, with
                its port if that is not the scheme's own.
            failures: Default ``http_status()``.
            retry: A Retry, for requests that may be repeated.
            idempotent: Function that is given a request and returns whether it may be repeated. Default: by method,
                or if there is a header ``Idempotency-Key``. A body that can be read only once is never repeated.

        Raises:
            ConfigError: A setting is out of range, unknown, or not for a transport.
        """
        self._inner = httpx.HTTPTransport() if transport is None else transport
        self._exchanges = sync_exchanges(self._inner, _CLIENT, "httpx.Client", settings)
        self.resilience = self._exchanges.resilience

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; httpx calls this.

        Args:
            request: What to send.
        """
        return handle(self._exchanges, _Body, request)  # type: ignore[no-any-return]

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(self, exc_type: type[BaseException] | None = None, exc_value: BaseException | None = None,
                 traceback: TracebackType | None = None) -> None:
        self._inner.__exit__(exc_type, exc_value, traceback)

    def close(self) -> None:
        """Close the transport that sends the requests."""
        self._inner.close()


class AsyncResilienceTransport(httpx.AsyncBaseTransport):
    """Transport of an ``httpx.AsyncClient`` that guards each request with the command of its host; for asyncio.

    Attributes:
        resilience: The handle of its commands: by key, or the only one if ``key`` is a str.
    """

    resilience: Command | KeyedCommands

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None, **settings: Any) -> None:
        """Guard the requests that go through a transport.

        Args:
            transport: What sends the requests; None: ``httpx.AsyncHTTPTransport()``.
            **settings: As for ResilienceTransport, and ``timeout``: seconds to wait for the head of the response, and
                for each part of its body.

        Raises:
            ConfigError: A setting is out of range, unknown, or not for a transport.
        """
        self._inner = httpx.AsyncHTTPTransport() if transport is None else transport
        self._exchanges = async_exchanges(self._inner, _CLIENT, httpx.PoolTimeout, "httpx.AsyncClient", settings)
        self.resilience = self._exchanges.resilience

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; httpx calls this.

        Args:
            request: What to send.
        """
        return await handle_async(self._exchanges, _AsyncBody, request)  # type: ignore[no-any-return]

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None = None, exc_value: BaseException | None = None,
                        traceback: TracebackType | None = None) -> None:
        await self._inner.__aexit__(exc_type, exc_value, traceback)

    async def aclose(self) -> None:
        """Close the transport that sends the requests."""
        await self._inner.aclose()
