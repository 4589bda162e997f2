"""Async timeouts, in virtual time; what asyncio.timeout promises is the measure."""

import asyncio
import gc
import importlib.util
import random
import threading
import time
import weakref

import pytest

from resilience.drivers.async_timeouts import AsyncTimeout
from resilience.drivers.deadline_context import deadline
from resilience.errors import CallTimeoutError, DeadlineExceededError
from resilience.testing import VirtualTimeLoop, virtual_time

LOOPS = [asyncio.new_event_loop]
if importlib.util.find_spec("uvloop") is not None:
    LOOPS.append(importlib.import_module("uvloop").new_event_loop)


async def under(deadlines, call):
    """What the compiled wrapper does with a deadline."""
    watch = None
    try:
        watch = deadlines.enter()
        result = await call
    except BaseException as error:
        late = deadlines.timed_out(watch, error)
        if late is not None:
            raise late from error
        raise
    deadlines.leave(watch)
    return result


def clock():
    return asyncio.get_running_loop().time()


def test_a_call_that_takes_longer_is_cancelled_on_time():
    async def main():
        began = clock()
        with pytest.raises(CallTimeoutError) as caught:
            await under(AsyncTimeout("k", 2.0), asyncio.sleep(50))
        assert ("k", 2.0) == (caught.value.key, caught.value.timeout)
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)
        assert 0 == asyncio.current_task().cancelling()
        return clock() - began

    assert pytest.approx(2.0, abs=1e-6) == virtual_time(main())


def test_a_call_that_ends_in_time_keeps_its_result_and_nothing_comes_later():
    async def main():
        assert "x" == await under(AsyncTimeout("k", 2.0), asyncio.sleep(1.9, "x"))
        await asyncio.sleep(10)
        assert 0 == asyncio.current_task().cancelling()

    virtual_time(main())


def test_no_timeout_watches_nothing():
    async def main():
        assert "x" == await under(AsyncTimeout("k", None), asyncio.sleep(1e6, "x"))

    virtual_time(main())


@pytest.mark.parametrize("error", [TimeoutError("mine"), asyncio.CancelledError("mine"), ValueError("mine")])
def test_what_the_call_raises_by_itself_stays_its_own(error):
    async def fails():
        await asyncio.sleep(0.5)
        raise error

    async def main():
        with pytest.raises(type(error)) as caught:
            await under(AsyncTimeout("k", 2.0), fails())
        assert error is caught.value
        await asyncio.sleep(5)

    virtual_time(main())


def test_a_call_that_answers_our_cancellation_with_its_own_error_keeps_it():
    async def stubborn():
        try:
            await asyncio.sleep(50)
        except asyncio.CancelledError:
            raise TimeoutError("the user's") from None

    async def main():
        with pytest.raises(TimeoutError, match="the user's") as caught:
            await under(AsyncTimeout("k", 1.0), stubborn())
        assert not isinstance(caught.value, CallTimeoutError)
        assert 0 == asyncio.current_task().cancelling()
        await asyncio.sleep(1)

    virtual_time(main())


def test_a_call_that_swallows_our_cancellation_leaves_the_task_uncancelled():
    async def deaf():
        try:
            await asyncio.sleep(50)
        except asyncio.CancelledError:
            return "late"

    async def main():
        assert "late" == await under(AsyncTimeout("k", 1.0), deaf())
        assert 0 == asyncio.current_task().cancelling()
        async with asyncio.timeout(60):  # the next one's count starts at zero too
            await asyncio.sleep(1)

    virtual_time(main())


def test_an_outer_cancellation_stays_one():
    async def main():
        task = asyncio.ensure_future(under(AsyncTimeout("k", 5.0), asyncio.sleep(50)))
        await asyncio.sleep(1)
        task.cancel("outer")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    virtual_time(main())


