"""Daemon threads: blocking calls of an event loop that the end of the process does not wait for.

``asyncio.to_thread`` uses a pool whose threads are joined when the interpreter exits, so that a server or a disk that
does not answer holds the exit up. A thread for each call costs some 50 us, and there are few of them a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


async def in_daemon_thread(call: Callable[[], _T]) -> _T:
    """What *call* returns, or raises, in a thread of its own. Who is cancelled leaves it to end by itself."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def settle(result: _T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result: _T | None = None
        error: BaseException | None = None
        try:
            result = call()
        except BaseException as raised:  # noqa: BLE001 - it is raised where it is waited for
            error = TypeError(f"{raised!r} came out of a thread") if isinstance(raised, StopIteration) else raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="resilience discovery call", daemon=True).start()
    return await future
