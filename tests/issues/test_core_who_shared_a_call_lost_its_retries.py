"""Who shared a batch, or a cached call, with a caller inside a retry got a failure that nobody had repeated.

The shared call made one attempt and left the rest to that caller's retry, which repeats the calls of that caller only.
"""

import asyncio
import threading

import pytest

from resilience import (
    Cache,
    Registry,
    Retry,
    collapse,
    command,
    request_context,
    retried_by,
)
from resilience.testing import virtual_time
from tests.drivers.until import until
from tests.engine.collapsed import LONG, Clock, waiting

RETRY = Retry(attempts=3, base=0, budget=None)


def flaky(failures):
    """What fails so many times, and who repeated each call of it."""
    calls = []

    def call(answer):
        calls.append(retried_by())
        if len(calls) <= failures:
            raise OSError("once")
        return answer

    return call, calls


def ended(*works):
    """What *works* return or raise, each in a thread."""
    ends = [None] * len(works)

    def body(n, work):
        try:
            ends[n] = work()
        except Exception as error:  # noqa: BLE001 - looked at
            ends[n] = error

    crowd = [threading.Thread(target=body, args=each, daemon=True) for each in enumerate(works)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join(30)
    assert not any(thread.is_alive() for thread in crowd)
    return ends


def test_a_batch_of_threads_makes_all_its_attempts_whoever_leads_it():
    clock, (asked, calls) = Clock(), flaky(2)
    registry = Registry(clock=clock)
    settings = {"registry": registry, "timeout": None, "retry": RETRY, "breaker": None, "max_concurrent": None}
    user = collapse(window=LONG)(command(key="users", **settings)(lambda ids: dict.fromkeys(ids, asked("user"))))
    clock.ready = lambda: calls or waiting(user) == 2  # pauses pass, too
    page = command(key="page", **settings)(lambda: user(1))

    def plain():
        until(lambda: waiting(user) == 1)
        return user(2)

    assert ["user", "user"] == ended(page, plain)
    assert ["users"] * 3 == calls


@pytest.mark.parametrize("scope", ["global", "request"])
def test_a_batch_of_tasks_makes_all_its_attempts_whoever_is_its_first_caller(registry, scope):
    asked, calls = flaky(2)
    settings = {"registry": registry, "timeout": None, "retry": RETRY, "breaker": None, "max_concurrent": None}

    @collapse(window=0.01, scope=scope)
    @command(key="users", **settings)
    async def user(ids):
        return dict.fromkeys(ids, asked("user"))

    @command(key="page", **settings)
    async def page():
        return await user(1)

    async def main():
        with request_context():
            return await asyncio.gather(page(), user(2))

    assert ["user", "user"] == virtual_time(main())
    assert ["users"] * 3 == calls


def cached(registry, asked, **cache):
    settings = {"registry": registry, "timeout": None, "retry": RETRY, "breaker": None, "max_concurrent": None}

    @command(key="user", cache=Cache(**cache), **settings)
    async def user(number):
        await asyncio.sleep(1)
        return asked(number)

    @command(key="page", **settings)
    async def page(number):
        return await user(number)

    return user, page


def test_a_thread_that_follows_a_cached_call_inside_a_retry_makes_the_attempts_that_were_left_to_that(registry):
    asked, calls = flaky(2)
    settings = {"registry": registry, "timeout": None, "retry": RETRY, "breaker": None, "max_concurrent": None}
    follows = threading.Event()

    @command(key="user", cache=Cache(), **settings)
    def user(number):
        assert follows.wait(30)
        return asked(number)

    flights = next(iter(user.resilience._runtime.named("cache")))._shared.flights
    page = command(key="page", **{**settings, "retry": Retry(attempts=2, base=0, budget=None)})(lambda: user(1))
    ends = []

    def outer():
        try:
            return page()
        except OSError:
            return "page failed"

    def plain():
        until(lambda: flights.is_led((1,)))
        return user(1)

    def let_go():
        until(lambda: (leading := flights._leading.get((1,))) and leading.followers and leading.followers.gates)
        follows.set()

    ends = ended(outer, plain, let_go)

    assert 1 == ends[1]
    assert ends[0] in (1, "page failed")  # both its attempts may come before the other caller leads
    assert 3 <= len(calls) <= 4


def test_a_task_that_follows_a_cached_call_inside_a_retry_makes_the_attempts_that_were_left_to_that(registry):
    asked, calls = flaky(1)
    user, page = cached(registry, asked)

    async def main():
        return await asyncio.gather(page(1), user(1), user(1), return_exceptions=True)

    assert [1, 1, 1] == virtual_time(main())
    assert 2 == len(calls)


def test_those_who_are_all_repeated_share_one_failure(registry):
    """To make each of them an attempt of its own would multiply what the target gets by their number."""
    asked, calls = flaky(100)
    _, page = cached(registry, asked)

    async def main():
        return await asyncio.gather(*(page(1) for _ in range(20)), return_exceptions=True)

    assert all(isinstance(end, OSError) for end in virtual_time(main()))
    assert ["page"] * 3 == calls


def test_a_failure_without_its_attempts_is_not_kept(registry):
    asked, calls = flaky(2)
    user, page = cached(registry, asked, cache_exceptions=(OSError,))

    assert 1 == virtual_time(page(1))
    assert 3 == len(calls)

    registry, (asked, calls) = Registry(), flaky(100)
    user, _ = cached(registry, asked, cache_exceptions=(OSError,))

    async def twice():
        return await asyncio.gather(user(1), return_exceptions=True), await asyncio.gather(user(1), return_exceptions=True)

    virtual_time(twice())
    assert ["user"] * 3 == calls


def test_a_fallback_that_answers_for_such_a_failure_does_so_for_its_caller_only(registry):
    asked, calls = flaky(1)
    settings = {"registry": registry, "timeout": None, "retry": RETRY, "breaker": None, "max_concurrent": None}

    @command(key="user", cache=Cache(), fallback=lambda number: "fallback", **settings)
    async def user(number):
        await asyncio.sleep(1)
        return asked(number)

    @command(key="page", **settings)
    async def page():
        return await user(1)

    async def main():
        return await asyncio.gather(page(), user(1))

    assert ["fallback", 1] == virtual_time(main())


def test_a_retry_within_the_cached_call_that_repeated_is_nobody_elses(registry):
    """What was left to a retry that is within the same call was made by that: the failure is everybody's."""
    asked, calls = flaky(100)
    settings = {"registry": registry, "timeout": None, "breaker": None, "max_concurrent": None}

    @command(key="inner", retry=RETRY, **settings)
    async def inner():
        await asyncio.sleep(1)
        return asked(1)

    @command(key="user", cache=Cache(), retry=RETRY, **settings)
    async def user(number):
        return await inner()

    async def main():
        return await asyncio.gather(user(1), user(1), return_exceptions=True)

    assert all(isinstance(end, OSError) for end in virtual_time(main()))
    assert ["user"] * 3 == calls
