"""Waiting in a task for an event, and for no longer than so many seconds."""

from __future__ import annotations

import asyncio


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait in the running task until *event* is set, or *seconds* have gone by on the loop's clock.

    Returns:
        False: the time was up. The event is set then, too; whoever waits again clears it.
    """
    over: list[None] = []
    timer = asyncio.get_running_loop().call_later(seconds, _end, over, event)
    try:
        await event.wait()
    finally:
        timer.cancel()
    return not over


def _end(over: list[None], event: asyncio.Event) -> None:
    over.append(None)
    event.set()
