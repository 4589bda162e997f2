"""Calls and streams that a closed event loop had left unfinished kept their slots, and a full command stayed full.

A call was kept by the watch of its timeout, until another call of the command got as far as that, which none does if
the bulkhead is full. A stream was dropped without a line of its wrapper being run, as Python does if its loop is closed.
"""

import asyncio
import gc

import pytest

from resilience import (
    AdaptiveLimit,
    Bulkhead,
    CircuitBreaker,
    Failover,
    Fallback,
    Hedge,
    Registry,
    Retry,
    StreamTimeout,
    command,
)
from resilience.testing import ManualClock

pytestmark = pytest.mark.filterwarnings("ignore:coroutine method 'aclose'")  # says Python 3.13 of a loop closed too soon

FOREVER = 3600.0
POLICIES = {
    "bulkhead": {"max_concurrent": 2},
    "no timeout": {"max_concurrent": 2, "timeout": None},
    "waiting": {"max_concurrent": Bulkhead(2, max_wait=FOREVER)},
    "adaptive limit": {"adaptive_limit": AdaptiveLimit(initial=2, min_limit=2, max_limit=2)},
    "retry": {"max_concurrent": 2, "retry": Retry(attempts=3)},
    "hold": {"max_concurrent": 2, "retry": Retry(attempts=3, hold=1)},
    "hedge": {"max_concurrent": 2, "timeout": FOREVER, "hedge": Hedge(idempotent=True, delay=0.0001)},
    "by key": {"max_concurrent": 2, "key": lambda wait: "of a key"},
    "failover": {"max_concurrent": 2, "failover": Failover(("a", "b"))},
}
ONLY_STREAMS = {"hold"}


class Target:
    """Hangs where it is told to, and says how often it does."""

    def __init__(self, hangs):
        self.hangs, self.left = asyncio.Event(), hangs

    async def hang(self):
        self.left -= 1
        if not self.left:
            self.hangs.set()
        await asyncio.get_running_loop().create_future()


def guarded(policies, function, registry):
    key = policies.get("key", "k")
    return command(registry=registry, **{**policies, "key": key})(function)


