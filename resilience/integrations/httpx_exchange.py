"""What the transports for httpx and httpx2 have in common; the two libraries differ in their classes alone.

What a cancellation does to their connections, and what is done about that, stands in httpx_cancellation.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from ..commands.command import Command
from ..commands.keyed_commands import KeyedCommands
from ..engine.failure_judge import Head
from ..errors import ConfigError
from .http_exchange import NO_HOST, OURS, ClientTerms, Exchanges, end_of, leave, leave_async
from .httpx_cancellation import Held, PoolGate, unbroken, waited_for_pool
from .httpx_sending import Sending
from .request_mistakes import httpx_mistake

Transport = TypeVar("Transport")


def client_of(httpx: Any) -> ClientTerms:
    """What httpx, or httpx2, calls things."""
    byte_stream = httpx.ByteStream
    return ClientTerms(
        rejected=httpx.ConnectError, timed_out=httpx.ReadTimeout, host=_host,
        pool_errors=(httpx.PoolTimeout, waited_for_pool),
        caller_faults=(httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL, httpx_mistake),
        method=lambda request: request.method, headers=lambda request: request.headers,
        may_repeat=lambda request: isinstance(request.stream, byte_stream), is_pulled=True)


def _host(request: Any) -> str:
    url = request.url
    host, port = url.host or NO_HOST, url.port
    return host if port is None else f"{host}:{port}"


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


def _sender(transport: Any, library: Any, usual: str, method: str) -> Any:
    """What sends the requests: *transport*, or the *usual* one of the *library*; a client is none."""
    if transport is None:
        return getattr(library, usual)()
    if getattr(getattr(transport, "_pool", None), "_retries", 0):
        raise ConfigError("the transport would connect again by itself, below the retry of its command; make it "
                          "without retries=, and give retry= to the guard", "retry")
    if not callable(getattr(transport, method, None)):
        client = "AsyncClient" if usual.startswith("Async") else "Client"
        raise TypeError(f"a transport such as {library.__name__}.{usual}() is guarded, not {transport!r}; give the "
                        f"guard to the client, as in {library.__name__}.{client}(transport=...)")
    return transport


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
            ConfigError: A setting is out of range, unknown, or not for a transport; or *transport* has ``retries``.
            TypeError: *transport* is none, such as a client.
        """
        inner = _sender(transport, self._library, "HTTPTransport", "handle_request")
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
        held = Held()
        _ = gate.is_passed() or await gate.enter(request)
        try:
            head = Head(received(await unbroken(send(request), held)))
            stream = head.answer.stream
            try:
                if held:
                    held.release()
                word = yield head
                body = stream.__aiter__()
                while word is None:
                    try:
                        chunk = await unbroken(body.__anext__(), held)
                    except StopAsyncIteration:
                        break
                    if held:
                        held.release()
                    word = yield chunk
                end_of(word)
            except Exception:
                if stream not in exchanges.left:
                    raise
            finally:
                await unbroken(stream.aclose(), held)
                if held:
                    held.release()
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
            ConfigError: A setting is out of range, unknown, or not for a transport; or *transport* has ``retries``.
            TypeError: *transport* is none, such as a client.
        """
        inner = _sender(transport, self._library, "AsyncHTTPTransport", "handle_async_request")
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
