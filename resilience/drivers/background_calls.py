"""Background calls: calls that no caller waits for, such as a cache's that renews an answer ahead of time.

Of a coroutine function such a call is a task on the loop of whoever asks for it; of a plain function it is a job on a
pool that the commands of a registry share. Each kind is bounded, and nothing waits for room: who asks hears at once
that there is none. Like all threads of the library these are daemons, so none of them holds up the end of the
interpreter; and tasks are cancelled when ``asyncio.run`` ends.

A background call runs in a copy of its asker's context, for the function may read there whose language it speaks. But
it is none of the asker's calls: it has no deadline of theirs, is repeated by no retry of theirs, and nobody waits for
it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any, Final

from ..core.bulkhead import Bulkhead, Slots
from ..core.locks import Lock
from ..errors import BulkheadFullError
from . import deadline_context, retry_layers, wait_for_graph
from .pools import DEFAULT_THREADS, WorkerPool
from .workers import ThreadIsolation

#: Background calls of a command that may run at once: on threads, or on one event loop.
MOST: Final = 10


def background_pool(cleanups: list[Callable[[], object]]) -> WorkerPool:
    """The threads for the background calls of a registry; *cleanups* are done after each."""
    return WorkerPool("background", size=DEFAULT_THREADS, cleanups=cleanups)


class BackgroundCalls:
    """Those of one command. Every method may be called from any thread.

    Args:
        key: The command's.
        pool: Lends the threads, when the first is needed.
    """

    __slots__ = ("_isolation", "_key", "_lock", "_pool", "_slots", "_tasks")

    def __init__(self, key: str, pool: Callable[[], WorkerPool]) -> None:
        self._key, self._pool = key, pool
        self._isolation: ThreadIsolation | None = None
        self._slots = Slots(Bulkhead(MOST), key=key)
        self.renew()

    def renew(self) -> None:
        """Start over in a forked child, which has none of the tasks and threads."""
        self._lock = Lock()
        self._tasks: set[asyncio.Task[None]] = set()  # a loop alone does not keep its tasks alive
        self._slots.renew()

    def begin(self, work: Callable[..., Any], *args: Any) -> None:
        """Call *work* with *args* on a thread. It must not raise an Exception.

        Raises:
            RejectedError: Too many run already, or no thread is to be had.
        """
        isolation = self._isolation
        if isolation is None:
            pool = self._pool()
            with self._lock:
                if self._isolation is None:
                    self._isolation = ThreadIsolation(self._key, self._slots, pool, None)
                isolation = self._isolation
        _detached().run(isolation.submit, work, args, {}, 0.0)

    def begin_task(self, work: Callable[..., Coroutine[Any, Any, None]], loop: asyncio.AbstractEventLoop,
                   *args: Any) -> None:
        """Call the coroutine function *work* with *args* in a task on *loop*, the caller's. It must not raise.

        Raises:
            BulkheadFullError: Too many run already on this loop.
        """
        tasks, here = self._tasks, 0
        for task in tuple(tasks):
            if task.get_loop().is_closed():  # it was left pending, and will never end
                tasks.discard(task)
            elif task.get_loop() is loop:
                here += 1
        if here >= MOST:
            raise BulkheadFullError(self._key, None, MOST, 0, here)
        task = _detached().run(loop.create_task, work(*args))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


def detach() -> None:
    """Let what is called here from now on be none of its asker's calls."""
    deadline_context.detach()
    retry_layers.detach()
    wait_for_graph.detach()


def _detached() -> Context:
    context = copy_context()
    context.run(detach)
    return context
