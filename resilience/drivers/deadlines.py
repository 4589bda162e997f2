"""Async timeouts by cancellation, for about a third of what asyncio.timeout costs.

Calls with the same timeout end in the order they began, so their deadlines form
a queue, not a heap: one FIFO and one loop timer per (loop, timeout) serve them
all. A call appends a *watch* and marks it done when it ends; the timer looks at
the head of the queue, cancels what is due and sets itself for the next one.

What asyncio.timeout guarantees holds here too: only a cancellation that we sent
becomes a CallTimeoutError, a user's own TimeoutError stays the user's, and an
outer cancellation stays a cancellation even when ours came with it (the count
that Task.cancelling keeps tells them apart).
"""

from __future__ import annotations

import asyncio
import weakref
from asyncio import current_task
from collections import deque
from typing import Any

from ..errors import CallTimeoutError


class Watch:
    """One call under a deadline; ``task`` is None once it has ended."""

    __slots__ = ("cancelling", "deadline", "fifo", "fired", "task", "timeout")

    def __init__(self, task: asyncio.Task[Any], fifo: _Fifo, deadline: float) -> None:
        self.task: asyncio.Task[Any] | None = task
        self.fifo = fifo
        self.timeout = fifo.timeout
        self.deadline = deadline
        self.cancelling = task.cancelling()
        self.fired = False


class _Fifo:
    """The watches of one loop and one timeout, in the order of their deadlines."""

    __slots__ = ("armed", "loop", "timeout", "watches")

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: float) -> None:
        self.loop = weakref.ref(loop)  # the loop owns us, through the table below
        self.timeout = timeout
        self.watches: deque[Watch] = deque()
        self.armed = False

    def due(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel the calls whose deadline has passed; set the timer for the next."""
        now, watches = loop.time(), self.watches
        while watches:
            watch = watches[0]
            if watch.task is not None:
                if watch.deadline > now:
                    loop.call_at(watch.deadline, self.due, loop)
                    return
                watch.fired = True
                watch.task.cancel()
            watches.popleft()
        self.armed = False


_fifos: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[float, _Fifo]] = weakref.WeakKeyDictionary()


class Deadlines:
    """The timeout of one command, for coroutines.

    Attributes:
        timeout: Seconds; None: no timeout. May be changed at any time; calls
            under way keep theirs.
    """

    __slots__ = ("_fifo", "_key", "timeout")

    def __init__(self, key: str, timeout: float | None) -> None:
        self._key = key
        self.timeout = timeout
        self._fifo: _Fifo | None = None  # the one used last; nearly always the right one

    def enter(self) -> Watch | None:
        """Begin to watch the current task. Pass the result to leave() or lapsed(), exactly once."""
        timeout = self.timeout
        if timeout is None:
            return None
        task = current_task()
        if task is None:
            raise RuntimeError(f"{self._key}: a timeout needs an asyncio task to cancel")
        loop = task.get_loop()
        fifo = self._fifo
        if fifo is None or fifo.loop() is not loop or fifo.timeout != timeout:
            fifo = self._join(loop, timeout)
        deadline = loop.time() + timeout
        watch = Watch(task, fifo, deadline)
        fifo.watches.append(watch)
        if not fifo.armed:
            fifo.armed = True
            loop.call_at(deadline, fifo.due, loop)
        return watch

    def leave(self, watch: Watch | None) -> None:
        """The call has ended by itself."""
        if watch is None:
            return
        task, watch.task = watch.task, None
        watches = watch.fifo.watches
        while watches and watches[0].task is None:
            watches.popleft()
        if watch.fired and task is not None:  # it outlived our cancellation: take that back
            task.uncancel()

    def lapsed(self, watch: Watch | None, error: BaseException) -> CallTimeoutError | None:
        """The call ended with *error*: what the caller should see instead of it, if that was our doing."""
        if watch is None:
            return None
        task = watch.task
        fired = watch.fired
        watch.fired = False
        self.leave(watch)
        if fired and task is not None and task.uncancel() <= watch.cancelling \
                and isinstance(error, asyncio.CancelledError):
            return CallTimeoutError(self._key, watch.timeout)
        return None

    def _join(self, loop: asyncio.AbstractEventLoop, timeout: float) -> _Fifo:
        fifos = _fifos.setdefault(loop, {})
        fifo = fifos.get(timeout)
        if fifo is None:
            for idle in [t for t, f in fifos.items() if not f.armed]:
                del fifos[idle]
            fifo = fifos[timeout] = _Fifo(loop, timeout)
        self._fifo = fifo
        return fifo
