"""Defects of other async timeouts; each test names the peer."""

import asyncio
import contextvars

import pytest

from resilience.drivers.async_timeouts import AsyncTimeout
from resilience.errors import CallTimeoutError
from resilience.testing import virtual_time


async def under(deadlines, call):
    watch = deadlines.enter()
    try:
        result = await call
    except BaseException as error:
        late = deadlines.timed_out(watch, error)
        if late is not None:
            raise late from error
        raise
    deadlines.leave(watch)
    return result


def test_interlock_a_users_own_timeout_error_is_not_turned_into_ours():
    async def fails():
        raise TimeoutError("the user's")

    async def main():
        with pytest.raises(TimeoutError, match="the user's") as caught:
            await under(AsyncTimeout("k", 10.0), fails())
        assert not isinstance(caught.value, CallTimeoutError)

    virtual_time(main())


def test_hyx_context_variables_set_under_a_timeout_are_kept():
    """It runs the call in a task of its own, and so in a copy of the context."""
    var = contextvars.ContextVar("var", default="unset")

    async def sets():
        var.set("by the call")

    async def main():
        task = asyncio.current_task()

        async def same():
            assert asyncio.current_task() is task
            await sets()

        await under(AsyncTimeout("k", 10.0), same())
        return var.get()

    assert "by the call" == virtual_time(main())


def test_aiolimiter_292_a_deadline_made_for_one_loop_works_in_the_next():
    deadlines, late = AsyncTimeout("k", 1.0), []

    async def main():
        with pytest.raises(CallTimeoutError) as caught:
            await under(deadlines, asyncio.sleep(5))
        late.append(caught.value.key)

    for _ in range(3):
        virtual_time(main())

    assert ["k"] * 3 == late


def test_tenacity_529_an_outer_cancellation_is_passed_on_and_not_taken_for_a_failure():
    async def main():
        task = asyncio.ensure_future(under(AsyncTimeout("k", 10.0), asyncio.sleep(5)))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait({task})
        return task.cancelled()

    assert virtual_time(main())
