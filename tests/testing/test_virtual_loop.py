"""The virtual-time loop: what takes no time, what still takes real time, and what would never end."""

import asyncio
import contextlib
import gc
import random
import socket
import threading
import time

import pytest

from resilience import CallTimeoutError, CircuitBreaker, Registry, command
from resilience.testing import DeadlockError, VirtualTimeLoop, virtual_time


def elapsed(main, **options):
    """Virtual seconds that *main* took."""
    async def timed():
        loop = asyncio.get_running_loop()
        began = loop.time()
        await main()
        return loop.time() - began

    return virtual_time(timed(), **options)


def test_a_day_of_sleep_takes_no_real_time():
    began = time.monotonic()

    assert 86_400.0 == elapsed(lambda: asyncio.sleep(86_400.0))
    assert time.monotonic() - began < 60


def test_an_hour_of_traffic_through_a_command_takes_seconds_and_its_statistics_are_exact():
    async def main():
        loop = asyncio.get_running_loop()
        registry, rng = Registry(clock=loop.time), random.Random(1)

        @command(key="stock", registry=registry, timeout=0.5, breaker=CircuitBreaker(open_for=5.0))
        async def stock(down):
            await asyncio.sleep(30.0 if down else 0.1)

        states, calls = [], []
        while loop.time() < 1000.0 + 3600.0:
            down = 2000.0 <= loop.time() < 2600.0
            calls.append(asyncio.create_task(stock(down)))
            states.append((loop.time(), str(stock.resilience.state)))
            await asyncio.sleep(rng.uniform(0.1, 0.9))
        await asyncio.wait(calls)
        snapshot = stock.resilience.snapshot()
        return states, {type(call.exception()).__name__ for call in calls}, snapshot

    states, ends, snapshot = virtual_time(main())

    assert {"closed"} == {state for at, state in states if at < 2000.0}
    assert "closed" not in {state for at, state in states if 2030.0 <= at < 2600.0}
    assert {"closed"} == {state for at, state in states if at > 2610.0}
    assert {"NoneType", "CallTimeoutError", "CircuitOpenError"} == ends
    assert snapshot.latency.p50 == pytest.approx(0.1, rel=0.01)
    assert 0 == snapshot.in_flight


def test_timers_run_in_their_order_and_at_their_times():
    async def main():
        loop, seen = asyncio.get_running_loop(), []
        rng = random.Random(2)
        delays = [rng.choice([0.0, 0.1, 0.25, 3.0, 1e-6, 86_400.5]) for _ in range(200)]
        for delay in delays:
            loop.call_later(delay, lambda d=delay: seen.append((loop.time() - 1000.0, d)))
        await asyncio.sleep(100_000.0)
        return delays, seen

    delays, seen = virtual_time(main())

    assert sorted(delays) == [delay for _, delay in seen]
    assert all(at == pytest.approx(delay, abs=1e-8) for at, delay in seen)


def test_time_stands_still_while_anything_can_run():
    async def main():
        loop = asyncio.get_running_loop()
        loop.call_later(1e-6, lambda: None)
        began = loop.time()
        for _ in range(1000):
            await asyncio.sleep(0)
        return loop.time() - began

    assert 0.0 == virtual_time(main())


def test_two_runs_of_a_program_are_the_same():
    async def main():
        seen, rng = [], random.Random(3)

        async def worker(n):
            for _ in range(20):
                await asyncio.sleep(rng.random())
                seen.append((n, asyncio.get_running_loop().time()))

        await asyncio.gather(*map(worker, range(10)))
        return seen

    assert virtual_time(main()) == virtual_time(main())


@pytest.mark.parametrize("start", [0.0, 1e7, 1e9, 1e12])
def test_timers_fire_wherever_the_clock_starts(start):
    assert elapsed(lambda: asyncio.sleep(0.5), start=start) == pytest.approx(0.5, abs=1e-3)


def test_a_timeout_around_a_sleep_fires_at_its_time():
    async def main():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2.5):
                await asyncio.Event().wait()

    assert 2.5 == elapsed(main)


def test_work_in_a_thread_takes_no_virtual_time_and_no_timer_overtakes_it():
    async def main():
        loop, seen = asyncio.get_running_loop(), []
        loop.call_later(30.0, seen.append, "timer")
        assert "done" == await asyncio.to_thread(lambda: time.sleep(0.05) or "done")
        return seen

    async def timed():
        assert [] == await main()

    assert 0.0 == elapsed(timed)


def test_a_timer_during_outside_work_fires_once_its_distance_has_really_been_waited_for():
    async def main():
        release, loop = threading.Event(), asyncio.get_running_loop()
        loop.call_later(0.05, release.set)
        began = time.monotonic()
        assert await loop.run_in_executor(None, release.wait, 30)
        assert 0.04 < time.monotonic() - began < 20

    assert elapsed(main) == pytest.approx(0.05)


def test_wake_ups_meanwhile_do_not_put_such_a_timer_off():
    async def main():
        release, loop = threading.Event(), asyncio.get_running_loop()
        loop.call_later(0.05, release.set)

        def chatter():
            while not release.wait(0.001):
                loop.call_soon_threadsafe(lambda: None)

        await loop.run_in_executor(None, chatter)

    assert elapsed(main) == pytest.approx(0.05)


