"""An interrupt inside the timer left it marked as set: no call on that loop timed out any more."""

import asyncio

import pytest

from resilience.drivers.async_timeouts import AsyncTimeout
from resilience.testing import VirtualTimeLoop


class Interrupted(asyncio.Task):
    once = True

    def cancel(self, msg=None):
        if Interrupted.once:
            Interrupted.once = False
            raise KeyboardInterrupt
        return super().cancel(msg)


def test_calls_after_an_interrupt_in_the_timer_still_time_out():
    deadlines, loop = AsyncTimeout("k", 1.0), VirtualTimeLoop()
    loop.set_task_factory(lambda loop, coro, **kwargs: Interrupted(coro, loop=loop, **kwargs))

    async def call():
        watch = deadlines.enter()
        try:
            await asyncio.sleep(50)
        except BaseException as error:
            return deadlines.timed_out(watch, error)
        deadlines.leave(watch)
        return "never timed out"

    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(call())
    late = loop.run_until_complete(call())
    for task in asyncio.all_tasks(loop):
        task.cancel()
        loop.run_until_complete(asyncio.wait({task}))
    loop.close()

    assert "k: no answer within 1 s" == str(late)
