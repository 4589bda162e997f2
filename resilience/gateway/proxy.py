"""The gateway: an ASGI 3 application that forwards requests through commands.

A request is admitted (request_mapping.py), its body is taken in if it is small
(request_body.py), and a service is called (service.py). The answer streams back piece by piece; no more is
read from either side than the other has taken. Every wait has a bound:

    for the client's next piece            client_timeout      408, or the connection is cut
    for all pieces of the client's body    upload_timeout      408
    for room in the client's connection    client_timeout      the connection is cut
    for the upstream to answer             command.timeout     504
    for the upstream's next piece          idle_timeout        the connection is cut
    for room in the upstream's connection  idle_timeout        502

An answer that breaks off after its head was sent cannot be taken back. The client
must not take it for complete, so the application returns without the last message
of the body, and the server cuts the connection.

A client that leaves is nobody's failure: the exchange is cut and counts as cancelled.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final

from ..drivers.async_timeouts import AsyncTimeout
from ..errors import ResilienceError
from ..registry import Registry, default_registry
from .config import GatewayConfig, load
from .disconnect import ClientGoneError, Disconnects, Receive
from .headers import to_client
from .http1 import Http1Client
from .problem import Problem, problem_of
from .request_body import SMALL_BODY_BYTES, Intake, within
from .request_mapping import PSEUDONYM, Admission
from .service import Service
from .upstream import Exchange, InvalidRequestError, Request, UpstreamClient, UpstreamError, UpstreamStalledError

Scope = Any
Send = Callable[[Any], Awaitable[None]]

_VIA: Final = b"1.1 " + PSEUDONYM
_logger = logging.getLogger(__name__)


class Gateway:
    """A gateway as an ASGI 3 application. For one event loop.

    Attributes:
        config: What it was made from.
        registry: Where its commands are, one per service, under the services' names.
    """

    def __init__(self, config: GatewayConfig, *, registry: Registry | None = None,
                 client: UpstreamClient | None = None) -> None:
        """A gateway; connects to nothing yet.

        Args:
            config: See config.py.
            registry: None: resilience.default_registry.
            client: Another HTTP client than the one of http1.py.

        Raises:
            ConfigError: The registry has a command of the same name that says otherwise.
        """
        self.config = config
        self.registry = default_registry if registry is None else registry
        self._client = Http1Client() if client is None else client
        self.services = {name: Service(name, service, self._client, self.registry)
                         for name, service in config.services.items()}
        self._admission = Admission(config, self.services)
        self._disconnects = Disconnects()
        self._patience = AsyncTimeout("client", config.gateway.client_timeout)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, registry: Registry | None = None) -> Gateway:
        """Make a gateway from a TOML file.

        Args:
            path: Path of the file.
            registry: Where the gateway's commands are kept; None: in a registry of its own.

        Raises:
            ConfigFileError: The file has mistakes; all of them are listed.
        """
        return cls(load(path), registry=registry)

    def close(self) -> None:
        """Close idle upstream connections; a server's lifespan does. Requests under way end as they will."""
        self._client.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        kind = scope["type"]
        if kind == "http":
            try:
                await self._serve(scope, receive, send)
            except ClientGoneError:
                return
        elif kind == "lifespan":
            await self._live(receive, send)
        elif kind == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "no WebSocket here"})

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self.close()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            service, request = self._admission.admit(scope)
            intake = None
            if request.body is None:
                intake = Intake(receive, self._patience, self.config.gateway.upload_timeout, service.max_body)
                if request.length is not None and request.length <= SMALL_BODY_BYTES:
                    request, intake = await _taken_in(request, request.length, intake), None
        except Problem as problem:
            await _answer(problem, send)
            return
        calls = service.call(request)
        try:
            if intake is not None:
                await self._upload(service, calls, intake)
            await self._download(service, calls, receive, send)
        except Problem as problem:
            await calls.aclose()
            await _answer(problem, send)
        except BaseException:
            await calls.aclose()
            raise

    # -- the request's body

    async def _upload(self, service: Service, calls: AsyncGenerator[Exchange, None], intake: Intake) -> None:
        """Stream the request's body; stop when the upstream answers before its end."""
        exchange = await _step(service, calls)
        answered = asyncio.ensure_future(exchange.answering())
        try:
            while not exchange.answered:
                piece = asyncio.ensure_future(intake.piece())
                try:
                    await asyncio.wait((piece, answered), return_when=asyncio.FIRST_COMPLETED)
                    if not piece.done():
                        return
                    if not await _sent(service, exchange, *piece.result()):
                        return
                finally:
                    piece.cancel()
                    del piece  # or its exception and this frame keep each other, and the server's receive(), alive
        finally:
            answered.cancel()

    # -- the answer

    async def _download(self, service: Service, calls: AsyncGenerator[Exchange, None], receive: Receive,
                        send: Send) -> None:
        flight = self._disconnects.enter(receive)
        try:
            exchange = await _step(service, calls)
            if exchange.failure is not None:
                raise problem_of(await _verdict(calls) or exchange.failure, service.name)
            await send({"type": "http.response.start", "status": exchange.status,
                        "headers": to_client(exchange.headers, _VIA)})
            if exchange.complete:
                await send({"type": "http.response.body", "body": exchange.take(), "more_body": False})
            else:
                await self._stream(service, exchange, send)
            await _verdict(calls)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if flight.gone and task is not None and not task.uncancel():
                raise ClientGoneError from None
            raise
        finally:
            self._disconnects.leave(flight)

    async def _stream(self, service: Service, exchange: Exchange, send: Send) -> None:
        """Send the body as it comes. Without its last message if it breaks off."""
        try:
            # The first piece, though it may be empty, makes the server send the head now.
            await within(self._patience, send(_piece_of(exchange.take(), True)), ClientGoneError)
            while not exchange.complete:
                await within(service.idle, exchange.more(), _stalled)
                if not exchange.complete:
                    await within(self._patience, send(_piece_of(exchange.take(), True)), ClientGoneError)
        except UpstreamError as error:
            exchange.failure = error
            return
        await within(self._patience, send(_piece_of(exchange.take(), False)), ClientGoneError)


