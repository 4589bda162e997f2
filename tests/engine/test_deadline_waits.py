"""Callers in haste who wait for others: for an equal call that is under way (a cache), or for a batch (collapse)."""

import asyncio
import random
import threading

import pytest

from resilience import Cache, DeadlineExceededError, NoTimeLeftError, Registry, collapse, command, deadline
from resilience.testing import ManualClock, assert_counts, virtual_time
from tests.drivers.until import until

from .collapsed import LONG, Clock, collapsed, waiting


def in_thread(call):
    """Run *call* in a thread; returns what joins it and gives the outcome."""
    outcome = []

    def run():
        try:
            outcome.append(call())
        except Exception as error:  # noqa: BLE001 - it is what the test asks for
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def join():
        thread.join(20)
        return outcome[0]

    return join


def hasty(seconds, call, *args, clock=None):
    """*call* within a deadline."""
    with deadline(seconds, **({} if clock is None else {"clock": clock})):
        return call(*args)


def now():
    """Seconds since the loop began."""
    return round(asyncio.get_running_loop().time(), 6)


async def hasty_async(seconds, call, *args):
    """The same of a coroutine function; the outcome, and when it came."""
    try:
        with deadline(seconds, clock=asyncio.get_running_loop().time):
            return await call(*args), now()
    except (DeadlineExceededError, NoTimeLeftError) as error:
        return type(error), now()


# -- a cache


@pytest.mark.parametrize("fallback_ended", [False, True])
def test_a_task_in_haste_does_not_wait_for_an_equal_call_longer_than_it_can(fallback_ended):
    async def main():
        executed = []
        clock = asyncio.get_running_loop().time

        @command(key="k", registry=Registry(clock=clock), cache=Cache(), timeout=None, breaker=None,
                 fallback=(lambda item: "instead") if fallback_ended else None)
        async def slow(item):
            executed.append(item)
            await asyncio.sleep(10.0)
            return item

        leader = asyncio.ensure_future(slow("a"))
        await asyncio.sleep(1.0)
        assert ("instead" if fallback_ended else NoTimeLeftError, 3.0) == await hasty_async(2.0, slow, "a")
        assert "a" == await leader
        assert ("a", 10.0) == await hasty_async(2.0, slow, "a")
        assert ["a"] == executed
        assert_counts(slow, success=1, no_time_left=1, responses_from_cache=1)

    virtual_time(main(), start=0.0)


def test_a_thread_in_haste_does_not_wait_for_an_equal_call_longer_than_it_can():
    clock, began, go = ManualClock(), threading.Event(), threading.Event()

    @command(key="k", registry=Registry(clock=clock), cache=Cache(), timeout=None, breaker=None)
    def slow(item):
        began.set()
        assert go.wait(20)
        return item

    leader = in_thread(lambda: slow("a"))
    assert began.wait(20)
    follower = in_thread(lambda: hasty(0.001, slow, "a", clock=clock))
    clock.advance(0.001)
    assert isinstance(follower(), NoTimeLeftError)
    go.set()
    assert "a" == leader()


@pytest.mark.parametrize("fallback_ended", [False, True])
def test_the_haste_of_one_who_executes_is_not_the_answer_of_those_who_wait_for_him(fallback_ended):
    async def main():
        executed = []
        clock = asyncio.get_running_loop().time

        @command(key="k", registry=Registry(clock=clock), timeout=60.0, breaker=None,
                 cache=Cache(cache_exceptions=(TimeoutError,)),
                 fallback=(lambda item: "instead") if fallback_ended else None)
        async def slow(item):
            executed.append(now())
            await asyncio.sleep(10.0)
            return item

        leader = asyncio.ensure_future(hasty_async(2.0, slow, "a"))
        await asyncio.sleep(1.0)
        followers = [asyncio.ensure_future(slow("a")) for _ in range(3)]
        assert ("instead" if fallback_ended else DeadlineExceededError, 2.0) == await leader
        assert ["a", "a", "a"] == await asyncio.gather(*followers)
        assert [0.0, 2.0] == executed
        assert "a" == await slow("a")

    virtual_time(main(), start=0.0)


# -- a batch of tasks


