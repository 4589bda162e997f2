"""Client middleware for aiohttp: every request of a session is a guarded call, from its first byte to its body's end.

aiohttp gives the connection of a response back when its body has come, or when it is closed, released or dropped. So
the call ends there; see resilience.integrations.http_exchange. It says so in a callback, and a task ends the call then;
a request that follows waits for that, since it may want the slot. The call of a WebSocket ends with its handshake:
sessions that last for hours would make any limit meaningless.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import sys
import traceback
import weakref
from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import Any, Final

import aiohttp
from aiohttp.payload import BytesPayload

from ..commands.command import Command
from ..commands.keyed_commands import KeyedCommands
from ..core.exception_groups import is_a
from ..engine.failure_judge import Head
from .aiohttp_pool import waited_for_pool
from .http_exchange import OURS, ClientTerms, Exchanges, Hold, end_of, leave_async
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
        if ending := _ending_in(asyncio.get_running_loop()):
            await _until_ended(ending)
        try:
            response, exchange = await self._exchanges.begin_async(request, handler)
        except OURS as error:
            raise self._exchanges.raised_as(error, request) from error.__cause__
        if response.connection is None or response.status == HTTPStatus.SWITCHING_PROTOCOLS:  # there is no more to come
            await leave_async(exchange, _error_in(response.content))
        else:
            response.connection.add_callback(functools.partial(_ended, _Hold(exchange), response.content))
        return response  # type: ignore[no-any-return]


class _Hold(Hold):
    """A Hold that is told of the end in callbacks of the event loop: a task ends the call, at once.

    The callback of a connection runs in the context of the request that has opened it. The task has that of its own
    request, so that listeners find the span that the call was made in.
    """

    __slots__ = ("_context", "_loop", "_token")

    def __init__(self, exchange: Any) -> None:
        super().__init__(exchange)
        self._loop, self._context, self._token = asyncio.get_running_loop(), contextvars.copy_context(), object()

    def end(self, error: BaseException | None = None) -> None:
        """As Hold.end(); it may be called from a finalizer, in any thread."""
        exchange = self._taken()
        if exchange is not None and not self._loop.is_closed():
            _ending_in(self._loop).add(self._token)
            self._loop.call_soon_threadsafe(self._end_soon, exchange, error, context=self._context)

    def _end_soon(self, exchange: Any, error: BaseException | None) -> None:
        task = self._loop.create_task(leave_async(exchange, error))
        _tasks.add(task)
        task.add_done_callback(self._has_ended)

    def _has_ended(self, task: asyncio.Task[None]) -> None:
        _tasks.discard(task)
        _ending_in(self._loop).discard(self._token)


_tasks: Final[set[asyncio.Task[None]]] = set()  # a loop alone would let them be collected
#: By loop, the tokens of those that have been told of the end, and whose calls are about to end.
_ending: Final[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, set[object]]] = weakref.WeakKeyDictionary()


def _ending_in(loop: asyncio.AbstractEventLoop) -> set[object]:
    return _ending.setdefault(loop, set())


async def _until_ended(ending: set[object]) -> None:
    """Wait until those calls have ended that are about to."""
    told = set(ending)
    while not told.isdisjoint(ending):  # noqa: ASYNC110 - a turn of the loop or two, and no time
        await asyncio.sleep(0)


def _ended(hold: _Hold, content: Any) -> None:
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
