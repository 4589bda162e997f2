"""While more important calls came as fast as the target could take them, no less important one ever got a place."""

import asyncio

import pytest

from resilience import BulkheadFullError, Registry, adaptive_limit
from resilience.testing import virtual_time


@pytest.mark.parametrize("max_queue", [0, 1, 5])
@pytest.mark.parametrize("low", [1, 9, 12])
def test_the_less_important_get_a_twentieth_under_a_flood_of_the_important(max_queue, low):
    async def main():
        loop, got = asyncio.get_running_loop(), {0: 0, low: 0}

        @adaptive_limit(initial=2, min_limit=2, max_limit=2, max_queue=max_queue, max_queue_for=1.0, reserved=0.5,
                        priorities=lambda level: level, registry=Registry(clock=loop.time))
        async def work(level):
            await asyncio.sleep(0.1)
            got[level] += 1

        async def caller(level):
            try:
                await work(level)
            except BulkheadFullError:
                pass

        tasks = []
        for number in range(4000):  # a hundred of each in a second, of which the target takes twenty
            tasks += [asyncio.create_task(caller(level)) for level in ((0, low) if number % 2 else (low, 0))]
            await asyncio.sleep(0.0101)
        await asyncio.gather(*tasks)
        return got

    got = virtual_time(main())
    assert 0.04 * sum(got.values()) <= got[low]
    if max_queue:  # without one, whoever comes when all places are free has one of them
        assert got[low] <= 0.06 * sum(got.values())


def test_one_that_waits_goes_by_the_twentieth_grant():
    async def main():
        loop, order = asyncio.get_running_loop(), []

        @adaptive_limit(initial=1, max_limit=1, max_queue=100, max_queue_for=1000.0, priorities=lambda level: level,
                        registry=Registry(clock=loop.time))
        async def work(level):
            order.append(level)
            await asyncio.sleep(1.0)

        tasks = [asyncio.create_task(work(level)) for level in (0, 9, *[0] * 60)]
        await asyncio.gather(*tasks)
        return order

    assert 9 in virtual_time(main())[:20]
