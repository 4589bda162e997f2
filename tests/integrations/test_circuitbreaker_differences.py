"""Each deliberate difference from circuitbreaker, shown with both; docs/howto/coming-from-circuitbreaker.md lists them."""

import asyncio
import contextvars
import gc
import random
import threading

import pytest

from resilience import BadRequestError, Registry
from resilience.integrations import circuitbreaker as ours
from resilience.testing import ManualClock
from tests.seeds import over_seeds


def fail(*_):
    raise OSError("down")


@pytest.fixture
def both(their_circuitbreaker, registry):
    """A breaker of each library, made with the same settings."""

    def make(**settings):
        return (their_circuitbreaker.CircuitBreaker(**settings), ours.CircuitBreaker(**settings, registry=registry))

    return make


def trip(breaker, threshold):
    for _ in range(threshold):
        with pytest.raises(OSError, match="down"):
            breaker.call(fail)
    assert breaker.opened


def test_a_block_is_refused_while_the_circuit_is_open(both):
    theirs, mine = both(failure_threshold=2)
    for breaker in (theirs, mine):
        trip(breaker, 2)
    ran = []
    with theirs:
        ran.append("theirs")
    with pytest.raises(ours.CircuitBreakerError), mine:
        ran.append("mine")
    assert ["theirs"] == ran
    assert ("closed", "open") == (theirs.state, mine.state)


def test_a_block_that_is_refused_is_not_answered_by_the_fallback(registry):
    breaker = ours.CircuitBreaker(failure_threshold=1, fallback_function=lambda: "instead", registry=registry)
    trip(breaker, 1)
    with pytest.raises(ours.CircuitBreakerError), breaker:
        raise AssertionError("it ran")
    assert breaker(fail)() == "instead"


def test_a_direct_call_is_refused_while_the_circuit_is_open(both):
    theirs, mine = both(failure_threshold=2)
    for breaker in (theirs, mine):
        trip(breaker, 2)
    with pytest.raises(OSError, match="down"):
        theirs.call(fail)
    with pytest.raises(ours.CircuitBreakerError):
        mine.call(fail)


def test_a_block_counts_its_time_and_failures(registry, clock):
    breaker = ours.CircuitBreaker(failure_threshold=2, name="block", registry=registry)
    for _ in range(2):
        with pytest.raises(OSError, match="down"), breaker:
            clock.advance(0.5)
            fail()
    assert ("open", 2) == (breaker.state, breaker.failure_count)
    assert 2 == registry["block"].snapshot().counts["failure"]


def test_blocks_of_one_breaker_may_stand_in_each_other_and_in_tasks_side_by_side(registry):
    breaker, other = (ours.CircuitBreaker(registry=registry) for _ in range(2))
    with pytest.raises(StopIteration), breaker, other, breaker:
        raise StopIteration
    assert (2, 1) == (breaker.failure_count, other.failure_count)

    async def work(n, gate):
        with breaker:
            await gate.wait()
            if n % 2:
                raise OSError

    async def all_of_them():
        gate = asyncio.Event()
        tasks = [asyncio.ensure_future(work(n, gate)) for n in range(10)]
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(all_of_them())
    assert [n % 2 for n in range(10)] == [isinstance(each, OSError) for each in results]
    counts = breaker.resilience.snapshot().counts
    assert (5, 5 + 2) == (counts["success"], counts["failure"])


def test_a_block_is_left_where_it_was_entered(registry):
    breaker = ours.CircuitBreaker(registry=registry)
    contextvars.copy_context().run(breaker.__enter__)
    with pytest.raises(RuntimeError, match="context, that it was entered in"):
        breaker.__exit__(None, None, None)


def test_one_probe_at_a_time(both, clock):
    theirs, mine = both(failure_threshold=1, recovery_timeout=5)
    for breaker in (theirs, mine):
        trip(breaker, 1)

    async def probe(gate):
        await gate.wait()

    async def many(breaker):
        gate = asyncio.Event()
        tasks = [asyncio.ensure_future(breaker(probe)(gate)) for _ in range(20)]
        await asyncio.sleep(0)
        gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        return 20 - sum(isinstance(each, Exception) for each in results)

    clock.advance(5)
    assert [20, 1] == [asyncio.run(many(breaker)) for breaker in (theirs, mine)]
    assert ("closed", "closed") == (theirs.state, mine.state)


def test_a_cancelled_call_decides_nothing(both):
    theirs, mine = both(failure_threshold=3)

    async def hang():
        await asyncio.Event().wait()

    async def cancel(breaker):
        task = asyncio.ensure_future(breaker(hang)())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    for breaker in (theirs, mine):
        for _ in range(2):
            with pytest.raises(OSError, match="down"):
                breaker.call(fail)
        asyncio.run(cancel(breaker))
    assert (0, 2) == (theirs.failure_count, mine.failure_count)
    trip(mine, 1)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupt_decides_nothing(interrupt, both):
    theirs, mine = both(failure_threshold=2)

    def work():
        raise interrupt

    for breaker in (theirs, mine):
        with pytest.raises(OSError, match="down"):
            breaker.call(fail)
        with pytest.raises(interrupt):
            breaker(work)()
    assert (0, 1) == (theirs.failure_count, mine.failure_count)


