"""What the transports for httpx and httpx2 have in common; the two libraries differ in their classes alone.

Cancellation. httpcore, which holds the connections of both, loses one for ever if a request is cancelled in the moment
in which a connection is assigned to it, or between two steps of its own bookkeeping
(github.com/encode/httpcore/issues/1093). A pool of 10 is dead after 10 unlucky timeouts. Two things prevent that here:

- Nobody waits in httpcore's queue. A gate before it admits as many requests as there are connections, so that each gets
  one at once. To wait at the gate is safe to cancel, and cheap however many wait.
- httpcore's bookkeeping is not interrupted: between its locks it gives other tasks a turn, by a bare ``yield``. A
  cancellation that comes there is held back until httpcore waits for the network, of which it cleans up, or returns.

With HTTP/2, which sends several requests on one connection, there is no gate: only the second holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import types
from collections import deque
from collections.abc import AsyncGenerator, Generator
from math import inf
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from ..commands.command import Command
from ..commands.keyed_commands import KeyedCommands
from ..core.exception_groups import is_a
from ..engine.judging import Head
from ..errors import ConfigError
from .http_exchange import OURS, ClientTerms, Exchanges, end_of, leave, leave_async
from .httpx_sending import Sending
from .pool_waits import was_cancelled_in
from .request_mistakes import httpx_mistake

Transport = TypeVar("Transport")


def client_of(httpx: Any) -> ClientTerms:
    """What httpx, or httpx2, calls things."""
    byte_stream = httpx.ByteStream
    return ClientTerms(
        rejected=httpx.ConnectError, timed_out=httpx.ReadTimeout, host=_host,
        pool_errors=(httpx.PoolTimeout, _waited_for_pool),
        caller_faults=(httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL, httpx_mistake),
        method=lambda request: request.method, headers=lambda request: request.headers,
        may_repeat=lambda request: isinstance(request.stream, byte_stream), is_pulled=True)


def _waited_for_pool(error: BaseException) -> bool:
    """Whether *error* cancelled a request that waited at the gate, or without a gate in the queue of httpcore."""
    return was_cancelled_in(error, f"{__name__}:enter", *(
        f"{core}._async.connection_pool:wait_for_connection" for core in ("httpcore", "httpcore2")))


def _host(request: Any) -> str:
    url = request.url
    port = url.port
    return url.host if port is None else f"{url.host}:{port}"


# -- synchronous

def _sync_exchanges(inner: Any, library: Any, settings: dict[str, Any]) -> Exchanges:
    """The guarded exchanges of a synchronous transport around *inner*."""
    name = f"{library.__name__}.Client"
    if settings.get("timeout") is not None:
        raise ConfigError(f"timeout: {name} runs in its caller's thread, where no timeout can reach it; use "
                          "the client's own, Client(timeout=...), or an AsyncClient", "timeout")

    sending = Sending(inner, library, "handle_request")
    send, received, theirs = sending.send, sending.received, sending.errors

    def exchange(request: Any) -> Generator[Any, Any, None]:
        exchanges.send_deadline(request)
        try:
            head = Head(received(send(request)))
            stream = head.answer.stream
            try:
                word = yield head
                if word is None:
                    for chunk in stream:
                        if (word := (yield chunk)) is not None:
                            break
                end_of(word)
            except Exception:
                if stream not in exchanges.left:
                    raise
            finally:
                stream.close()
        except theirs as error:
            raise sending.translated(error) from error

    exchanges = Exchanges(exchange, client_of(library), name, settings)
    return exchanges


class SyncTransport(Generic[Transport]):
    """Transport of a client that guards each request with the command of its host, but for the classes of its library.

    Attributes:
        resilience: The handle of its commands: by key, or the only one if ``key`` is a str.
    """

    _library: Any
    _body: type[Any]  # see httpx_bodies
    resilience: Command | KeyedCommands

    def __init__(self, transport: Transport | None = None, **settings: Any) -> None:
        """Guard the requests that go through a transport.

        Args:
            transport: What sends the requests; None: an ``HTTPTransport()`` of the library.
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
        inner: Any = self._library.HTTPTransport() if transport is None else transport
        self._inner = inner
        self._exchanges = _sync_exchanges(inner, self._library, settings)
        self.resilience = self._exchanges.resilience

    def handle_request(self, request: Any) -> Any:
        """Send a request; the client calls this.

        Args:
            request: What to send.
        """
        exchanges = self._exchanges
        exchange: Any = None
        try:
            if exchanges.has_retry:
                response, exchange = exchanges.begin(request)
            else:
                exchange = exchanges.open(request)
                response = next(exchange).take()
            if response.is_closed:  # whatever sent the request has read the body, too: nobody will ask for it
                leave(exchange)
            else:
                response.stream = self._body(exchanges, exchange, request, response.stream)
            return response
        except OURS as error:
            raise exchanges.raised_as(error, request) from error.__cause__
        finally:
            exchange = None  # the traceback of an error would keep it, and so its key

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(self, exc_type: type[BaseException] | None = None, exc_value: BaseException | None = None,
                 traceback: TracebackType | None = None) -> None:
        self._inner.__exit__(exc_type, exc_value, traceback)

    def close(self) -> None:
        """Close the transport that sends the requests."""
        self._inner.close()


# -- asynchronous

