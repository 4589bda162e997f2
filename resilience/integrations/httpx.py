"""Transports for httpx: every request of a client is a guarded call, from its first byte to the end of the body.

See resilience.integrations.http_exchange for how a call lasts as long as its body, and
resilience.integrations.httpx_exchange for the settings, and httpx_cancellation for what cancellation does.
"""

from __future__ import annotations

import httpx

from .httpx_bodies import AsyncBody, SyncBody
from .httpx_exchange import AsyncTransport, SyncTransport

__all__ = ["AsyncResilienceTransport", "ResilienceTransport"]


class _Body(SyncBody, httpx.SyncByteStream):
    _library = httpx


class _AsyncBody(AsyncBody, httpx.AsyncByteStream):
    _library = httpx


class ResilienceTransport(SyncTransport[httpx.BaseTransport], httpx.BaseTransport):
    """Transport of an ``httpx.Client`` that guards each request with the command of its host.

    It may be used from any thread, like the transport that it wraps.

    Attributes:
        resilience: The handle of its commands: by key, or the only one if ``key`` is a str.
    """

    _library, _body = httpx, _Body


class AsyncResilienceTransport(AsyncTransport[httpx.AsyncBaseTransport], httpx.AsyncBaseTransport):
    """Transport of an ``httpx.AsyncClient`` that guards each request with the command of its host; for asyncio.

    Attributes:
        resilience: The handle of its commands: by key, or the only one if ``key`` is a str.
    """

    _library, _body = httpx, _AsyncBody