def test_a_late_answer_decides_nothing(both):
    theirs, mine = both(failure_threshold=1)

    async def late(breaker):
        gate = asyncio.Event()
        success = asyncio.ensure_future(breaker(gate.wait)())
        await asyncio.sleep(0)
        trip(breaker, 1)
        gate.set()
        await success

    for breaker in (theirs, mine):
        asyncio.run(late(breaker))
    assert ("closed", 0) == (theirs.state, theirs.failure_count)
    assert ("open", 1, "OSError('down')") == (mine.state, mine.failure_count, repr(mine.last_failure))


def test_a_generator_takes_what_is_sent_and_thrown(both):
    def items():
        got = None
        while True:
            try:
                got = yield got
            except KeyError:
                got = "handled"

    theirs, mine = (breaker(items)() for breaker in both())
    for source in (theirs, mine):
        next(source)
    assert (None, "sent") == (theirs.send("sent"), mine.send("sent"))
    with pytest.raises(KeyError):
        theirs.throw(KeyError())
    assert mine.throw(KeyError()) == "handled"


def test_zero_is_a_number(both, clock):
    clock.advance(1)
    for breaker, remaining, state in zip(both(failure_threshold=1, recovery_timeout=0), (30, 0), ("open", "half_open"),
                                         strict=True):
        with pytest.raises(OSError, match="down"):
            breaker.call(fail)
        assert (state, remaining) == (breaker.state, breaker.open_remaining)


def test_namesakes_are_all_in_the_monitor(their_circuitbreaker, registry):
    for library, more, expected in ((their_circuitbreaker, {}, 1), (ours, {"registry": registry}, 2)):
        kept = []
        for _ in range(2):
            breaker = library.CircuitBreaker(name="db", failure_threshold=1, **more)
            kept.append(breaker(fail))
        monitor = library.CircuitBreakerMonitor
        assert expected == len(list(monitor.get_circuits()))
        with pytest.raises(OSError, match="down"):
            kept[0]()
        assert (expected == 1) == monitor.all_closed()
    assert ["db", "db-2"] == sorted(each.resilience.key for each in ours.CircuitBreakerMonitor.get_circuits())


def test_breakers_that_nobody_has_any_more_leave_registry_and_monitor(their_circuitbreaker, registry):
    for _ in range(20):
        ours.CircuitBreaker(registry=registry)(int)()
    gc.collect()
    kept = ours.CircuitBreaker(name="kept", registry=registry)(int)
    kept()
    assert ["kept"] == [command.key for command in registry]
    assert ["kept"] == [each.name for each in ours.CircuitBreakerMonitor.get_circuits()]


def test_a_bad_request_is_nobodys_failure(registry):
    def work():
        raise BadRequestError

    breaker = ours.CircuitBreaker(failure_threshold=1, registry=registry)
    with pytest.raises(BadRequestError):
        breaker.call(work)
    assert ("closed", 0) == (breaker.state, breaker.failure_count)


def test_the_refusal_of_another_breaker_below_is_a_failure_like_any_other(registry):
    inner = ours.CircuitBreaker(failure_threshold=1, registry=registry)
    outer = ours.CircuitBreaker(failure_threshold=2, fallback_function=lambda: "instead", registry=registry)
    function = outer(inner(fail))
    with pytest.raises(OSError, match="down"):
        function()
    with pytest.raises(ours.CircuitBreakerError):
        function()
    assert "instead" == function()


@over_seeds(3)
def test_hammered_by_threads_it_loses_no_probe_and_counts_every_call(seed):
    registry = Registry(clock=ManualClock(100.0))
    breaker = ours.CircuitBreaker(failure_threshold=3, recovery_timeout=0, registry=registry)
    calls = [0] * 6

    @breaker
    def work(fails):
        if fails:
            raise OSError

    def hammer(n):
        chance = random.Random(seed * 100 + n)
        for _ in range(1500):
            calls[n] += 1
            try:
                if chance.random() < 0.3:
                    with breaker:
                        if chance.random() < 0.5:
                            raise OSError
                else:
                    work(chance.random() < 0.5)
            except (OSError, ours.CircuitBreakerError):
                pass
            if chance.random() > 0.98:
                breaker.reset()

    threads = [threading.Thread(target=hammer, args=(n,)) for n in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    counts = breaker.resilience.snapshot().counts
    assert sum(calls) == counts["success"] + counts["failure"] + counts["short_circuited"]
    assert work(False) is None
    assert ("closed", 0, None) == (breaker.state, breaker.failure_count, breaker.last_failure)


def test_a_breaker_first_used_by_many_threads_at_once_has_one_command():
    for _ in range(20):
        registry = Registry()
        breaker = ours.CircuitBreaker(name="db", registry=registry)
        gate, seen = threading.Barrier(8), []

        def use(gate=gate, breaker=breaker, seen=seen):
            gate.wait(10)
            breaker.call(int)
            seen.append(breaker.resilience)

        threads = [threading.Thread(target=use) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert [breaker.resilience] * 8 == seen
        assert [breaker.resilience] == list(registry)
        assert 8 == breaker.resilience.snapshot().counts["success"]
