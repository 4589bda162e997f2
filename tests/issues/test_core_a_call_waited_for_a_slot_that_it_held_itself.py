"""A function that calls itself, under a bulkhead whose callers may wait, and that holds all of its slots, waited for as long as
``max_wait`` allows, though nobody could ever give it one.
"""

import asyncio
import sys
import threading

import pytest

from resilience import Bulkhead, BulkheadFullError, Registry, command
from resilience.testing import assert_idle

SETTINGS = {"max_concurrent": Bulkhead(2, max_wait=3600.0), "timeout": None}


@pytest.mark.parametrize("settings", [{}, {"fallback": lambda deeper: f"no {deeper}"}], ids=["bare", "fallback"])
def test_it_is_refused_at_once(settings):
    @command(registry=Registry(), **SETTINGS | settings)
    def nested(deeper):
        return nested(deeper - 1) if deeper else "ran"

    assert "ran" == nested(1)
    if settings:
        assert "no 1" == nested(3)
    else:
        with pytest.raises(BulkheadFullError):
            nested(2)
    assert_idle(nested)


@pytest.mark.parametrize("settings", [{"isolation": "thread"}, {"timeout": 30.0}], ids=str)
def test_it_is_refused_at_once_on_a_worker_thread_that_has_the_only_slot(settings):
    @command(registry=Registry(), **SETTINGS | {"max_concurrent": Bulkhead(1, max_wait=3600.0)} | settings)
    def nested(deeper):
        return nested(deeper - 1) if deeper else "ran"

    with pytest.raises(BulkheadFullError):
        nested(1)
    assert_idle(nested)


async def test_it_is_refused_at_once_in_a_task():
    @command(registry=Registry(), **SETTINGS | {"timeout": 30.0})
    async def nested(deeper):
        return await nested(deeper - 1) if deeper else "ran"

    assert "ran" == await nested(1)
    with pytest.raises(BulkheadFullError):
        await nested(2)
    assert_idle(nested)


async def test_it_is_refused_at_once_in_a_generator():
    @command(registry=Registry(), **SETTINGS)
    def nested(deeper):
        yield from nested(deeper - 1) if deeper else ["ran"]

    @command(registry=Registry(), **SETTINGS)
    async def nested_async(deeper):
        if deeper:
            async for item in nested_async(deeper - 1):
                yield item
        yield "ran"

    assert ["ran"] == list(nested(1))
    assert ["ran", "ran"] == [item async for item in nested_async(1)]
    with pytest.raises(BulkheadFullError):
        list(nested(2))
    with pytest.raises(BulkheadFullError):
        [item async for item in nested_async(2)]
    assert_idle(nested)
    assert_idle(nested_async)


def test_a_slot_that_another_thread_holds_is_waited_for():
    others, go, inner = threading.Event(), threading.Event(), []

    @command(registry=Registry(), **SETTINGS)
    def work(what):
        what()
        return "ran"

    def occupy():
        others.set()
        go.wait(30.0)

    other = threading.Thread(target=work, args=[occupy])
    other.start()
    others.wait(30.0)

    def call_itself():
        releaser = threading.Thread(target=lambda: (wait_until_one_waits(work), go.set()))
        releaser.start()
        inner.append(work(lambda: None))
        releaser.join()

    assert "ran" == work(call_itself)
    other.join()
    assert ["ran"] == inner
    assert_idle(work)


def wait_until_one_waits(fn):
    while not fn.resilience.snapshot().gauges["max_concurrent.waiting"]:
        pass


@pytest.mark.parametrize("eager", [False, True] if sys.version_info >= (3, 12) else [False])
def test_a_task_that_its_parent_does_not_wait_for_gets_the_slot_of_the_parent(eager):
    tasks = []

    @command(registry=Registry(), **SETTINGS | {"max_concurrent": Bulkhead(1, max_wait=3600.0)})
    async def rounds(left):
        if left:
            tasks.append(asyncio.create_task(rounds(left - 1)))
        return left

    async def main():
        if eager:
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        return await rounds(3), *[await tasks[at] for at in range(3)]

    assert (3, 2, 1, 0) == asyncio.run(main())
    assert_idle(rounds)


def test_a_fallback_that_calls_again_waits_for_the_slot_that_another_thread_got_meanwhile():
    taken, go = threading.Event(), threading.Event()
    others = []

    def occupy():
        taken.set()
        go.wait(30.0)

    def again(what):
        others.append(threading.Thread(target=work, args=[occupy]))
        others[0].start()
        taken.wait(30.0)
        others.append(threading.Thread(target=lambda: (wait_until_one_waits(work), go.set())))
        others[1].start()
        return work(lambda: None)

    @command(registry=Registry(), fallback=again, **SETTINGS | {"max_concurrent": Bulkhead(1, max_wait=3600.0)})
    def work(what):
        what()
        return "ran"

    assert "ran" == work(lambda: 1 / 0)
    for other in others:
        other.join()
    assert_idle(work)
