"""grpc.aio clients: interceptors that guard each RPC of a channel, a command for each method.

As in ``resilience.integrations.grpc``, an RPC holds its permits until it ends. All runs on one event loop: a stream
that ends while nobody reads it is brought to its end by a task, which gRPC's callback starts. A cancelled caller, and a
timeout of the command, cancel the RPC. A stream that is dropped is not cancelled by grpc.aio: it goes on, and so does
its permit, until its timeout or ``cancel()``.

The requests of an RPC may be written with ``write()``, for which grpc.aio waits until the interceptors have returned.
So an RPC of one answer to a stream of requests is returned when it has begun, as a stream is.

grpc.aio takes an interceptor for one kind of RPC only, whatever its base classes are; hence four of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from typing import Any

import grpc
import grpc.aio

from ..core.vendor_errors import RAISED_BY_GUARDS, as_vendor_error
from ..drivers.stream_leases import own
from ..engine.callables import transparent_frame
from .grpc import Begun, RpcEnded, RpcGuards, in_time, method_name
from .grpc_clocks import AioTimedMessages
from .grpc_status import AioGuardRpcError

__all__ = ["aio_interceptors"]


def aio_interceptors(*, key: Callable[[str], str] = method_name, **settings: Any) -> list[Any]:
    """Return interceptors for a channel: ``grpc.aio.insecure_channel(target, interceptors=aio_interceptors())``.

    What they raise of their own accord is an AioGuardRpcError with a status code, and our own error too.

    Args:
        key: Given a method such as "/shop.Stock/Get", the key of its command; by default one for each method.
        **settings: As of ``command``, but for fallback, cache, hedge and failover. By default the group is "grpc", the
            failure rules are FAILURES of ``grpc_status``, and there is no timeout; of a stream it limits the wait for
            each message. The clocks of a ``stream_timeout`` are for RPCs whose answer is a stream. A retry is for RPCs
            of one request and one answer.

    Raises:
        ConfigError: A setting is out of range, unknown, or not for RPCs.
    """
    guards = RpcGuards(_unary, _stream_unary, _stream, key=key, settings={"timeout": None, **settings})
    return [kind(guards) for kind in (_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream)]


class _Interceptor:
    def __init__(self, guards: RpcGuards) -> None:
        self._guards = guards


class _UnaryUnary(_Interceptor, grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc,unused-ignore]
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await _answered(self._guards.unary_unary, continuation, client_call_details, request)


class _StreamUnary(_Interceptor, grpc.aio.StreamUnaryClientInterceptor):  # type: ignore[misc,unused-ignore]
    async def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        items, begun = await _first(self._guards.stream_unary, continuation, client_call_details, request_iterator)
        return _GuardedAnswer(begun.call, items)


class _UnaryStream(_Interceptor, grpc.aio.UnaryStreamClientInterceptor):  # type: ignore[misc,unused-ignore]
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await _begun(self._guards.begin, continuation, client_call_details, request)


class _StreamStream(_Interceptor, grpc.aio.StreamStreamClientInterceptor):  # type: ignore[misc,unused-ignore]
    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await _begun(self._guards.begin, continuation, client_call_details, request_iterator)


async def _unary(continuation: Any, details: Any, request: Any) -> Begun:
    call = await continuation(in_time(details), request)
    await call
    return Begun(call)


async def _begin(continuation: Any, details: Any, request: Any) -> Any:
    """Begin an RPC: the call, or why there is none. A retry is not to find out, and begin it again.

    Whatever interceptors further below do, they may have read some of the requests, which can be read once.
    """
    try:
        return await continuation(in_time(details), request)
    except Exception as error:  # noqa: BLE001 - it is raised again
        return error


async def _stream_unary(continuation: Any, details: Any, request: Any) -> AsyncGenerator[Any, None]:
    call = await _begin(continuation, details, request)
    yield Begun(call)
    if isinstance(call, Exception):
        raise call
    await call


@transparent_frame
async def _stream(continuation: Any, details: Any, request: Any, guards: RpcGuards) -> AsyncGenerator[Any, None]:
    call = await _begin(continuation, details, request)
    if isinstance(call, Exception):
        yield Begun(call)
        raise call
    timed = None if guards.clocks is None else AioTimedMessages(call, guards.key_of(details), guards.clocks)
    try:
        yield Begun(call)
        async for message in (call if timed is None else timed):
            yield message
    except RpcEnded as ended:
        if ended.args:
            raise ended.args[0] from None
    except BaseException:
        call.cancel()
        raise
    finally:
        if timed is not None:
            timed.end()


async def _answered(guarded: Any, continuation: Any, details: Any, request: Any) -> Any:
    try:
        return (await guarded(continuation, details, request)).call
    except RAISED_BY_GUARDS as error:
        raise as_vendor_error(error, AioGuardRpcError) from error.__cause__


async def _first(guarded: Any, continuation: Any, details: Any, request: Any) -> tuple[Any, Begun]:
    """Begin an RPC: the items of its guard, and the first of them."""
    items = guarded(continuation, details, request)
    try:
        begun = await anext(items)
        if isinstance(begun.call, Exception):
            await anext(items)
        return items, begun
    except RAISED_BY_GUARDS as error:
        raise as_vendor_error(error, AioGuardRpcError) from error.__cause__


async def _begun(guarded: Any, continuation: Any, details: Any, request: Any) -> AsyncIterator[Any]:
    items, begun = await _first(guarded, continuation, details, request)
    return own(_GuardedStream(begun.call, items).messages())


class _GuardedAnswer:
    """The call of an RPC of one answer to a stream of requests, which its caller may yet have to write().

    A task brings the guard to its end, so that it ends whether somebody waits for the answer or not. All else of the
    call is its own. For one event loop.
    """

    def __init__(self, call: Any, items: AsyncGenerator[Any, None]) -> None:
        self._call = call
        self._answer = asyncio.get_running_loop().create_task(self._end(items))
        self._answer.add_done_callback(lambda ended: ended.cancelled() or ended.exception())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._answer.__await__()

    async def _end(self, items: AsyncGenerator[Any, None]) -> Any:
        try:
            await anext(items)
        except StopAsyncIteration:
            return await self._call
        except RAISED_BY_GUARDS as error:
            raise as_vendor_error(error, AioGuardRpcError) from error.__cause__
        raise AssertionError("the guard of an RPC has one item")


class _GuardedStream:
    """The guard of a stream's RPC, until one of the two ends. For one event loop."""

    def __init__(self, call: Any, items: AsyncGenerator[Any, None]) -> None:
        self._call = call
        self._items: AsyncGenerator[Any, None] | None = items
        self._is_read = False
        self._settling: asyncio.Task[None] | None = None
        call.add_done_callback(self._ended)

    async def messages(self) -> AsyncGenerator[Any, None]:
        """The messages; an async generator, as gRPC wants to have it."""
        try:
            while True:
                self._is_read = True
                try:
                    message = await anext(aiter(self._call) if self._items is None else self._items)
                except StopAsyncIteration:
                    return
                except RAISED_BY_GUARDS as error:
                    raise as_vendor_error(error, AioGuardRpcError) from error.__cause__
                finally:
                    self._is_read = False
                if self._call.done():
                    await self._settle()
                yield message
        finally:
            items, self._items = self._items, None
            if items is not None:
                await items.aclose()

    def _ended(self, _: Any) -> None:
        """Called by gRPC when the RPC has ended: who reads finds that out, but perhaps nobody reads any more."""
        if not self._is_read and self._items is not None:
            self._settling = asyncio.get_running_loop().create_task(self._settle())

    async def _settle(self) -> None:
        """Bring the guard to its end; what gRPC has received already is read from the call itself."""
        items, self._items = self._items, None
        if items is None:
            return
        code = await self._call.code()
        try:
            if code is grpc.StatusCode.CANCELLED:
                await items.aclose()
            elif code is grpc.StatusCode.OK:
                await items.athrow(RpcEnded())
            else:
                await items.athrow(RpcEnded(await _error_of(self._call, code)))
        except (StopAsyncIteration, RpcEnded, grpc.RpcError, *RAISED_BY_GUARDS):
            pass  # the consumer gets it from the call


async def _error_of(call: Any, code: Any) -> Exception:
    error: Exception = grpc.aio.AioRpcError(code, await call.initial_metadata(), await call.trailing_metadata(),
                                            await call.details())
    return error
