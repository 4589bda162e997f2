"""Timers stopped, some for ever, where a test had frozen, patched or set back the clock of the process or of the loop.

freezegun's issues 383, 384, 437, 470 and 563 have the stories. The measure for a coroutine is asyncio.timeout, which goes by
``loop.time()``; that for a thread is the clock which its wait passes on, and no patch reaches that one.
"""

import asyncio
import itertools
import random
import subprocess
import sys
import threading
import time

import pytest
from freezegun import freeze_time

from resilience import (
    CallTimeoutError,
    DeadlineExceededError,
    Hedge,
    RateLimit,
    Registry,
    cache,
    collapse,
    command,
    deadline,
)
from resilience.asgi import Ticker
from resilience.drivers.async_timeouts import AsyncTimeout
from resilience.drivers.system_clock import waited_clock
from resilience.gateway.messages.disconnect import LOOK_EVERY_S, Disconnects
from resilience.gateway.upstream import http1
from resilience.gateway.upstream.http1 import KEEP_IDLE_S, Http1Client
from resilience.testing import VirtualTimeLoop
from tests.drivers.until import until
from tests.engine.collapsed import batches_of

LOOPS = [asyncio.new_event_loop, VirtualTimeLoop]
try:
    import uvloop
except ModuleNotFoundError:
    pass
else:
    LOOPS.append(uvloop.new_event_loop)


class SettableLoop(VirtualTimeLoop):
    """A loop whose clock can be set, also back, as that of a plain loop is by the end of a freeze."""

    def set(self, now):
        self._now = now


def run(main, loop):
    """The result of *main* on *loop*, within ten seconds."""
    results = []

    def body():
        try:
            results.append(loop.run_until_complete(main))
        except BaseException as error:
            results.append(error)

    within_ten_seconds(body)
    loop.close()
    if isinstance(results[0], BaseException):
        raise results[0]
    return results[0]


def within_ten_seconds(body):
    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "it waits for ever"


def hanging(seconds=0.01, **settings):
    """A guarded function that no call of returns."""
    @command(registry=Registry(), key="hangs", timeout=seconds, max_concurrent=None, breaker=None, **settings)
    async def hangs():
        await asyncio.get_running_loop().create_future()

    return hangs


async def times_out(call):
    try:
        async with asyncio.timeout(60):
            await call()
    except CallTimeoutError:
        return True
    except TimeoutError:
        pass
    return False


# -- coroutines

@pytest.mark.parametrize("loop", LOOPS)
def test_calls_time_out_before_during_and_after_a_freeze_that_leaves_asyncio_alone(loop):
    async def main():
        call = hanging()
        ended = [await times_out(call)]
        with freeze_time("2033-01-01", real_asyncio=True):
            ended.append(await times_out(call))
        return [*ended, await times_out(call)]

    assert [True, True, True] == run(main(), loop())


@pytest.mark.parametrize("date", ["2033-01-01", "1970-01-01"])
@pytest.mark.parametrize("loop", LOOPS)
def test_calls_time_out_after_a_freeze_of_the_loop_itself_whatever_began_within_it(loop, date):
    async def main():
        call, other = hanging(), hanging()
        with freeze_time(date):
            within = [asyncio.create_task(each()) for each in (call, other)]
            await asyncio.sleep(0)
        after = [await times_out(call), await times_out(other)]
        for task in within:
            task.cancel()
        await asyncio.wait(within)
        return after

    assert [True, True] == run(main(), loop())


def test_within_a_freeze_of_the_loop_itself_calls_time_out_as_the_test_lets_time_pass():
    async def main():
        with freeze_time("2033-01-01") as frozen:
            task = asyncio.create_task(times_out(hanging(2.0)))
            for _ in range(3):
                await asyncio.sleep(0)
            frozen.tick(1.9)
            for _ in range(3):
                await asyncio.sleep(0)
            early = task.done()
            frozen.tick(0.2)
            for _ in range(5):
                await asyncio.sleep(0)
            return early, task.done() and task.result()

    assert (False, True) == run(main(), asyncio.new_event_loop())


