"""Daemon threads: blocking calls of an event loop that the end of the process does not wait for.

``asyncio.to_thread`` uses a pool whose threads are joined when the interpreter exits, so that a server or a disk that
does not answer holds the exit up. A thread for each call costs some 50 us, and there are few of them a minute.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class _DaemonThreads(Executor):
    """Runs each call in a daemon thread of its own."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Begin the call."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=run, name="resilience discovery call", daemon=True).start()
        return future


_THREADS: Final[Any] = _DaemonThreads()


async def in_daemon_thread(call: Callable[[], T]) -> T:
    """What *call* returns, or raises, in a thread of its own. Who is cancelled leaves it to end by itself."""
    result: T = await asyncio.get_running_loop().run_in_executor(_THREADS, call)
    return result
