"""A failover without a circuit breaker left a target out because a caller's own deadline had been too short for it."""

import asyncio
import threading

import pytest

from resilience import DeadlineExceededError, Failover, Registry, command, deadline


async def once(fn):
    result = fn()
    return [item async for item in result] if hasattr(result, "__aiter__") else [await result]


@pytest.mark.parametrize("is_generator", [False, True], ids=["async", "async generator"])
async def test_a_deadline_that_passes_at_a_target_does_not_make_it_rest(is_generator):
    is_slow = True

    async def fetch(*, target="eu"):
        if is_slow:
            await asyncio.Event().wait()
        return target

    async def rows(*, target="eu"):
        yield await fetch(target=target)

    fn = command(key="fetch", timeout=60.0, breaker=None, failover=Failover(("eu", "us")), registry=Registry())(
        rows if is_generator else fetch)
    with pytest.raises(DeadlineExceededError), deadline(0.02):
        await once(fn)
    is_slow = False
    assert ["eu"] == await once(fn)


async def test_its_own_timeout_does():
    @command(key="fetch", timeout=0.02, breaker=None, failover=Failover(("eu", "us")), registry=Registry())
    async def fetch(*, target="eu"):
        if target == "eu":
            await asyncio.Event().wait()
        return target

    assert "us" == await fetch()
    assert 1.0 == fetch.resilience["eu"].snapshot().gauges["failover.resting"]


def test_a_deadline_that_passes_on_a_worker_thread_does_not_make_its_target_rest():
    go_on = threading.Event()

    @command(key="fetch", timeout=60.0, isolation="thread", breaker=None, failover=Failover(("eu", "us")),
             registry=Registry())
    def fetch(*, target="eu"):
        go_on.wait(60)
        return target

    with pytest.raises(DeadlineExceededError), deadline(0.02):
        fetch()
    go_on.set()
    assert "eu" == fetch()
