"""The clocks of gRPC's streams: those of a stream timeout, kept where the messages are read.

What says that an RPC has begun is the first item of its guard, and no message. So the clocks stand inside the guarded
generator, and hear of messages alone.

A blocking read cannot be interrupted, but any thread may cancel the RPC, which ends the read. So an alarm does that
for a stream of grpc. Each wait for a message has a token, which either the message takes or the alarm, so that no alarm
ends a wait that came after its own. As with drivers.stream_timeouts, a message does not move the alarm: when it rings,
it looks whether the wait under way has lasted for long enough, and else is set for when it will have. One that rings
late, since the process was stopped, gives what has arrived meanwhile a moment to be read.

A stream of grpc.aio has a StreamWatch, which cancels the task that waits; grpc.aio then cancels the RPC.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from math import inf
from typing import Any, Final

import grpc

from ..core.stream_timeout import StreamMeter, StreamTimeout
from ..drivers.alarms import Alarm, alarms
from ..drivers.local_stalls import came_late
from ..drivers.stream_timeouts import StreamWatch
from ..drivers.system_clock import waited_clock
from ..engine.callables import transparent_frame
from ..errors import StreamTimeoutError, ThreadUnavailableError

_GRACE_S: Final = 0.2


class TimedMessages:
    """The messages of a stream of grpc, one after the other, in time. For one thread at a time."""

    def __init__(self, call: Any, key: str, policy: StreamTimeout, cancel: Callable[[], object] | None) -> None:
        """Read the messages of *call*; *cancel* ends it, None: nothing does, so the clocks are asked when one comes."""
        self._messages = iter(call)
        self._key, self._meter, self._cancel = key, StreamMeter(policy), cancel
        self._limit, self._own, self._items = self._meter.limit, 0.0, 0
        self._wait: tuple[float, list[None]] | None = None  # until when it lasts, and its token
        self._alarm: Alarm | None = None
        self._was_late = False

    def __iter__(self) -> Iterator[Any]:
        return self

    @transparent_frame
    def __next__(self) -> Any:
        if self._limit <= 0.0:
            raise self._late()
        began = waited_clock()
        token: list[None] = [None]
        self._wait = due, _ = began + self._limit, token
        if due < inf and (self._alarm is None or due < self._alarm.due):
            self._set(due)
        try:
            message = next(self._messages)
        except grpc.RpcError as error:
            if token:
                raise
            raise self._late() from error
        finally:
            self._wait = None
        own = waited_clock() - began
        if not _taken(token) or (self._cancel is None and own >= self._limit):
            raise self._late()
        self._own += own
        self._limit = self._meter.arrived(message, self._own)
        self._items += 1
        return message

    def end(self) -> None:
        """Nobody reads any more."""
        if self._alarm is not None:
            self._alarm.ring = None

    def _late(self) -> StreamTimeoutError:
        clock, seconds = self._meter.ran_out(self._items > 0)
        return StreamTimeoutError(self._key, seconds, clock, self._items, self._meter.missed)

    def _set(self, due: float) -> None:
        if self._cancel is None:
            return
        self.end()
        try:
            self._alarm = alarms.set(due, self._ring)
        except RuntimeError as error:
            raise ThreadUnavailableError(self._key, None, str(error)) from error

    def _ring(self, late: float) -> None:
        """On the thread of the alarms."""
        self._alarm = None  # before the look at the wait, whose thread looks the other way round
        wait = self._wait
        if wait is None:
            return
        due, token = wait
        now = waited_clock()
        if due > now:
            self._set(due)
        elif came_late(now - due) and not self._was_late:
            self._was_late = True
            self._set(now + _GRACE_S)
        elif _taken(token) and self._cancel is not None:
            self._cancel()


def _taken(token: list[None]) -> bool:
    try:
        token.pop()
    except IndexError:
        return False
    return True


class AioTimedMessages:
    """The messages of a stream of grpc.aio, one after the other, in time. For one event loop."""

    def __init__(self, call: Any, key: str, policy: StreamTimeout) -> None:
        self._messages = aiter(call)
        self._watch, self._items = StreamWatch(key, StreamMeter(policy)), 0

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    @transparent_frame
    async def __anext__(self) -> Any:
        watch = self._watch
        try:
            watch.wait()
            message = await anext(self._messages)
        except StopAsyncIteration:
            raise
        except BaseException as error:
            late = watch.timed_out(error, self._items)
            if late is not None:
                raise late from error
            raise
        watch.arrived(message)
        self._items += 1
        return message

    def end(self) -> None:
        """Nobody reads any more."""
        self._watch.end()
