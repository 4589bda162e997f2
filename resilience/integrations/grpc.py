"""gRPC clients: an interceptor that guards each RPC of a channel, a command for each method.

An RPC holds its permits until it *ends*, which is not when the stub returns. A unary RPC that is waited for ends when
it returns. One that was started with ``future()``, and one whose answer is a stream, go on afterwards; their permits
are given back by whichever comes first:

| what happens | who gives the permits back |
|---|---|
| the consumer reads the stream to its end, or gets its error | the consumer's thread, in that read |
| the RPC ends while nobody reads: cancelled, deadline, connection lost, a future is done | gRPC's callback |
| the consumer drops the stream | the interpreter, which closes the generator; that cancels the RPC |

So the guarded function is a generator: it begins the RPC, which takes the permits, and runs to its end wherever the RPC
does. A generator runs in one thread at a time, hence the lock of ``_GuardedStream``.

What has begun cannot be begun again: an interceptor is not told whether its stub waits for the answer, a stream begins
when its stub is called, and a stream of requests is read once. To repeat an RPC, decorate the function that calls the
stub, with ``retry`` alone or with all that this interceptor would do.

The interceptor passes the caller's ``deadline()`` on as the RPC's own timeout, if that is longer.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Generator, Iterator
from types import FunctionType
from typing import Any, Final

import attrs
import grpc

from .. import Ending, FailureRules, StreamTimeout, command, remaining
from ..commands.keyed_commands import KeyedCommands
from ..core.callbacks import check_plain
from ..core.failure_rules import rules_meant
from ..core.vendor_errors import RAISED_BY_GUARDS, as_vendor_error
from ..engine.callables import OF_ADAPTER, transparent_frame
from ..errors import ConfigError
from .grpc_clocks import TimedMessages
from .grpc_status import FAILURES, GuardRpcError

__all__ = ["GuardInterceptor"]

_NEVER: Final = ("fallback", "cache", "hedge", "failover")


def method_name(method: str) -> str:
    """Return the key of a method by default: "shop.Stock/Get" of "/shop.Stock/Get".

    Args:
        method: The path of the method.
    """
    return method.removeprefix("/")


class GuardInterceptor(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor,  # type: ignore[misc,unused-ignore]
                       grpc.StreamUnaryClientInterceptor, grpc.StreamStreamClientInterceptor):  # type: ignore[misc,unused-ignore]
    """Guards the RPCs of a channel: ``grpc.intercept_channel(channel, GuardInterceptor())``.

    What it raises of its own accord is a GuardRpcError with a status code, and our own error too. Any number of
    channels and threads may share one interceptor.
    """

    def __init__(self, *, key: Callable[[str], str] = method_name, **settings: Any) -> None:
        """Make an interceptor.

        Args:
            key: Given a method such as "/shop.Stock/Get", the key of its command; by default one for each method.
            **settings: As of ``command``, but for retry, fallback, cache, hedge, failover and timeout. By default the
                group is "grpc" and the failure rules are FAILURES. The clocks of a ``stream_timeout`` are for RPCs
                whose answer is a stream; where one runs out, the RPC is cancelled.

        Raises:
            ConfigError: A setting is out of range, unknown, or not for RPCs.
        """
        if settings.get("timeout") is not None:
            raise ConfigError("the timeout of an RPC is gRPC's own: stub.Get(request, timeout=0.5), or 'timeout' in "
                              "the channel's service config", "timeout")
        if settings.get("retry") is not None:
            raise ConfigError("an interceptor cannot begin an RPC again, since its stub may not wait for the answer; "
                              "decorate the function that calls the stub", "retry")
        self._guards = RpcGuards(_unary, _unary, _stream, key=key, settings=settings)

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Guard an RPC; see grpc.UnaryUnaryClientInterceptor."""
        return _outcome_or_future(self._guards.unary_unary, continuation, client_call_details, request)

    def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        """Guard an RPC; see grpc.StreamUnaryClientInterceptor."""
        return _outcome_or_future(self._guards.stream_unary, continuation, client_call_details, request_iterator)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Guard an RPC; see grpc.UnaryStreamClientInterceptor."""
        return _GuardedStream(self._guards.begin(continuation, client_call_details, request))

    def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        """Guard an RPC; see grpc.StreamStreamClientInterceptor."""
        return _GuardedStream(self._guards.begin(continuation, client_call_details, request_iterator))


@attrs.frozen
class Begun:
    """What a guarded function of ours yields or returns in the place of a call, which no failure rule is to judge.

    Attributes:
        call: The call of gRPC's, under way or ended.
    """

    call: Any


class RpcEnded(BaseException):
    """Thrown into the generator of a stream whose RPC ended while nobody read it."""


class RpcGuards:
    """The guarded functions of an interceptor, each with ``(continuation, details, request)``.

    Attributes:
        unary_unary: For RPCs of one request and one answer.
        stream_unary: For RPCs of one answer to a stream of requests.
        clocks: The stream timeout of RPCs whose answer is a stream; None: there is none.
    """

    def __init__(self, unary: Callable[..., Any], stream_unary: Callable[..., Any], stream: Callable[..., Any], *,
                 key: Callable[[str], str], settings: dict[str, Any]) -> None:
        for name in _NEVER:
            if settings.get(name) is not None:
                raise ConfigError(f"{name} needs the arguments and the result of a function; decorate the function "
                                  "that calls the stub", name)
        check_plain(key, "key", "a method")
        settings = {"group": "grpc", "failures": FAILURES, **settings}
        self.clocks: StreamTimeout | None = settings.pop("stream_timeout", None)
        _check_clocks(self.clocks, settings)
        if settings["failures"] is not None:
            settings["failures"] = _of_messages(rules_meant(settings["failures"]))

        def by(continuation: Any, details: Any, *_: Any) -> str:
            method = details.method
            return key(method.decode() if isinstance(method, bytes) else method)

        self._by = by
        self.unary_unary: Any = command(key=by, **settings)(unary)
        self.stream_unary: Any = command(key=by, **settings)(stream_unary)
        self._stream: Any = command(key=by, **settings)(_with_clocks(stream, self.clocks))
        self._commands: KeyedCommands = vars(self._stream)["resilience"]

    def begin(self, continuation: Any, details: Any, request: Any) -> Any:
        """The guarded generator of an RPC whose answer is a stream."""
        return self._stream(continuation, details, request, self)

    def key_of(self, details: Any) -> str:
        """The key of the command of an RPC that is under way."""
        found = self._commands.get(self._by(None, details)) or self._commands.get(self._commands.overflow)
        return "" if found is None else found.key


def _check_clocks(clocks: Any, settings: dict[str, Any]) -> None:
    """Raise ConfigError if the clocks of streams are none, or contradict the other settings."""
    if clocks is None:
        return
    if not isinstance(clocks, StreamTimeout):
        raise ConfigError(f"stream_timeout must be a StreamTimeout, or None, not {clocks!r}", "stream_timeout")
    if settings.get("timeout") is not None:
        raise ConfigError("stream_timeout and timeout would both limit the wait for a message; use between_items in "
                          "the place of timeout, and give RPCs of one answer gRPC's own: stub.Get(request, "
                          "timeout=0.5)", "stream_timeout")


def _with_clocks(stream: Any, clocks: StreamTimeout | None) -> Any:
    """*stream*, of which explain() says that it has these clocks."""
    if clocks is None:
        return stream
    copy = FunctionType(stream.__code__, stream.__globals__, stream.__name__)
    setattr(copy, OF_ADAPTER, (clocks,))
    return copy


@functools.lru_cache(maxsize=64)
def _of_messages(rules: FailureRules) -> FailureRules:
    """The rules, which are asked about messages and errors, and not about what is Begun.

    The same for the same *rules*: interceptors of several channels share the command of a method, and must agree.
    """
    given, items = rules.judge, rules.items

    def judge(ending: Ending) -> Any:
        return None if given is None or type(ending.result) is Begun else given(ending)

    def is_failed(item: Any) -> object:
        return items is not None and type(item) is not Begun and items(item)

    return attrs.evolve(rules, judge=None if given is None else judge, items=None if items is None else is_failed,
                        results=None)


def in_time(details: Any) -> Any:
    """Return the details of an RPC with the time that the caller's deadline leaves, if its own timeout is longer.

    Args:
        details: The details that an interceptor is given.
    """
    left = remaining()
    if left is None or (details.timeout is not None and details.timeout <= left):
        return details
    return details._replace(timeout=max(0.0, left))


def _unary(continuation: Any, details: Any, request: Any) -> Generator[Any, Any, Any]:
    outcome = continuation(in_time(details), request)
    if not outcome.done():  # begun with future(), which alone is to decide how long it lives
        begun = [Begun(outcome)]
        del outcome
        outcome = yield begun.pop()
    error = outcome.exception()
    if error is not None:
        raise error
    return outcome


@transparent_frame
def _stream(continuation: Any, details: Any, request: Any, guards: RpcGuards) -> Generator[Any, None, None]:
    call = continuation(in_time(details), request)
    timed = None if guards.clocks is None else TimedMessages(
        call, guards.key_of(details), guards.clocks, getattr(call, "cancel", None))
    try:
        yield Begun(call)
        yield from (call if timed is None else timed)
    except RpcEnded:
        if call.code() is not grpc.StatusCode.OK:
            raise call from None
    except BaseException:  # it was left, or took too long; where the RPC itself has failed, this does nothing
        _leave(call)
        raise
    finally:
        if timed is not None:
            timed.end()


def _leave(call: Any) -> None:
    """End an RPC; what an interceptor further below returns for a stream may be a generator of its own, and no call."""
    end = getattr(call, "cancel", None) or getattr(call, "close", None)
    if end is not None:
        end()


def _outcome_or_future(guarded: Any, continuation: Any, details: Any, request: Any) -> Any:
    """The outcome of an RPC that has ended, or the future of one whose permits are given back when it is done."""
    running = guarded(continuation, details, request)
    try:
        future = next(running).call
    except StopIteration as end:
        return end.value
    except RAISED_BY_GUARDS as error:
        raise as_vendor_error(error, GuardRpcError) from error.__cause__
    except grpc.RpcError as error:
        if isinstance(error, grpc.Future):  # as gRPC itself hands on what a blocking call raised
            return error
        raise

    def done(ended: Any) -> None:
        if ended.cancelled():
            running.close()
            return
        try:
            running.send(ended)
        except (StopIteration, grpc.RpcError, *RAISED_BY_GUARDS):
            pass  # the caller gets it from the future

    future.add_done_callback(done)
    return future


class _GuardedStream:
    """A call whose answers are read through its guard; all else of it is the call's own. For any thread."""

    def __init__(self, items: Generator[Any, None, None]) -> None:
        """Begin the RPC.

        Raises:
            GuardRpcError: The guard refuses it.
        """
        try:
            self._call = next(items).call
        except RAISED_BY_GUARDS as error:
            raise as_vendor_error(error, GuardRpcError) from error.__cause__
        self._items: Generator[Any, None, None] | None = items
        self._lock = threading.Lock()
        self._has_ended = False
        weak = weakref.ref(self)  # gRPC keeps its callbacks until the RPC ends: a dropped stream is to end it

        def ended() -> None:
            stream = weak()
            if stream is not None:
                stream._ended()

        add_callback = getattr(self._call, "add_callback", None)  # without one it ends when it is read or dropped
        if add_callback is not None and not add_callback(ended):
            self._ended()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    def cancel(self) -> Any:
        """As the call's own; the guard hears of it at once, and not when a thread of gRPC has time to say so."""
        is_cancelled = self._call.cancel()
        self._settle()
        return is_cancelled

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            with self._lock:
                return self._read()
        finally:
            if self._has_ended:  # it did so while this thread had the lock
                self._settle()

    next = __next__

    def _read(self) -> Any:
        if self._items is None:
            return next(self._call)
        try:
            return next(self._items)
        except RAISED_BY_GUARDS as error:
            self._items = None
            raise as_vendor_error(error, GuardRpcError) from error.__cause__
        except BaseException:
            self._items = None
            raise

    def _ended(self) -> None:
        """Called by gRPC when the RPC has ended."""
        self._has_ended = True
        self._settle()

    def _settle(self) -> None:
        """Bring the guard to its end, unless a thread reads, which does so itself.

        What gRPC has received already and nobody has read yet is read from the call itself.
        """
        if not self._lock.acquire(blocking=False):
            return
        try:
            items, self._items = self._items, None
            if items is None:
                return
            if self._call.code() is grpc.StatusCode.CANCELLED:
                items.close()
            else:
                items.throw(RpcEnded())
        except (StopIteration, RpcEnded, grpc.RpcError, *RAISED_BY_GUARDS):
            pass  # the consumer gets it from the call
        finally:
            self._lock.release()


for _kind in (grpc.Call, grpc.Future):  # gRPC wants interceptors to return a Call, and its own streams are Futures, too
    _kind.register(_GuardedStream)