def test_a_call_goes_by_the_clock_of_its_loop_however_that_was_patched(monkeypatch):
    class Shifted(asyncio.SelectorEventLoop):
        def time(self):
            return super().time() + 1000.0

    async def main(patch):
        call = hanging()
        ended = [await times_out(call)]
        patch()
        return [*ended, await times_out(call)]

    def on_the_instance(loop):
        now, rate = loop.time(), 0.5
        monkeypatch.setattr(loop, "time", lambda: now - 500.0 + rate * (time.monotonic() - now))

    def of_the_process(loop):
        ticks, real = itertools.count(-7000.0, 0.001), time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: next(ticks) if threading.current_thread() is worker else real())

    for make, patch in ((asyncio.SelectorEventLoop, on_the_instance), (asyncio.SelectorEventLoop, of_the_process),
                        (Shifted, on_the_instance)):
        loop = make()

        async def body(loop=loop, patch=patch):
            nonlocal worker
            worker = threading.current_thread()
            return await main(lambda: patch(loop))

        worker = None
        assert [True, True] == run(body(), loop), (make, patch)
        monkeypatch.undo()


def test_each_call_ends_when_asyncio_timeout_would_end_it_wherever_the_clock_is_set():
    """But for jumps forward that are stalls: after one, a call whose answer is there ends well (test_local_stall.py)."""
    for seed in range(80):
        chance = random.Random(seed)
        timeouts = [chance.choice([0.5, 1.0, 2.0]) for _ in range(2)]
        script = [(chance.random() * chance.choice([0.3, 2.0]), chance.randrange(2), chance.random() * 3,
                   chance.choices([0.0] * 12 + [0.09, -1e6, 0.05, -0.7, -0.3], k=2)) for _ in range(25)]

        async def jump(loop, seconds):
            loop.set(loop.time() + seconds)
            for _ in range(5):  # one timer cancels many calls, of which asyncio may end some one turn of the loop later
                await asyncio.sleep(0)

        async def play(bound, timeouts=timeouts, script=script):
            loop, ends, tasks = asyncio.get_running_loop(), [], []

            async def one(n, which, seconds):
                try:
                    await bound(which, timeouts[which], asyncio.sleep(seconds))
                except TimeoutError:
                    ends.append((n, "late", round(loop.time(), 6)))
                else:
                    ends.append((n, "done", round(loop.time(), 6)))

            for n, (pause, which, seconds, jumps) in enumerate(script):
                tasks.append(asyncio.create_task(one(n, which, seconds)))
                await asyncio.sleep(0)
                await jump(loop, jumps[0])
                await asyncio.sleep(pause)
                await jump(loop, jumps[1])
            await asyncio.gather(*tasks)
            return sorted(ends)

        async def theirs(which, timeout, call):
            async with asyncio.timeout(timeout):
                await call

        async def ours(which, timeout, call, deadlines=tuple(AsyncTimeout("k", each) for each in timeouts)):
            mine = deadlines[which]
            watch = mine.enter()
            try:
                await call
            except BaseException as error:
                late = mine.timed_out(watch, error)
                if late is not None:
                    raise late from error
                raise
            mine.leave(watch)

        assert run(play(theirs), SettableLoop(5e6)) == run(play(ours), SettableLoop(5e6)), seed