def _async_exchanges(inner: Any, library: Any, settings: dict[str, Any]) -> Exchanges:
    """The guarded exchanges of an asynchronous transport around *inner*."""
    gate = PoolGate(inner, library.PoolTimeout)
    sending = Sending(inner, library, "handle_async_request")
    send, received, theirs = sending.send, sending.received, sending.errors

    async def exchange(request: Any) -> AsyncGenerator[Any, Any]:
        exchanges.send_deadline(request)
        held: list[asyncio.CancelledError] = []
        _ = gate.is_passed() or await gate.enter(request)
        try:
            head = Head(received(await unbroken(send(request), held)))
            stream = head.answer.stream
            try:
                if held:
                    raise held.pop()
                word = yield head
                body = stream.__aiter__()
                while word is None:
                    try:
                        chunk = await unbroken(body.__anext__(), held)
                    except StopAsyncIteration:
                        break
                    if held:
                        raise held.pop()
                    word = yield chunk
                end_of(word)
            except Exception:
                if stream not in exchanges.left:
                    raise
            finally:
                await unbroken(stream.aclose(), held)
                if held:
                    raise held.pop()
        except theirs as error:
            raise sending.translated(error) from error
        finally:
            gate.leave()

    exchanges = Exchanges(exchange, client_of(library), f"{library.__name__}.AsyncClient", settings)
    return exchanges


class AsyncTransport(Generic[Transport]):
    """As SyncTransport, for asyncio.

    Attributes:
        resilience: The handle of its commands: by key, or the only one if ``key`` is a str.
    """

    _library: Any
    _body: type[Any]
    resilience: Command | KeyedCommands

    def __init__(self, transport: Transport | None = None, **settings: Any) -> None:
        """Guard the requests that go through a transport.

        Args:
            transport: What sends the requests; None: an ``AsyncHTTPTransport()`` of the library.
            **settings: As for ResilienceTransport, and ``timeout``: seconds to wait for the head of the response, and
                for each part of its body.

        Raises:
            ConfigError: A setting is out of range, unknown, or not for a transport.
        """
        inner: Any = self._library.AsyncHTTPTransport() if transport is None else transport
        self._inner = inner
        self._exchanges = _async_exchanges(inner, self._library, settings)
        self.resilience = self._exchanges.resilience

    async def handle_async_request(self, request: Any) -> Any:
        """Send a request; the client calls this.

        Args:
            request: What to send.
        """
        exchanges = self._exchanges
        exchange: Any = None
        try:
            if exchanges.has_retry:
                response, exchange = await exchanges.begin_async(request)
            else:
                exchange = exchanges.open(request)
                response = (await exchange.__anext__()).take()
            if response.is_closed:
                await leave_async(exchange)
            else:
                response.stream = self._body(exchanges, exchange, request, response.stream)
            return response
        except OURS as error:
            raise exchanges.raised_as(error, request) from error.__cause__
        finally:
            exchange = None

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None = None, exc_value: BaseException | None = None,
                        traceback: TracebackType | None = None) -> None:
        await self._inner.__aexit__(exc_type, exc_value, traceback)

    async def aclose(self) -> None:
        """Close the transport that sends the requests."""
        await self._inner.aclose()


class PoolGate:
    """Admits as many requests at once as a transport has connections. It belongs to the event loop that uses it."""

    def __init__(self, inner: Any, pool_timeout: type[Exception]) -> None:
        most = _connections_of(inner)
        self._free = inf if most is None else most
        self._waiting: deque[asyncio.Future[None]] = deque()  # there is one only while nothing is free
        self._pool_timeout = pool_timeout

    def is_passed(self) -> bool:
        """Take a connection if one is free; else the request has to enter()."""
        if self._free > 0:
            self._free -= 1
            return True
        return False

    async def enter(self, request: Any) -> bool:
        """Wait until a connection is free, as long as the client's own pool timeout says; then it is_passed()."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout((request.extensions.get("timeout") or {}).get("pool")):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():  # it was given a connection in the same moment
                self.leave()
            else:
                with contextlib.suppress(ValueError):  # leave() was here
                    self._waiting.remove(turn)
            if is_a(error, TimeoutError):
                raise self._pool_timeout("all connections of the pool are in use") from None
            raise
        return True

    def leave(self) -> None:
        """The request has ended, and its response is closed: its connection is the next one's in the queue."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


def _connections_of(inner: Any) -> int | None:
    """How many requests the transport *inner* sends at once; None: not known, or several on one connection."""
    pool = getattr(inner, "_pool", None)  # nothing public says it
    most = getattr(pool, "_max_connections", None)
    return most if isinstance(most, int) and not getattr(pool, "_http2", True) else None


@types.coroutine
def unbroken(inner: Any, held: list[asyncio.CancelledError]) -> Generator[Any, None, Any]:
    """Await *inner*, and hold a cancellation back while that waits for nothing.

    A second cancellation is not held back: anyio repeats its own until it is heard.

    Args:
        inner: What is awaited.
        held: The cancellation that was held back is put here, and stays here if *inner* ended without another wait;
            the caller is to raise it then.
    """
    send, throw = inner.send, inner.throw
    error: BaseException | None = None
    while True:
        try:
            awaited = send(None) if error is None else throw(error)
        except StopIteration as end:
            return end.value
        error = None
        try:
            if awaited is None or not held:
                yield awaited
            else:
                error = held.pop()
                awaited.cancel()  # as Task.cancel() does
                awaited._asyncio_future_blocking = False
        except asyncio.CancelledError as cancelled:
            if awaited is None and not held:
                held.append(cancelled)
            else:
                error = cancelled
        except BaseException as thrown:  # noqa: BLE001 - all of it goes on to the inner one
            error = thrown
