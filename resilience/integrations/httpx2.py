"""Transports for httpx2: every request of a client is a guarded call, from its first byte to the end of the body.

See resilience.integrations.http_exchange for how a call lasts as long as its body, and
resilience.integrations.httpx_exchange for the settings, and httpx_cancellation for what cancellation does.
"""

from __future__ import annotations

import httpx2

from .httpx_bodies import AsyncBody, SyncBody
from .httpx_exchange import AsyncTransport, SyncTransport

__all__ = ["AsyncResilienceTransport", "ResilienceTransport"]


class _Body(SyncBody, httpx2.SyncByteStream):
    _library = httpx2


class _AsyncBody(AsyncBody, httpx2.AsyncByteStream):
    _library = httpx2


class ResilienceTransport(SyncTransport[httpx2.BaseTransport], httpx2.BaseTransport):
    """Transport of an ``httpx2.Client`` that guards each request with the command of its host.

    It may be used from any thread, like the transport that it wraps.

    Attributes:
        resilience: The handle of its commands: by key, or the only one if ``key`` is a str.
    """

    _library, _body = httpx2, _Body


class AsyncResilienceTransport(AsyncTransport[httpx2.AsyncBaseTransport], httpx2.AsyncBaseTransport):
    """Transport of an ``httpx2.AsyncClient`` that guards each request with the command of its host; for asyncio.

    Attributes:
        resilience: The handle of its commands: by key, or the only one if ``key`` is a str.
    """

    _library, _body = httpx2, _AsyncBody