def test_loops_in_several_threads_each_go_by_their_own_clock():
    call, ended, start = hanging(3.0), [], threading.Barrier(4)

    async def main():
        loop = asyncio.get_running_loop()
        for n in range(50):
            start.wait(10)  # so that the threads take turns
            began = loop.time()
            ended.append((await times_out(lambda: asyncio.shield(call())), round(loop.time() - began, 6)))
            if n % 3 == 0:
                loop.set(loop.time() - 1e5)

    def body(n):
        loop = SettableLoop(1e6 * (n + 7))
        loop.run_until_complete(main())
        loop.close()

    threads = [threading.Thread(target=body, args=(n,), daemon=True) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert [(True, 3.0)] * 200 == ended


def test_a_loop_that_was_closed_with_its_timer_set_concerns_no_later_loop():
    call = hanging()
    for _ in range(3):
        loop = asyncio.new_event_loop()
        task = loop.create_task(call())
        loop.run_until_complete(asyncio.sleep(0))
        task._log_destroy_pending = False
        loop.close()
        assert run(times_out(call), asyncio.new_event_loop())


def test_a_clock_that_goes_to_and_fro_leaves_no_ended_calls_behind():
    async def main():
        from resilience.drivers import async_timeouts as module
        loop, deadlines = asyncio.get_running_loop(), AsyncTimeout("k", 1.0)
        for n in range(300):
            loop.set(1e6 - 10.0 * n)
            for _ in range(5):
                deadlines.leave(deadlines.enter())
        fifos = [each.__self__ for each in (handle._callback for handle in loop._scheduled)]
        return len(module._fifos[loop]), sum(len(fifo.watches) for fifo in fifos)

    timers, left = run(main(), SettableLoop())
    assert (1, True) == (timers, left <= 5)


# -- what else has one timer for many

def test_who_joins_an_open_batch_after_the_clock_went_back_does_not_wait_for_its_old_time():
    @collapse(window=0.01)
    @command(registry=Registry(), timeout=None, breaker=None)
    async def load(ids):
        return {each: -each for each in ids}

    async def main():
        loop = asyncio.get_running_loop()
        first = asyncio.create_task(load(1))
        await asyncio.sleep(0)
        loop.set(loop.time() - 1e6)
        began = loop.time()
        return await load(2), await first, round(loop.time() - began, 6)

    assert (-2, -1, 0.01) == run(main(), SettableLoop(2e6))


def test_clients_that_leave_are_looked_for_after_the_clock_went_back_or_the_loop_was_closed():
    disconnects, left = Disconnects(), asyncio.Event()

    async def request(back):
        loop = asyncio.get_running_loop()

        async def receive():
            left.set()
            return {"type": "http.disconnect"}

        flight = disconnects.enter(receive)
        if back:
            disconnects.leave(flight)
            loop.set(loop.time() - back)
            flight = disconnects.enter(receive)
        try:
            await asyncio.sleep(10 * LOOK_EVERY_S)
        except asyncio.CancelledError:
            asyncio.current_task().uncancel()
        finally:
            disconnects.leave(flight)
        return flight.gone

    for back in (1e6, 0.05, 0.0):
        assert run(request(back), SettableLoop(2e6)), back
    loop = SettableLoop(2e6)
    task = loop.create_task(request(0.0))
    loop.run_until_complete(asyncio.sleep(0))
    task._log_destroy_pending = False
    loop.close()  # with the timer set, and the request under way
    assert run(request(0.0), SettableLoop(3e6))


def test_a_connection_to_an_upstream_is_kept_for_as_long_as_the_loop_says(monkeypatch):
    class Connection:
        closed = reused = unread = False
        idle_since = 0.0
        headers = ()

        def abort(self):
            self.closed = True

        def begin(self, request):
            pass

    async def taken(seconds):
        client, connection = Http1Client(), Connection()

        async def connect(*_):
            raise ConnectionError

        monkeypatch.setattr(http1, "connect", connect)
        loop = connection.loop = asyncio.get_running_loop()
        assert client.keep("endpoint", connection)
        loop.set(loop.time() + seconds)
        try:
            return await client.send("endpoint", None, connect_timeout=1.0) is connection
        except ConnectionError:
            return False

    cases = {KEEP_IDLE_S - 0.1: True, KEEP_IDLE_S + 0.1: False, 1e6: False, -1e6: False}
    assert cases == {seconds: run(taken(seconds), SettableLoop(2e6)) for seconds in cases}


def test_a_stream_ticks_on_after_the_clock_went_back():
    async def main():
        loop = asyncio.get_running_loop()
        ticker = Ticker(lambda: iter(()), interval=1.0, ping=b"", max_listeners=1)
        queue = ticker.join()
        await queue.get()

        def back():
            loop.set(loop.time() - 1e6)
            ticker._messages = lambda: iter(())
            return iter(())

        ticker._messages = back
        await queue.get()
        began = loop.time()
        await queue.get()
        ticker.part(queue)
        return loop.time() - began

    assert run(main(), SettableLoop(2e6)) <= 1.0


# -- threads

def deep(call, frames=8):
    """Call it where freezegun, which looks five frames up, does not see the threading module that it spares."""
    return call() if not frames else deep(call, frames - 1)


def test_a_thread_times_out_while_the_process_clock_stands_still_hedged_or_not():
    release = threading.Event()
    try:
        for settings in ({}, {"hedge": Hedge(delay=0.01, idempotent=True)}, {"hedge": Hedge(delay=0.01, attempts=4, idempotent=True)}):
            @command(registry=Registry(), key="waits", timeout=0.05, breaker=None, **settings)
            def waits():
                release.wait(20)

            ended = []

            def body(waits=waits, ended=ended):
                try:
                    deep(waits)
                except CallTimeoutError as error:
                    ended.append(error.timeout)

            with freeze_time("2033-01-01"):
                within_ten_seconds(body)
            assert [0.05] == ended, settings
    finally:
        release.set()


def test_a_freeze_that_begins_or_ends_during_a_hedged_call_does_not_end_it_early(monkeypatch):
    """A clock that leaps while the caller waits: the third attempt's answer comes all the same."""
    begun, answered = [], threading.Event()

    @command(registry=Registry(), key="leaps", timeout=20.0, breaker=None,
             hedge=Hedge(delay=0.01, attempts=3, idempotent=True))
    def leaps():
        begun.append(None)
        n = len(begun)
        if n == 3:
            return "third"
        if n == 2:
            leap()
        answered.wait(10)
        return "too late"

    def leap():
        leaping = itertools.count(time.monotonic() + 1e6, 1e6)
        monkeypatch.setattr(time, "monotonic", lambda: next(leaping))
        for name, module in list(sys.modules.items()):
            if name.startswith("resilience.") and getattr(module, "monotonic", None) is not None:
                monkeypatch.setattr(module, "monotonic", lambda: next(leaping))

    results = []
    within_ten_seconds(lambda: results.append(leaps()))
    answered.set()
    assert ["third"] == results


def test_a_virtual_loop_waits_for_what_is_outside_while_the_process_clock_stands_still():
    async def main():
        loop, release = asyncio.get_running_loop(), threading.Event()
        outside = loop.run_in_executor(None, release.wait, 10)
        await asyncio.sleep(0.01)
        release.set()
        await outside

    with freeze_time("2033-01-01"):
        run(main(), VirtualTimeLoop())


def test_the_clock_that_waits_pass_on_is_genuine_also_if_imported_within_a_freeze():
    with freeze_time("2033-01-01"):
        assert waited_clock() < time.time() - 1e6
    program = """
import time
from freezegun import freeze_time
kept = [time.monotonic]  # freezegun replaces it in every module, and in no list
with freeze_time("2033-01-01"):
    from resilience import Registry, deadline
    from resilience.drivers.system_clock import waited_clock
    made = Registry()
for clock in (waited_clock, made.clock, Registry().clock, deadline(1.0).clock):
    assert abs(clock() - kept[0]()) < 1.0, clock
    with freeze_time("2033-01-01"):
        assert abs(clock() - kept[0]()) < 1.0, clock
"""
    assert 0 == subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode


# -- waits that a registry's or a deadline's clock bounds, where that stands still and the wait's own does not

class Still:
    """A frozen clock, which says so when somebody reads it again and again."""

    def __init__(self):
        self.read = 0

    def __call__(self):
        self.read += 1
        if self.read > 1000:
            raise RecursionError("it is asked again and again, and stands still")
        return 7.0


@pytest.mark.parametrize("flavour", ["sync", "async"])
def test_a_turn_under_a_rate_limit_comes_once_it_was_waited_for(flavour):
    guard = command(registry=Registry(clock=Still()), timeout=None, max_concurrent=None, breaker=None,
                    rate_limit=RateLimit(100, burst=1, max_wait=60.0))
    if flavour == "sync":
        plain, answers = guard(lambda: "answer"), []
        within_ten_seconds(lambda: answers.extend(plain() for _ in range(3)))
        assert ["answer"] * 3 == answers
        return

    @guard
    async def call():
        return "answer"

    async def main():
        return await asyncio.gather(call(), call(), call()), asyncio.get_running_loop().time()

    answers, now = run(main(), VirtualTimeLoop(0.0))
    assert (["answer"] * 3, 0.02) == (answers, pytest.approx(now))


def test_who_follows_a_leader_that_hangs_leaves_when_the_deadline_was_waited_for():
    registry, executed = Registry(), []

    @cache(ttl=60.0, registry=registry, key="async")
    async def answer(item):
        executed.append(item)
        if len(executed) == 1:
            await asyncio.get_running_loop().create_future()
        return "answer"

    async def main():
        leader = asyncio.create_task(answer(1))
        await asyncio.sleep(0)
        with deadline(2.0, clock=Still()):
            followed = await answer(1)
        leader.cancel()
        await asyncio.wait([leader])
        return followed

    assert "answer" == run(main(), VirtualTimeLoop())

    release, begun, plain = threading.Event(), threading.Event(), []

    @cache(ttl=60.0, registry=registry, key="sync")
    def blocks(item):
        if not begun.is_set():
            begun.set()
            release.wait(20)
        return "answer"

    leader = threading.Thread(target=blocks, args=(1,), daemon=True)
    leader.start()
    begun.wait(10)

    def follow():
        with deadline(0.01, clock=Still()):
            plain.append(blocks(1))

    within_ten_seconds(follow)
    release.set()
    leader.join(10)
    assert ["answer"] == plain


def test_who_waits_for_a_batch_that_hangs_leaves_when_the_deadline_was_waited_for():
    ended = []

    @collapse(window=60.0, max_batch=3)
    @command(registry=Registry(), timeout=None, breaker=None)
    def load(ids):
        return {each: each for each in ids}

    def ask(item):
        thread = threading.Thread(target=load, args=(item,), daemon=True)
        thread.start()
        return thread

    def follow():
        try:
            with deadline(0.01, clock=Still()):
                load(2)
        except DeadlineExceededError as error:
            ended.append(error.timeout)

    callers = [ask(1)]
    batcher = batches_of(load).batcher
    until(lambda: [batch for batch in batcher._open.values() if batch.leader is not None])
    within_ten_seconds(follow)
    callers += [ask(3), ask(4)]  # it is full, and over
    for caller in callers:
        caller.join(10)
        assert not caller.is_alive()
    assert [pytest.approx(0.01)] == ended


def test_who_leads_a_batch_leaves_when_the_deadline_was_waited_for():
    @collapse(window=60.0)
    @command(registry=Registry(), timeout=None, breaker=None)
    def load(ids):
        return {each: each for each in ids}

    ended = []

    def lead():
        try:
            with deadline(0.01, clock=Still()):
                load(1)
        except DeadlineExceededError as error:
            ended.append(error.timeout)

    within_ten_seconds(lead)
    assert ([pytest.approx(0.01)], 0) == (ended, batches_of(load).batcher.open)
