"""Disk: calls that wait for a disk, in a thread, one at a time.

A disk may hang for ever, and a thread that waits for it cannot be ended. So whoever has stopped waiting does not start
a second one, which would take all threads of the event loop's pool in time, but waits for the first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from .daemon_thread import in_daemon_thread

_T = TypeVar("_T")


class Disk:
    """Runs one call at a time. Of one event loop; what another one was waiting for, before a fork say, is forgotten."""

    def __init__(self) -> None:
        self._call: asyncio.Future[Any] | None = None

    async def run(self, call: Callable[[], _T]) -> _T:
        """What *call* returns, or raises, when the call before it has ended, whose caller has left."""
        loop = asyncio.get_running_loop()
        while self._call is not None and self._call.get_loop() is loop and not self._call.done():
            await asyncio.wait((self._call,))
        self._call = running = asyncio.ensure_future(in_daemon_thread(call))
        running.add_done_callback(_heard)
        result: _T = await asyncio.shield(running)
        return result


def _heard(running: asyncio.Future[Any]) -> None:
    """Nobody may be there any more to be told of a failure."""
    if not running.cancelled():
        running.exception()
