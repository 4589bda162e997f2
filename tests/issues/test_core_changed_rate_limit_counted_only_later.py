"""What was booked under the old limit stayed booked in seconds: of 3,600 an hour, raised to 100 a second, none passed for an hour.

Complaints of the same kind: lysine-dev/okio#1822, resilience4j#1073, boinkor-net/governor#273.
"""

import asyncio
import threading
import time

import attrs
import pytest

from resilience import RateLimit, RateLimitedError, Registry, command, deadline, rate_limit
from resilience.testing import ManualClock, assert_counts, virtual_time
from tests.drivers.until import until
from tests.engine.test_rate_limit import KINDS, called


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keyed", [False, True])
def test_a_raised_limit_lets_calls_pass_after_one_spacing_and_refills_nothing(registry, clock, kind, keyed):
    by = {"by": lambda: "ann"} if keyed else {}
    guarded, call = called(kind, registry, rate_limit=RateLimit(20, per=3600.0, **by))
    for _ in range(20):
        call()
    guarded.resilience.configure(rate_limit=RateLimit(100, per=1.0, **by))
    with pytest.raises(RateLimitedError) as caught:
        call()
    assert pytest.approx(0.01) == caught.value.retry_after
    clock.advance(0.0101)
    call()
    with pytest.raises(RateLimitedError):
        call()
    registry.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_lowered_limit_refuses_at_once_what_is_too_much(registry, clock, kind):
    guarded, call = called(kind, registry, rate_limit=RateLimit(20, per=10.0))
    for _ in range(5):
        call()
    guarded.resilience.configure(rate_limit=RateLimit(5, per=10.0))
    with pytest.raises(RateLimitedError) as caught:
        call()
    assert pytest.approx(2.0) == caught.value.retry_after
    registry.close()


def story(first, then, *, at=1.5, callers=5, newcomers=0, timeout=None):
    """When the calls began, or how they ended, under a limit that is changed while they wait; in virtual time."""
    async def main():
        loop = asyncio.get_running_loop()
        start, ends = loop.time(), {}
        registry = Registry(clock=loop.time)

        @rate_limit(1, registry=registry, **first)
        async def work():
            return round(loop.time() - start, 6)

        async def caller(name):
            try:
                if timeout is None:
                    ends[name] = await work()
                else:
                    with deadline(timeout):
                        ends[name] = await work()
            except RateLimitedError:
                ends[name] = f"refused at {round(loop.time() - start, 6)}"

        tasks = [asyncio.create_task(caller(number)) for number in range(callers)]
        await asyncio.sleep(at)
        work.resilience.configure(rate_limit=then)
        tasks += [asyncio.create_task(caller(f"new {number}")) for number in range(newcomers)]
        await asyncio.gather(*tasks)
        return ends

    return virtual_time(main())


def test_tasks_that_wait_go_sooner_under_a_raised_limit_and_newcomers_stay_behind_them():
    # Half of the spacing has passed since the one at 1.0: half of the next call is there.
    assert {0: 0.0, 1: 1.0, 2: 1.55, 3: 1.65, 4: 1.75, "new 0": 1.85, "new 1": 1.95} == story(
        {"per": 1.0, "max_wait": 60.0}, RateLimit(10, per=1.0, burst=1, max_wait=60.0), newcomers=2)


def test_tasks_that_wait_go_later_under_a_lowered_limit():
    assert {0: 0.0, 1: 1.0, 2: 6.5, 3: 16.5, "new 0": 26.5} == story(
        {"per": 1.0, "max_wait": 60.0}, RateLimit(1, per=10.0, max_wait=60.0), callers=4, newcomers=1)


def test_tasks_whose_turn_would_come_too_late_under_a_lowered_limit_are_refused_at_once():
    assert {0: 0.0, 1: 1.0, 2: 6.5, 3: "refused at 1.5", 4: "refused at 1.5"} == story(
        {"per": 1.0, "max_wait": 12.0}, RateLimit(1, per=10.0, max_wait=12.0))


def test_a_shorter_max_wait_refuses_those_who_would_wait_longer_and_nobody_else():
    assert {0: 0.0, 1: 1.0, 2: 2.0, 3: "refused at 1.5", 4: "refused at 1.5"} == story(
        {"per": 1.0, "max_wait": 12.0}, RateLimit(1, per=1.0, max_wait=2.5))


def test_a_longer_max_wait_changes_nothing_for_those_who_wait():
    assert {0: 0.0, 1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0} == story(
        {"per": 1.0, "max_wait": 12.0}, RateLimit(1, per=1.0, max_wait=100.0))


def test_a_turn_that_comes_after_the_deadline_under_a_lowered_limit_is_given_up_at_once():
    assert {0: 0.0, 1: 1.0, 2: 6.5, 3: "refused at 1.5", 4: "refused at 1.5"} == story(
        {"per": 1.0, "max_wait": 60.0}, RateLimit(1, per=10.0, max_wait=60.0), timeout=10.0)


def test_a_larger_burst_lets_go_at_once_those_for_whom_there_is_a_share_left():
    assert {0: 0.0, 1: 1.0, 2: 1.5, 3: 1.5, 4: 2.5} == story(
        {"per": 1.0, "max_wait": 60.0}, RateLimit(4, per=4.0, burst=4, max_wait=60.0))


def test_threads_that_wait_are_woken_by_a_raised_limit_and_refused_by_a_lowered_one():
    registry, ends = Registry(), []

    @command(registry=registry, timeout=None, rate_limit=RateLimit(1, per=3600.0, max_wait=86_400.0))
    def work():
        return "in"

    def caller():
        try:
            ends.append(work())
        except RateLimitedError:
            ends.append("refused")

    work()
    threads = [threading.Thread(target=caller, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    pace = work.resilience._runtime.named("rate_limit").pace
    until(lambda: pace.waiting == 3 and pace.last.wake is not None)
    work.resilience.configure(rate_limit=RateLimit(1, per=50_000.0, max_wait=86_400.0))
    until(lambda: ends == ["refused", "refused"])
    work.resilience.configure(rate_limit=RateLimit(1000, per=1.0, max_wait=86_400.0))
    for thread in threads:
        thread.join(30)
    assert ["refused", "refused", "in"] == ends
    assert_counts(work, success=2, rate_limited=2)


def test_a_hundred_thousand_keys_do_not_make_a_change_slow():
    limit = RateLimit(10, per=3600.0, by=lambda user: user, max_keys=100_000)

    @command(registry=Registry(clock=ManualClock()), timeout=None, rate_limit=limit)
    def work(user):
        return user

    limiter = work.resilience._runtime.named("rate_limit")
    for user in range(100_000):
        limiter.reserve(0.0, (user,))
    began = time.process_time()
    work.resilience.configure(rate_limit=attrs.evolve(limit, calls=20))
    assert time.process_time() - began < 0.05
    for _ in range(18):  # one of ten was spent, which are two of twenty
        assert limiter.reserve(0.0, (50_000,)) is None
    with pytest.raises(RateLimitedError):
        limiter.reserve(0.0, (50_000,))
