"""Async generators: a deadline for each item, and permits that come back however the consumer leaves."""

import asyncio
import contextlib

import pytest

from resilience import BulkheadFullError, CallTimeoutError, CircuitBreaker, command
from resilience.testing import virtual_time

EAGER = CircuitBreaker(min_calls=1, open_for=5.0)


def counts(f):
    return {name: n for name, n in f.resilience.snapshot().counts.items() if n}


def test_the_timeout_bounds_the_wait_for_each_item_and_not_the_whole(registry):
    @command(key="k", registry=registry, timeout=1.0, breaker=EAGER)
    async def rows(*pauses):
        for pause in pauses:
            await asyncio.sleep(pause)
            yield pause

    async def main():
        assert [0.75] * 8 == [item async for item in rows(*[0.75] * 8)]
        seen = []
        with pytest.raises(CallTimeoutError) as caught:
            async for item in rows(0.5, 2.0):
                seen.append(item)
        assert ([0.5], "k", 1.0) == (seen, caught.value.key, caught.value.timeout)

    virtual_time(main())
    assert {"success": 1, "timeout": 1, "fallback_missing": 1, "exceptions_thrown": 1, "emit": 9} == counts(rows)
    assert ("open", 0) == (rows.resilience.state, rows.resilience.snapshot().in_flight)


def test_the_consumer_may_take_its_time(registry):
    @command(key="k", registry=registry, timeout=1.0, breaker=EAGER)
    async def rows():
        yield 1
        await asyncio.sleep(0.5)
        yield 2

    async def main():
        seen = []
        async for item in rows():
            await asyncio.sleep(100.0)
            seen.append(item)
        assert [1, 2] == seen
        assert 0 == asyncio.current_task().cancelling()

    virtual_time(main())
    assert {"success": 1, "emit": 2} == counts(rows)


def test_a_generator_may_clean_up_after_its_time_is_up(registry):
    cleaned = []

    @command(key="k", registry=registry, timeout=1.0, max_concurrent=1)
    async def rows():
        try:
            await asyncio.sleep(50.0)
            yield 1
        finally:
            await asyncio.sleep(3.0)
            cleaned.append(asyncio.get_running_loop().time())

    async def main():
        began = asyncio.get_running_loop().time()
        with pytest.raises(CallTimeoutError):
            await anext(rows())
        assert [began + 4.0] == cleaned

    virtual_time(main())
    assert 0 == rows.resilience.snapshot().in_flight


@pytest.mark.parametrize("turns", range(1, 12))
def test_cancelling_the_consumer_at_any_turn_gives_the_permit_back(registry, turns):
    @command(key="k", registry=registry, timeout=30.0, max_concurrent=1, breaker=EAGER)
    async def rows():
        try:
            for i in range(3):
                await asyncio.sleep(0)
                yield i
        finally:
            await asyncio.sleep(0)

    async def consume():
        async with contextlib.aclosing(rows()) as agen:
            async for _ in agen:
                await asyncio.sleep(0)

    async def main():
        task = asyncio.create_task(consume())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    virtual_time(main())
    assert ("closed", 0) == (rows.resilience.state, rows.resilience.snapshot().in_flight)
    assert {"cancelled", "emit", "success"} >= set(counts(rows))


def test_what_is_still_open_when_the_loop_ends_is_closed(registry):
    kept = []

    @command(key="k", registry=registry, max_concurrent=1)
    async def rows():
        yield 1
        yield 2

    async def main():
        kept.append(rows())
        await anext(kept[0])
        with pytest.raises(BulkheadFullError):
            await anext(rows())

    asyncio.run(main())
    assert (1, 0) == (counts(rows)["cancelled"], rows.resilience.snapshot().in_flight)


def test_a_fallback_may_be_a_coroutine_a_list_or_an_async_generator(registry):
    async def later():
        return ["a", "b"]

    async def one_by_one():
        yield "a"
        yield "b"

    async def main():
        for i, answer in enumerate((later, one_by_one, lambda: ["a", "b"], lambda: one_by_one())):
            @command(key=f"k{i}", registry=registry, fallback=answer)
            async def rows():
                raise OSError
                yield

            assert ["a", "b"] == [item async for item in rows()]
            assert (1, 2) == (counts(rows)["fallback_success"], counts(rows)["fallback_emit"])

    virtual_time(main())


def test_a_fallback_that_is_cancelled_or_fails_gives_its_place_back(registry):
    async def instead(fail):
        yield "first"
        if fail:
            raise KeyError("fallback")
        await asyncio.sleep(1000.0)

    @command(key="k", registry=registry, breaker=None, fallback=instead)
    async def rows(fail):
        raise OSError
        yield

    async def consume(fail):
        return [item async for item in rows(fail)]

    async def main():
        for _ in range(20):  # twice as often as fallbacks may run at once
            with pytest.raises(KeyError, match="fallback"):
                await consume(True)
            task = asyncio.create_task(consume(False))
            await asyncio.sleep(1.0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    virtual_time(main())
    seen = counts(rows)
    assert (40, 20, 20, 20) == (seen["failure"], seen["fallback_failure"], seen["cancelled"], seen["exceptions_thrown"])
