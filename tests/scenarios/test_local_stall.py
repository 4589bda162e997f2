"""A blocked loop or a stopped process is not the target's doing: nothing opens, shrinks or is throttled for it."""

import asyncio
import random
import socket
import threading

import pytest

from resilience import AdaptiveLimit, CallTimeoutError, CircuitBreaker, Registry, StreamTimeout, command
from resilience.core import stalls as module
from resilience.core.circuit import Circuit
from resilience.core.events import LocalStall
from resilience.core.outcome import FAILURE, SUCCESS
from resilience.core.stalls import Stalls
from resilience.drivers import local_stalls
from tests.seeds import over_seeds

EAGER = CircuitBreaker(consecutive=1, sustained_failures=None)


@pytest.fixture(autouse=True)
def _no_stall_of_an_earlier_test(monkeypatch):
    monkeypatch.setattr(local_stalls.system_stalls, "until", float("-inf"))
    local_stalls.system_stalls._spans = ()


@pytest.fixture
def any_loss_decides(monkeypatch):
    """A stall of the loop's clock alone is as short on the system's as the turns that the loop takes after it."""
    monkeypatch.setattr(module, "_DECIDES", 0.0)


def hold_up(loop, seconds):
    """Let the next timers of the loop come late, as they do after something has blocked it."""
    plain = type(loop).time
    loop.time = lambda: plain(loop) + seconds


async def test_answers_that_came_while_the_loop_was_blocked_reach_their_calls():
    """A server that answers at once, thirty calls under way, and a loop that is blocked for longer than the timeout."""
    listener, answered = socket.create_server(("127.0.0.1", 0), backlog=64), threading.Semaphore(0)

    def serve():
        for _ in range(30):
            connection, _ = listener.accept()
            with connection:
                assert connection.recv(100) == b"hello\n"
                connection.sendall(b"well\n")
            answered.release()

    thread = threading.Thread(target=serve)
    thread.start()
    port, registry, heard, out = listener.getsockname()[1], Registry(), [], []
    registry.subscribe(LocalStall, heard.append)

    @command(key="target", registry=registry, timeout=60.0, max_concurrent=None, breaker=EAGER)
    async def call():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello\n")
        out.append(None)
        line = await reader.readline()
        writer.close()
        return line

    tasks = [asyncio.ensure_future(call()) for _ in range(30)]
    while len(out) < 30:
        await asyncio.sleep(0)
    for _ in range(30):  # the loop is blocked until all answers are there, and for two minutes by its own clock
        assert answered.acquire(timeout=30)
    hold_up(asyncio.get_running_loop(), 120.0)
    assert [b"well\n"] * 30 == await asyncio.gather(*tasks)
    thread.join()
    listener.close()
    assert "closed" == registry["target"].state
    assert 60.0 == pytest.approx(heard[0].seconds, abs=30.0)


@pytest.mark.usefixtures("any_loss_decides")
async def test_a_call_that_times_out_in_a_stall_is_counted_and_says_nothing_to_the_breaker():
    registry = Registry()

    @command(key="target", registry=registry, timeout=60.0, breaker=EAGER)
    async def call():
        await asyncio.Event().wait()

    for state in ("closed", "open"):
        task = asyncio.ensure_future(call())
        await asyncio.sleep(0)
        hold_up(asyncio.get_running_loop(), 120.0 if state == "closed" else 180.0 + 0.01)
        with pytest.raises(CallTimeoutError):
            await task
        assert state == registry["target"].state
    assert 2 == registry["target"].snapshot().counts["timeout"]


IN_TIME = [{"timeout": 60.0}, {"stream_timeout": StreamTimeout(between_items=60.0)},
           {"stream_timeout": StreamTimeout(first_item=60.0, total=600.0)}]


@pytest.mark.parametrize("settings", IN_TIME, ids=str)
async def test_an_item_that_came_while_the_loop_was_blocked_reaches_its_stream(settings):
    registry, (ours, theirs) = Registry(), socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)

    @command(key="target", registry=registry, breaker=EAGER, **settings)
    async def lines():
        async for line in reader:
            yield line

    stream = lines()
    task = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    theirs.sendall(b"well\n")
    hold_up(asyncio.get_running_loop(), 120.0)
    assert b"well\n" == await task
    theirs.close()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    writer.close()
    assert ("closed", 0) == (registry["target"].state, registry["target"].snapshot().counts["timeout"])


@pytest.mark.usefixtures("any_loss_decides")
@pytest.mark.parametrize("settings", IN_TIME, ids=str)
async def test_a_stream_that_times_out_in_a_stall_is_counted_and_says_nothing_to_the_breaker(settings):
    registry = Registry()

    @command(key="target", registry=registry, breaker=EAGER, **settings)
    async def never():
        await asyncio.Event().wait()
        yield

    for state in ("closed", "open"):
        task = asyncio.ensure_future(anext(never()))
        await asyncio.sleep(0)
        hold_up(asyncio.get_running_loop(), 120.0 if state == "closed" else 180.0 + 0.01)
        with pytest.raises(CallTimeoutError):
            await task
        assert state == registry["target"].state
    assert 2 == registry["target"].snapshot().counts["timeout"]