@pytest.mark.parametrize("ours_first", [True, False])
def test_an_outer_cancellation_at_the_very_moment_of_ours_stays_one(ours_first):
    async def main():
        loop, tasks = asyncio.get_running_loop(), []
        if not ours_first:
            loop.call_at(loop.time() + 1.0, lambda: tasks[0].cancel())
        tasks.append(asyncio.ensure_future(under(AsyncTimeout("k", 1.0), asyncio.sleep(50))))
        await asyncio.sleep(0)
        if ours_first:
            loop.call_at(loop.time() + 1.0, lambda: tasks[0].cancel())
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        assert tasks[0].cancelled()
        assert 1 == tasks[0].cancelling()

    virtual_time(main())


def test_a_task_that_was_being_cancelled_before_can_still_time_out():
    async def body():
        try:
            await asyncio.sleep(50)
        except asyncio.CancelledError:
            with pytest.raises(CallTimeoutError):  # cleaning up, under a deadline of its own
                await under(AsyncTimeout("k", 1.0), asyncio.sleep(50))
            assert 1 == asyncio.current_task().cancelling()
            raise

    async def main():
        task = asyncio.ensure_future(body())
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    virtual_time(main())


@pytest.mark.parametrize(("outer", "inner", "whose"), [(1.0, 3.0, "outer"), (3.0, 1.0, "inner")])
def test_of_two_nested_timeouts_the_shorter_one_fires(outer, inner, whose):
    async def main():
        with pytest.raises(CallTimeoutError) as caught:
            await under(AsyncTimeout("outer", outer), under(AsyncTimeout("inner", inner), asyncio.sleep(50)))
        assert 0 == asyncio.current_task().cancelling()
        return caught.value.key

    assert whose == virtual_time(main())


def test_of_two_nested_timeouts_that_fire_together_the_outer_one_answers():
    async def main():
        with pytest.raises(CallTimeoutError) as caught:
            await under(AsyncTimeout("outer", 1.0), under(AsyncTimeout("inner", 1.0), asyncio.sleep(50)))
        assert 0 == asyncio.current_task().cancelling()
        return caught.value.key

    assert "outer" == virtual_time(main())


@pytest.mark.parametrize(("stdlib", "ours", "raised"), [(1.0, 2.0, TimeoutError), (2.0, 1.0, CallTimeoutError)])
def test_it_nests_with_asyncio_timeout(stdlib, ours, raised):
    async def main():
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(stdlib):
                await under(AsyncTimeout("k", ours), asyncio.sleep(50))
        assert raised is type(caught.value)
        assert 0 == asyncio.current_task().cancelling()

    virtual_time(main())


def test_many_calls_each_end_at_their_own_deadline():
    async def one(deadlines, delay, ended):
        await asyncio.sleep(delay)
        began = clock()
        with pytest.raises(CallTimeoutError):
            await under(deadlines, asyncio.sleep(1e6))
        ended.append(round(clock() - began, 6))

    async def main():
        shared, ended = AsyncTimeout("k", 2.0), []
        await asyncio.gather(*(one(shared, i / 64, ended) for i in range(200)))
        return ended

    assert [2.0] * 200 == virtual_time(main())


def test_a_shorter_timeout_set_meanwhile_overtakes_the_calls_under_way():
    async def one(deadlines, ended, name):
        began = clock()
        with pytest.raises(CallTimeoutError) as caught:
            await under(deadlines, asyncio.sleep(1e6))
        ended.append((name, caught.value.timeout, round(clock() - began, 6)))

    async def main():
        deadlines, ended, tasks = AsyncTimeout("k", 30.0), [], []
        for timeout in (30.0, 2.0, 7.0, None, 1.0):
            deadlines.timeout = timeout
            tasks.append(asyncio.ensure_future(
                one(deadlines, ended, timeout) if timeout else under(deadlines, asyncio.sleep(10, "free"))))
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        return ended

    assert [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (7.0, 7.0, 7.0), (30.0, 30.0, 30.0)] == virtual_time(main())


