"""Sleeping: how callers pause between two attempts.

A registry whose clock has a ``sleep`` of its own (ManualClock) passes the time
by that, so that a test of a minute's retries takes none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


def sleeper(clock: Callable[[], float]) -> Callable[[float], None]:
    """What lets seconds pass on *clock*, for a caller that blocks."""
    own: Callable[[float], None] | None = getattr(clock, "sleep", None)
    return time.sleep if own is None else own


def async_sleeper(clock: Callable[[], float]) -> Callable[[float], Awaitable[None]]:
    """What lets seconds pass on *clock*, for a task; others run meanwhile."""
    own: Callable[[float], None] | None = getattr(clock, "sleep", None)
    if own is None:
        return asyncio.sleep

    async def sleep(seconds: float) -> None:
        own(seconds)
        await asyncio.sleep(0)

    return sleep
