"""Ended calls waited in the queue of deadlines until the oldest call, however long, had ended too."""

import asyncio

from resilience.drivers import async_timeouts as module
from resilience.drivers.async_timeouts import AsyncTimeout
from resilience.testing import virtual_time


def test_one_call_that_hangs_does_not_make_the_queue_grow():
    async def main():
        deadlines, most = AsyncTimeout("k", 30.0), 0

        async def hang():
            watch = deadlines.enter()
            await asyncio.sleep(20)
            deadlines.leave(watch)

        hanging = asyncio.ensure_future(hang())
        await asyncio.sleep(0)
        for _ in range(10_000):
            deadlines.leave(deadlines.enter())
            most = max(most, len(module._fifos[asyncio.get_running_loop()][30.0].watches))
        await hanging
        return most

    assert virtual_time(main()) < 1000