async def _taken_in(request: Request, length: int, intake: Intake) -> Request:
    """The request with its small body."""
    return Request(method=request.method, target=request.target, host=request.host, headers=request.headers,
                   length=length, body=await intake.whole(length))


async def _sent(service: Service, exchange: Exchange, piece: bytes, more: bool) -> bool:
    """Send a piece of the request's body; whether another is wanted."""
    try:
        if piece:
            await within(service.idle, exchange.write(piece), lambda: UpstreamStalledError("takes nothing"))
        if not more:
            exchange.end()
    except InvalidRequestError as error:
        raise Problem(400, f"{error}", close=True) from None
    except UpstreamError as error:
        exchange.failure = error
        return False
    return more


def _piece_of(body: bytes, more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


def _stalled() -> UpstreamStalledError:
    return UpstreamStalledError("the upstream stopped in the middle of its answer")


async def _step(service: Service, calls: AsyncGenerator[Exchange, None]) -> Exchange:
    """Let the guarded exchange go on.

    Raises:
        Problem: It was refused, or failed.
    """
    try:
        return await calls.__anext__()
    except InvalidRequestError as error:
        raise Problem(400, f"{error}", close=True) from None
    except (ResilienceError, UpstreamError) as error:
        raise problem_of(error, service.name) from None
    except Exception:
        _logger.exception("the exchange with %s failed in the gateway", service.name)
        raise Problem(500, "the gateway failed") from None


async def _verdict(calls: AsyncGenerator[Exchange, None]) -> UpstreamError | None:
    """Let the guarded exchange end, and be counted."""
    try:
        await calls.__anext__()
    except StopAsyncIteration:
        return None
    except UpstreamError as error:
        return error
    return None


async def _answer(problem: Problem, send: Send) -> None:
    # The frames of its history keep the server's receive() alive, and granian a connection open that it should close.
    problem.__traceback__ = problem.__context__ = None
    for message in problem.messages():
        await send(message)