def test_bytes_through_real_sockets_take_no_virtual_time():
    async def main():
        async def echo(reader, writer):
            writer.write(await reader.readexactly(5))
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with asyncio.timeout(60):
            for _ in range(20):
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                writer.write(b"hello")
                assert b"hello" == await reader.readexactly(5)
                writer.close()
                await writer.wait_closed()
        server.close()
        await server.wait_closed()

    assert 0.0 == elapsed(main)


def test_a_watched_socket_that_never_speaks_is_timed_out_in_real_time():
    async def main():
        ours, theirs = socket.socketpair()
        with ours, theirs, contextlib.suppress(TimeoutError):
            ours.setblocking(False)
            async with asyncio.timeout(0.05):
                await asyncio.get_running_loop().sock_recv(ours, 1)

    began = time.monotonic()
    assert elapsed(main) == pytest.approx(0.05)
    assert time.monotonic() - began >= 0.045


def test_time_jumps_again_after_outside_work_is_done():
    async def main():
        await asyncio.to_thread(time.sleep, 0.001)
        await asyncio.sleep(3600.0)

    assert 3600.0 == elapsed(main)


def test_a_call_of_an_unknown_thread_wakes_the_loop_that_would_be_deadlocked():
    async def main():
        loop, future = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
        thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(future.set_result, 7))
        thread.start()
        result = await future
        thread.join()
        return result

    assert 7 == virtual_time(main())


def test_an_announced_thread_is_waited_for_although_a_timer_is_set():
    async def main():
        loop, future = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

        def work():
            time.sleep(0.02)
            loop.call_soon_threadsafe(future.set_result, 7)

        async with asyncio.timeout(60.0):
            with loop.outside():
                thread = threading.Thread(target=work)
                thread.start()
                assert 7 == await future
        thread.join()

    assert 0.0 == elapsed(main)


def test_calls_of_many_threads_all_arrive():
    async def main():
        loop, seen = asyncio.get_running_loop(), []

        def work(n):
            for i in range(200):
                loop.call_soon_threadsafe(seen.append, (n, i))

        await asyncio.gather(*(asyncio.to_thread(work, n) for n in range(8)))
        await asyncio.sleep(1.0)
        return seen

    seen = virtual_time(main())

    assert [(n, i) for n in range(8) for i in range(200)] == sorted(seen)
    assert all([i for m, i in seen if m == n] == list(range(200)) for n in range(8))


def test_tasks_that_wait_for_ever_are_named_with_their_lines():
    async def on_a_lock(lock):
        async with lock:
            pass

    async def main():
        lock = asyncio.Lock()
        await lock.acquire()
        task = asyncio.create_task(on_a_lock(lock), name="the second")
        await asyncio.Event().wait()
        await task

    with pytest.raises(DeadlockError) as caught:
        virtual_time(main())

    first, *lines = str(caught.value).splitlines()
    assert "nothing is ready and no timer is set, so these would wait for ever:" == first
    code = main.__code__, on_a_lock.__code__
    places = [f"{each.co_qualname}, {each.co_filename}:{each.co_firstlineno + n}" for each, n in zip(code, (4, 1))]
    assert [places[0], f"  the second: {places[1]}"] == [lines[0].partition(": ")[2], lines[1]]


def test_after_a_deadlock_the_waiting_tasks_are_cancelled_and_the_next_loop_runs():
    ended = []

    async def main():
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append("cleaned up")

    with pytest.raises(DeadlockError):
        virtual_time(main())

    assert ["cleaned up"] == ended
    assert 1.0 == elapsed(lambda: asyncio.sleep(1.0))


def test_a_loop_without_tasks_that_runs_for_ever_says_so():
    loop = VirtualTimeLoop()
    try:
        with pytest.raises(DeadlockError, match="no task is left"):
            loop.run_forever()
    finally:
        loop.close()


def test_an_advance_holds_the_loop_up_and_due_timers_follow_in_order():
    async def main():
        loop, seen = asyncio.get_running_loop(), []
        loop.call_later(2.0, seen.append, "late")
        loop.call_later(1.0, seen.append, "early")
        loop.advance(10.0)
        assert [] == seen
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert 1010.0 == loop.time()
        return seen

    assert ["early", "late"] == virtual_time(main())


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_time_never_steps_back_nor_beyond_all_numbers(seconds):
    loop = VirtualTimeLoop()
    try:
        with pytest.raises(ValueError, match="at least 0 and finite"):
            loop.advance(seconds)
    finally:
        loop.close()


def test_a_sync_command_on_worker_threads_times_out_in_real_time_beside_the_loop():
    async def main():
        registry = Registry(clock=asyncio.get_running_loop().time)
        release = threading.Event()

        @command(key="stock", registry=registry, timeout=0.02)
        def stock():
            release.wait(30)

        with pytest.raises(CallTimeoutError):
            await asyncio.to_thread(stock)
        release.set()
        registry.close()

    virtual_time(main())


def test_a_cancelled_executor_call_does_not_hold_time():
    async def main():
        release, loop = threading.Event(), asyncio.get_running_loop()
        future = loop.run_in_executor(None, release.wait, 30)
        await asyncio.sleep(0)
        future.cancel()
        began = time.monotonic()
        await asyncio.sleep(600.0)
        assert time.monotonic() - began < 10
        release.set()

    assert 600.0 == elapsed(main)


def test_a_loop_that_is_gone_is_not_kept():
    import weakref

    loop = VirtualTimeLoop()
    loop.run_until_complete(asyncio.sleep(1))
    loop.close()
    gone = weakref.ref(loop)
    del loop
    gc.collect()

    assert gone() is None