def test_a_caller_who_wakes_up_late_from_a_worker_excuses_the_call(monkeypatch):
    registry, go = Registry(), threading.Event()

    @command(key="target", registry=registry, timeout=0.05, breaker=EAGER)
    def call():
        go.wait(10)

    now, clock = [0.0], local_stalls.monotonic
    import resilience.drivers.workers as workers

    real = workers.waited_clock
    times = iter([0.0, 5.0])
    monkeypatch.setattr(workers, "waited_clock", lambda: next(times, real()))
    monkeypatch.setattr(local_stalls.came_late, "__defaults__", (lambda: clock() + now[0],))
    with pytest.raises(CallTimeoutError):
        call()
    go.set()
    assert (1, "closed") == (registry["target"].snapshot().counts["timeout"], registry["target"].state)


@over_seeds(200)
def test_the_seconds_lost_are_those_of_a_plain_oracle(seed):
    rng, stalls, lost, now = random.Random(seed), Stalls(), set(), 0
    for _ in range(12):
        now += rng.randrange(1, 10)
        start = now - rng.randrange(0, 8)
        stalls.note(start, now)
        lost.update(range(start, now))
        started = now - rng.randrange(0, 30)
        ended = now + rng.randrange(0, 3)
        wanted = sum(started <= second < ended for second in lost)
        assert wanted == stalls.lost(started, ended)
        assert stalls.excuses(started, ended) == (wanted > 0 and wanted >= (ended - started) / 4)


def test_stalls_that_touch_are_one_and_the_last_sixteen_are_known():
    assert (0.1, 0.25, 16) == (module.STALL_S, module._DECIDES, module._KEPT)
    stalls = Stalls()
    assert (float("-inf"), 0.0) == (stalls.until, stalls.lost(-1e9, 1e9))
    stalls.note(5.0, 6.0)
    stalls.note(4.0, 5.0)
    stalls.note(6.0, 7.0)
    assert (((4.0, 7.0),), 7.0) == (stalls._spans, stalls.until)
    stalls.note(4.5, 5.5)
    assert ((4.0, 7.0),) == stalls._spans
    assert (0.0, 1.0) == (stalls.lost(7.0, 9.0), stalls.lost(6.0, 9.0))
    for n in range(10, 30):
        stalls.note(10.0 * n, 10.0 * n + 1.0)
    assert 16 == len(stalls._spans)
    assert (140.0, 141.0) == stalls._spans[0]


def test_a_stall_that_is_noted_while_another_one_is_noted_is_kept():
    stalls = Stalls()

    class Start(float):
        """A time during whose comparison another thread, or a signal handler, notes a stall."""

        def __gt__(self, other):
            if not noted:
                noted.append(stalls.note(20.0, 30.0))
            return float(self) > other

    noted = []
    stalls.note(0.0, 1.0)
    stalls.note(Start(5.0), 6.0)
    assert (((0.0, 1.0), (5.0, 6.0), (20.0, 30.0)), 30.0) == (stalls._spans, stalls.until)


def test_a_call_is_not_slow_by_what_it_lost():
    stalls = Stalls()
    machine = Circuit(CircuitBreaker(min_calls=1, slow_call=1.0, slow_rate=0.5, failure_rate=None), key="k", group="g",
                      now=0.0, emit=lambda event: None, random=lambda: 0.5, stalls=stalls)
    permit = machine.acquire(10.0)
    stalls.note(10.5, 12.5)
    machine.settle(permit, SUCCESS, 10.0, 12.9)
    assert "closed" == machine.state
    machine.settle(permit, SUCCESS, 10.0, 13.1)
    assert "open" == machine.state


def test_an_adaptive_limit_learns_nothing_from_calls_that_a_stall_held_up(registry, clock):
    from resilience.core.adaptive import AdaptiveLimiter

    stalls = Stalls()
    limiter = AdaptiveLimiter(AdaptiveLimit(initial=10, min_calls=5, window=1.0), key="k", now=0.0, stalls=stalls)
    for second in range(20):
        for _ in range(10):
            limiter.report(SUCCESS, second, second + 0.1)
    limit = limiter.limit
    stalls.note(20.0, 25.0)
    for _ in range(50):
        limiter.report(FAILURE, 20.0, 25.1)
        limiter.report(SUCCESS, 20.0, 25.1)
    limiter.report(SUCCESS, 26.0, 26.1)
    assert limiter.limit >= limit - 1