def leave_behind(begin):
    """Run *begin* on a loop, which is then closed, as programs do that know nothing of ``asyncio.run()``."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # "Task was destroyed but it is pending"
    loop.run_until_complete(begin())
    loop.close()
    del loop
    gc.collect()


def in_flight(registry):
    return {each.key: each.snapshot().in_flight for each in registry if each.snapshot().in_flight}


@pytest.mark.parametrize("name", sorted(POLICIES.keys() - ONLY_STREAMS))
def test_calls_that_a_closed_loop_left_unfinished_are_cancelled(name):
    registry, targets = Registry(), []

    async def call(wait, target=None):
        if wait:
            await targets[-1].hang()

    fetch = guarded(POLICIES[name], call, registry)

    async def begin():
        targets.append(Target(2))
        keep = [asyncio.ensure_future(fetch(True)) for _ in range(2 if name != "hedge" else 1)]
        await targets[-1].hangs.wait()
        assert not any(each.done() for each in keep)

    for _ in range(3):
        leave_behind(begin)
        assert {} == in_flight(registry)

    asyncio.run(fetch(False))


@pytest.mark.parametrize("place", ["waits for its first item", "waits for its second item", "has an item"])
@pytest.mark.parametrize("name", sorted(POLICIES))
def test_streams_that_a_closed_loop_left_unfinished_are_cancelled(name, place):
    registry, targets, kept = Registry(), [], []

    async def rows(wait, target=None):
        if wait == "waits for its first item":
            await targets[-1].hang()
        yield 1
        if wait == "waits for its second item":
            await targets[-1].hang()
        yield 2

    stream = guarded(POLICIES[name], rows, registry)

    async def begin():
        number = 1 if name == "hedge" else 2
        targets.append(Target(2 if place == "waits for its first item" else number))
        for _ in range(number):
            items = stream(place)
            kept.append(items)
            if place != "waits for its first item":
                assert 1 == await anext(items)
            if place != "has an item":
                kept.append(asyncio.ensure_future(anext(items)))
        if place != "has an item":
            await targets[-1].hangs.wait()
        kept.clear()

    for _ in range(3):
        leave_behind(begin)
        assert {} == in_flight(registry)

    async def all_rows():
        return [row async for row in stream("")]

    assert [1, 2] == asyncio.run(all_rows())
    counts = [each.snapshot().counts for each in registry]
    assert 0 < sum(each["cancelled"] for each in counts) <= 6
    assert 0 == sum(each["bad_request"] + each["failure"] + each["timeout"] for each in counts)


def test_a_stream_left_early_just_before_its_loop_is_closed_gives_its_slot_back():
    registry = Registry()

    @command(key="k", registry=registry, max_concurrent=1)
    async def rows():
        yield 1
        yield 2

    async def first():
        async for _ in rows():
            break

    for _ in range(3):
        leave_behind(first)
        assert {} == in_flight(registry)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("closes", ["the loop", "nobody"])
def test_a_stream_in_a_cycle_that_is_collected_just_before_its_loop_is_closed_gives_its_slot_back(name, closes):
    registry = Registry()

    async def rows(cycle, target=None):
        yield 1
        yield cycle

    stream = guarded(POLICIES[name] if name != "by key" else {"max_concurrent": 2, "key": lambda cycle: "of a key"},
                     rows, registry)

    async def first():
        cycle = []
        cycle.append(stream(cycle))
        assert 1 == await anext(cycle[0])
        del cycle
        if closes == "the loop":
            gc.collect()
            for _ in range(10):
                await asyncio.sleep(0)

    gc.disable()
    try:
        for _ in range(3):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(first())
            gc.collect()  # Python asks the loop to close the stream, and it will not
            loop.close()
            del loop
            gc.collect()
            assert {} == in_flight(registry)
    finally:
        gc.enable()
    counts = [each.snapshot().counts for each in registry]
    assert 3 == sum(each["cancelled"] for each in counts)


def test_a_fallback_that_a_closed_loop_left_unfinished_gives_its_slot_back():
    registry, kept = Registry(), []

    async def instead():
        yield 1
        yield 2

    @command(key="k", registry=registry, breaker=None, fallback=Fallback(instead, max_concurrent=1))
    async def rows():
        raise ConnectionError
        yield

    async def begin():
        kept.append(rows())
        assert 1 == await anext(kept[0])
        kept.clear()

    for _ in range(3):
        leave_behind(begin)


def test_a_probe_that_a_closed_loop_left_unfinished_lets_another_one_try():
    clock, kept, failing = ManualClock(), [], [True]
    registry = Registry(clock=clock)

    @command(key="k", registry=registry, timeout=None,
             breaker=CircuitBreaker(min_calls=1, open_for=5.0, half_open_calls=1))
    async def rows():
        if failing:
            raise ConnectionError
        yield 1
        yield 2

    async def begin():
        kept.append(rows())
        assert 1 == await anext(kept[0])
        kept.clear()

    async def all_rows():
        return [row async for row in rows()]

    with pytest.raises(ConnectionError):
        asyncio.run(all_rows())
    failing.clear()
    clock.advance(5.0)
    for _ in range(3):
        leave_behind(begin)
        assert "half_open" == rows.resilience.state

    assert [1, 2] == asyncio.run(all_rows())
    assert "closed" == rows.resilience.state


def test_a_stream_that_asyncio_run_ends_is_cancelled_and_no_bad_request():
    registry = Registry()

    @command(key="k", registry=registry, stream_timeout=StreamTimeout(between_items=FOREVER))
    async def rows():
        yield 1
        yield 2

    async def first():
        async for _ in rows():
            break

    asyncio.run(first())
    counts = registry["k"].snapshot().counts
    assert (1, 0, 0) == (counts["cancelled"], counts["bad_request"], counts["exceptions_thrown"])
