"""Client middleware for aiohttp: every request of a session is a guarded call, from its first byte to its body's end.

aiohttp gives the connection of a response back when its body has come, or when it is closed, released or dropped. So
the call ends there; see resilience.integrations.http_exchange. The call of a WebSocket ends with its handshake:
sessions that last for hours would make any limit meaningless.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import traceback
from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import Any, Final

import aiohttp
from aiohttp.payload import BytesPayload

from ..commands.command import Command
from ..commands.keyed_commands import KeyedCommands
from ..core.exception_groups import is_a
from ..engine.judging import Head
from .aiohttp_pool import waited_for_pool
from .http_exchange import OURS, AsyncHold, ClientTerms, Exchanges, end_of, leave_async
from .request_mistakes import aiohttp_mistake

__all__ = ["ResilienceMiddleware"]


def _host(request: Any) -> str:
    url = request.url
    return url.host if url.is_default_port() else f"{url.host}:{url.port}"


def _may_repeat(request: Any) -> bool:
    return not _is_over(request) and (not request.body or isinstance(request.body, (bytes, BytesPayload)))


def _timer_of(request: Any) -> Any:
    """What ends a request by ``ClientTimeout(total=...)``, a context manager; None: nothing does, as far as known."""
    return getattr(request, "_timer", None)  # nothing public says it


def _is_over(request: Any) -> bool:
    """Whether the total time of a request is over: whatever is sent for it now would be in vain."""
    try:
        if (timer := _timer_of(request)) is not None:
            timer.assert_timeout()
    except TimeoutError:
        return True
    return False


_CLIENT: Final = ClientTerms(
    rejected=aiohttp.ClientConnectionError, timed_out=aiohttp.ServerTimeoutError, pool_errors=(waited_for_pool,),
    caller_faults=(aiohttp.InvalidURL, aiohttp_mistake), host=_host, method=lambda request: request.method.upper(),
    headers=lambda request: request.headers, may_repeat=_may_repeat, discard=lambda response: response.close())


class ResilienceMiddleware:
    """Client middleware of an ``aiohttp.ClientSession`` that guards each request with the command of its host.

    Attributes:
        resilience: The handle of its commands: by key, or the only one if ``key`` is a str.
    """

    resilience: Command | KeyedCommands

    def __init__(self, **settings: Any) -> None:
        """Guard the requests of the sessions that it is given to.

        Args:
            **settings: The settings of resilience.command, except ``cache``, ``failover``, ``fallback`` and ``hedge``,
                with the differences that resilience.integrations.httpx.ResilienceTransport has. ``timeout``: seconds
                to wait for the head of the response; for its body, use aiohttp's own.

        Raises:
            ConfigError: A setting is out of range, unknown, or not for a middleware.
        """

        async def exchange(request: Any, handler: Any) -> AsyncGenerator[Any, Any]:
            exchanges.send_deadline(request)
            with _timer_of(request) or contextlib.nullcontext():  # else its end would look like the caller's leaving
                head = Head(await handler(request))
            try:
                word = yield head
            except BaseException:
                if head.answer is not None:  # it is not given out, because it counts as a failure that is raised
                    head.answer.close()
                raise
            end_of(word)

        exchanges = self._exchanges = Exchanges(exchange, _CLIENT, "aiohttp.ClientSession", settings)
        self.resilience = exchanges.resilience

    async def __call__(self, request: aiohttp.ClientRequest,
                       handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """Send a request; aiohttp calls this.

        Args:
            request: What to send.
            handler: What sends it.
        """
        try:
            response, exchange = await self._exchanges.begin_async(request, handler)
        except OURS as error:
            raise self._exchanges.raised_as(error, request) from error.__cause__
        if response.connection is None or response.status == HTTPStatus.SWITCHING_PROTOCOLS:  # there is no more to come
            await leave_async(exchange, _error_in(response.content))
        else:
            response.connection.add_callback(functools.partial(_ended, AsyncHold(exchange), response.content))
        return response  # type: ignore[no-any-return]


def _ended(hold: AsyncHold, content: Any) -> None:
    """The connection of a response was given back; what went wrong with its body, if anything did, is noted there."""
    hold.end(_error_in(content))


def _error_in(content: Any) -> BaseException | None:
    """What went wrong with a body; None: nothing, or its reader has left it."""
    error: BaseException | None = content.exception()
    if type(error) is not aiohttp.ClientConnectionError:  # which says: closed before the end
        return error
    error = sys.exc_info()[1]
    return error if error is not None and is_a(error, TimeoutError) and _came_of_reading(content, error) else None


def _came_of_reading(content: Any, error: BaseException) -> bool:
    """Whether reading this very body raised a timeout, for which its response is closed: that of ``total``."""
    return any(frame.f_code.co_name == "_wait" and frame.f_locals.get("self") is content
               for frame, _ in traceback.walk_tb(error.__traceback__))