def test_any_history_of_tasks_in_haste_goes_as_a_plain_list_of_batches_says():
    for seed in range(200):
        dice = random.Random(seed)
        window, takes = dice.uniform(0.5, 2.0), dice.uniform(0.1, 3.0)
        calls = sorted((dice.uniform(0.0, 8.0), dice.choice([None, dice.uniform(-0.5, 4.0)])) for _ in range(12))

        async def main(window=window, takes=takes, calls=calls):
            @collapse(window=window)
            async def double(items):
                await asyncio.sleep(takes)
                return [2 * item for item in items]

            async def call(number, at, seconds):
                await asyncio.sleep(at)
                return await hasty_async(seconds, double, number)

            return await asyncio.gather(*(call(i, *each) for i, each in enumerate(calls)))

        assert expected(window, takes, calls) == virtual_time(main(), start=0.0), seed


def expected(window, takes, calls):
    """Who gets what, and when: a batch is open from its first caller on, as long as somebody waits for it."""
    outcomes, due, stay = [], -1.0, []
    for number, (at, seconds) in enumerate(calls):
        if seconds is not None and seconds <= 0:
            outcomes.append((NoTimeLeftError, round(at, 6)))
            continue
        if at >= due or not any(end > at for end in stay):
            due, stay = at + window, []
        end = float("inf") if seconds is None else at + seconds
        stay.append(end)
        answered = due + takes
        outcomes.append((2 * number, round(answered, 6)) if answered < end else (DeadlineExceededError, round(end, 6)))
    return outcomes


def test_the_last_task_to_leave_in_haste_ends_the_batch():
    async def main():
        ended = []

        @collapse(window=0.01)
        async def slow(items):
            try:
                await asyncio.sleep(60.0)
            except asyncio.CancelledError:
                ended.append(now())
                raise

        outcomes = await asyncio.gather(hasty_async(1.0, slow, 1), hasty_async(2.0, slow, 2))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [(DeadlineExceededError, 1.0), (DeadlineExceededError, 2.0)] == outcomes
        assert [2.0] == ended

    virtual_time(main(), start=0.0)


def test_one_whose_time_runs_out_as_he_is_cancelled_leaves_no_error_behind():
    async def main():
        complaints = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))

        @collapse(window=5.0)
        async def slow(items):
            return items

        task = asyncio.ensure_future(hasty_async(1.0, slow, 1))
        loop.call_at(1.0, task.cancel)
        await asyncio.sleep(0)
        loop.call_at(1.0, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
        assert [] == complaints

    virtual_time(main(), start=0.0)


# -- a batch of threads


def test_a_thread_in_haste_waits_for_its_batch_until_its_deadline_and_the_leader_gets_his_answer():
    haste, began, go = ManualClock(), threading.Event(), threading.Event()

    def batch(items):
        began.set()
        assert go.wait(20)
        return items

    single = collapsed(batch, Clock(lambda: waiting(single) == 2), window=LONG)
    leader = in_thread(lambda: single(1))
    until(lambda: waiting(single) == 1)
    follower = in_thread(lambda: hasty(0.001, single, 2, clock=haste))
    assert began.wait(20)
    haste.advance(0.001)
    assert isinstance(follower(), DeadlineExceededError)
    go.set()
    assert 1 == leader()


def test_a_leader_in_haste_is_followed_by_another():
    haste, slept, asked = ManualClock(), [], []

    def ready():
        slept.append(threading.get_ident())
        if len(set(slept)) == 1:
            if waiting(single) < 3:
                return False
            haste.advance(0.001)
        return True

    def batch(items):
        asked.append(sorted(items))
        return items

    single = collapsed(batch, Clock(ready), window=LONG)
    leader = in_thread(lambda: hasty(0.001, single, 1, clock=haste))
    until(lambda: waiting(single) == 1)
    others = [in_thread(lambda n=n: single(n)) for n in (2, 3)]
    assert isinstance(leader(), DeadlineExceededError)
    assert [2, 3] == [join() for join in others]
    assert [[2, 3]] == asked


def test_a_leader_whose_time_runs_out_before_the_batch_is_due_leaves_and_nobody_is_stuck():
    clock, asked = ManualClock(), []

    def batch(items):
        asked.append(items)
        return items

    single = collapsed(batch, clock, window=0.005)
    with pytest.raises(DeadlineExceededError) as caught:
        hasty(0.002, single, 1, clock=clock)
    assert 0.002 == pytest.approx(caught.value.timeout)
    assert caught.value.__context__ is None
    assert 2 == single(2)
    assert [[2]] == asked


def test_a_thread_that_comes_too_late_asks_for_nothing():
    clock, asked = ManualClock(), []
    single = collapsed(asked.append, clock, window=0.005)
    with pytest.raises(NoTimeLeftError, match="the caller's deadline has passed"):
        hasty(0.0, single, 1, clock=clock)
    assert [] == asked