def test_a_loop_held_up_past_many_deadlines_cancels_all_of_them_at_once():
    async def main():
        loop, deadlines = asyncio.get_running_loop(), AsyncTimeout("k", 1.0)
        tasks = [asyncio.ensure_future(under(deadlines, asyncio.sleep(1e6))) for _ in range(50)]
        await asyncio.sleep(0.5)
        loop.advance(100.0)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [CallTimeoutError] * 50 == [type(result) for result in results]
        return loop.time()

    assert virtual_time(main()) < 1101.0


def test_one_object_serves_one_loop_after_the_other():
    deadlines = AsyncTimeout("k", 1.0)

    async def main():
        with pytest.raises(CallTimeoutError):
            await under(deadlines, asyncio.sleep(50))
        asyncio.ensure_future(under(deadlines, asyncio.sleep(50)))  # left behind, its timer set
        await asyncio.sleep(0)

    for _ in range(5):
        virtual_time(main())


def test_one_object_serves_loops_in_many_threads_at_once():
    deadlines, outcomes = AsyncTimeout("k", 0.5), []

    async def main():
        for _ in range(30):
            calls = [under(deadlines, asyncio.sleep(delay)) for delay in (0.1, 50.0, 0.4, 50.0)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            outcomes.append([type(result).__name__ for result in results])

    threads = [threading.Thread(target=virtual_time, args=(main(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert [["NoneType", "CallTimeoutError"] * 2] * 120 == outcomes


def test_it_needs_a_task_and_says_so():
    with pytest.raises(RuntimeError):
        AsyncTimeout("k", 1.0).enter()

    failures = []

    def callback(loop):
        try:
            AsyncTimeout("k", 1.0).enter()
        except RuntimeError as error:
            failures.append(str(error))
        loop.stop()

    loop = VirtualTimeLoop()
    loop.call_soon(callback, loop)
    loop.run_forever()
    loop.close()

    assert ["k: a timeout needs an asyncio task to cancel"] == failures


def test_ten_thousand_fast_calls_leave_one_timer_and_no_watches_behind():
    async def main():
        loop, deadlines = asyncio.get_running_loop(), AsyncTimeout("k", 30.0)
        for _ in range(10_000):
            await under(deadlines, quick())
        gc.collect()
        assert len(loop._scheduled) <= 2
        assert len(watches(loop, 30.0)) <= 1

    virtual_time(main())


def test_calls_that_go_on_while_a_thousand_others_end_still_time_out_when_it_is_time():
    async def main():
        deadlines, ends = AsyncTimeout("k", 30.0), []

        async def hang():
            try:
                await under(deadlines, asyncio.sleep(50))
            except CallTimeoutError:
                ends.append(clock())

        hanging = []
        for _ in range(5):  # some at the head, some in the middle and one at the end of the queue that is swept
            hanging.append(asyncio.create_task(hang()))
            await asyncio.sleep(1)
            for _ in range(1000):
                await under(deadlines, quick())
        hanging.append(asyncio.create_task(hang()))
        began = clock()
        await asyncio.gather(*hanging)
        return [end - began for end in ends]

    assert [25.0, 26.0, 27.0, 28.0, 29.0, 30.0] == pytest.approx(virtual_time(main()))


async def quick():
    return None


def watches(loop, timeout):
    """The queue behind one timeout of one loop; the only look inside that these tests take."""
    from resilience.drivers import async_timeouts as deadlines
    return deadlines._fifos[loop][timeout].watches


def test_a_loop_that_is_gone_is_not_kept():
    deadlines = AsyncTimeout("k", 1.0)

    def once():
        loop = VirtualTimeLoop()
        loop.run_until_complete(under(deadlines, quick()))
        loop.close()
        return weakref.ref(loop)

    gone = once()
    gc.collect()

    assert gone() is None


def test_an_ended_call_is_not_kept_by_a_longer_one_before_it():
    class Thing:
        pass

    async def call(thing):
        return None

    async def main():
        deadlines = AsyncTimeout("k", 30.0)
        long = asyncio.ensure_future(under(deadlines, asyncio.sleep(20)))
        await asyncio.sleep(0)
        thing = Thing()
        ref = weakref.ref(thing)
        await asyncio.ensure_future(under(deadlines, call(thing)))
        del thing
        gc.collect()
        assert ref() is None
        await long

    virtual_time(main())


@pytest.mark.parametrize("factory", LOOPS)
def test_it_keeps_time_on_real_loops(factory):
    async def main():
        deadlines = AsyncTimeout("k", 0.02)
        began = time.monotonic()
        with pytest.raises(CallTimeoutError):
            await under(deadlines, asyncio.sleep(600))
        took = time.monotonic() - began
        assert "x" == await under(deadlines, asyncio.sleep(0, "x"))
        calls = [under(deadlines, asyncio.sleep(600)) for _ in range(50)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert {CallTimeoutError} == {type(result) for result in results}
        assert 0 == asyncio.current_task().cancelling()
        return took

    with asyncio.Runner(loop_factory=factory) as runner:
        assert 0.015 < runner.run(main()) < 60.0


# -- within a caller's deadline


def test_what_ends_within_a_callers_deadline_leaves_no_timer_behind():
    async def main():
        deadlines, timers = AsyncTimeout("k", 3000.0), []
        with deadline(3600.0, clock=clock):
            for _ in range(100):
                await under(deadlines, asyncio.sleep(1))
                timers += [timer for timer in asyncio.get_running_loop()._scheduled if not timer.cancelled()]
        return timers

    assert [] == virtual_time(main())


def test_a_deadline_that_passes_on_the_way_to_the_call_keeps_it_from_beginning():
    async def main():
        with deadline(0.0, clock=clock), pytest.raises(DeadlineExceededError) as caught:
            AsyncTimeout("k", 3.0).enter()
        assert ("k", 0.0) == (caught.value.key, caught.value.timeout)

    virtual_time(main())


@pytest.mark.parametrize("seconds", [1.0, 5.0])
def test_a_call_whose_leaving_was_interrupted_is_not_cancelled_afterwards(seconds):
    async def main():
        complaints = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        with deadline(seconds, clock=clock):
            watch = AsyncTimeout("k", 3.0).enter()
            watch[0] = None  # as far as leave() got
        await asyncio.sleep(10)
        assert ([], 0) == (complaints, asyncio.current_task().cancelling())

    virtual_time(main())


def test_a_crowd_of_random_calls_ends_at_the_earlier_of_its_timeout_and_its_deadline():
    async def main(rng):
        deadlines = {timeout: AsyncTimeout("k", timeout) for timeout in (1.0, 2.5, 4.0)}

        async def call():
            await asyncio.sleep(rng.uniform(0, 5))
            timeout, seconds, takes = rng.choice([*deadlines]), rng.choice([None, rng.uniform(0.01, 5)]), rng.uniform(0, 6)
            began, kind = clock(), None
            with deadline(seconds, clock=clock):
                try:
                    await under(deadlines[timeout], asyncio.sleep(takes))
                except CallTimeoutError as error:
                    kind = type(error)
            given = min(timeout, seconds or timeout)
            assert pytest.approx(min(takes, given), abs=1e-6) == clock() - began
            assert kind is (None if takes < given else DeadlineExceededError if given < timeout else CallTimeoutError)
            assert 0 == asyncio.current_task().cancelling()

        await asyncio.gather(*(call() for _ in range(200)))

    for seed in range(10):
        virtual_time(main(random.Random(seed)))


@pytest.mark.parametrize("new_loop", LOOPS)
def test_it_is_kept_on_real_loops(new_loop):
    async def main():
        began = time.monotonic()
        with deadline(0.05):
            with pytest.raises(DeadlineExceededError):
                await under(AsyncTimeout("k", 30.0), asyncio.sleep(30))
            assert 0.04 < time.monotonic() - began < 10.0

    loop = new_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
