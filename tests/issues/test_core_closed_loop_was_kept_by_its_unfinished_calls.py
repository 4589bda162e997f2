"""A loop closed with calls under way stayed for ever: the table of loops held its calls, and they held it."""

import asyncio
import gc
import weakref

from resilience.drivers.async_timeouts import AsyncTimeout
from resilience.testing import VirtualTimeLoop, virtual_time


def test_a_loop_closed_with_calls_under_way_goes_once_another_is_in_use(caplog):
    deadlines = AsyncTimeout("k", 30.0)

    async def call(seconds):
        watch = deadlines.enter()
        try:
            await asyncio.sleep(seconds)
        finally:
            deadlines.leave(watch)

    def leave_behind():
        loop = VirtualTimeLoop()
        task = loop.create_task(call(1000))
        loop.run_until_complete(asyncio.wait({task}, timeout=1))
        loop.close()
        return weakref.ref(loop)

    gone = leave_behind()
    virtual_time(call(0))
    gc.collect()

    assert gone() is None
    assert all("destroyed but it is pending" in record.message for record in caplog.records)
