"""Each deliberate difference from pybreaker, shown with both; docs/howto/coming-from-pybreaker.md lists them."""

import asyncio
import gc
import logging
import random
import threading

import pytest

from resilience import BadRequestError, Registry
from resilience.integrations import pybreaker as ours
from resilience.testing import ManualClock, RecordedEvents, disabled
from tests.seeds import over_seeds


def fail():
    raise OSError("down")


def trip(breaker):
    for _ in range(breaker.fail_max):
        with pytest.raises((OSError, Exception)):
            breaker.call(fail)
    assert breaker.current_state == "open"


def meets_another(call):
    """How many of two calls run at the same time."""
    inside, most, both = [], [], threading.Event()

    def work():
        inside.append(None)
        most.append(len(inside))
        if len(inside) == 2:
            both.set()
        both.wait(0.2)
        inside.pop()

    threads = [threading.Thread(target=call, args=(work,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    return max(most)


def test_calls_run_at_once(their_pybreaker, registry):
    assert meets_another(their_pybreaker.CircuitBreaker().call) == 1
    assert meets_another(ours.CircuitBreaker(registry=registry).call) == 2


async def test_a_coroutine_is_guarded_for_as_long_as_it_runs(their_pybreaker, registry):
    async def fetch():
        await asyncio.sleep(0)
        raise OSError("down")

    theirs, mine = their_pybreaker.CircuitBreaker(fail_max=2), ours.CircuitBreaker(fail_max=2, registry=registry)
    for breaker in (theirs, mine):
        function = breaker(fetch)
        for error in (OSError, (OSError, ours.CircuitBreakerError)):
            with pytest.raises(error):
                await function()
    assert ("closed", 0) == (theirs.current_state, theirs.fail_counter)
    assert ("open", 2) == (mine.current_state, mine.fail_counter)
    mine.close()
    with pytest.raises(OSError, match="down"):
        await mine.call(fetch)
    with pytest.raises(ours.CircuitBreakerError):
        await mine.call_async(fetch)
    mine.close()
    plain = mine(__pybreaker_call_async=True)(lambda: asyncio.sleep(0, "answer"))
    assert await plain() == "answer"


async def test_a_cancelled_task_is_no_failure(registry):
    breaker = ours.CircuitBreaker(fail_max=1, registry=registry)

    @breaker
    async def hang():
        await asyncio.Event().wait()

    task = asyncio.ensure_future(hang())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ("closed", 0) == (breaker.current_state, breaker.fail_counter)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_no_failure_and_passes_through(interrupt, their_pybreaker, registry):
    def work():
        raise interrupt

    theirs, mine = their_pybreaker.CircuitBreaker(fail_max=1), ours.CircuitBreaker(fail_max=1, registry=registry)
    with pytest.raises(their_pybreaker.CircuitBreakerError):
        theirs.call(work)
    with pytest.raises(interrupt):
        mine.call(work)
    with pytest.raises(interrupt), mine.calling():
        work()
    assert ("open", "closed", 0) == (theirs.current_state, mine.current_state, mine.fail_counter)
    mine.half_open()
    with pytest.raises(interrupt):
        mine.call(work)
    assert mine.current_state == "half-open"
    assert mine.call(int) == 0
    assert mine.current_state == "closed"


def test_a_generator_that_is_closed_early_is_no_failure(their_pybreaker, registry):
    def items():
        yield 1
        yield 2

    theirs, mine = their_pybreaker.CircuitBreaker(fail_max=2), ours.CircuitBreaker(fail_max=2, registry=registry)
    for breaker in (theirs, mine):
        source = breaker(items)()
        assert next(source) == 1
        source.close()
    assert (1, 0) == (theirs.fail_counter, mine.fail_counter)


def test_what_the_consumer_throws_into_a_generator_is_not_the_generators_failure(their_pybreaker, registry):
    def items():
        while True:
            try:
                yield "item"
            except KeyError:
                yield "handled"

    theirs, mine = their_pybreaker.CircuitBreaker(fail_max=3), ours.CircuitBreaker(fail_max=3, registry=registry)
    told = []
    listener = ours.CircuitBreakerListener()
    listener.failure = lambda cb, exc: told.append(exc)
    mine.add_listener(listener)
    for breaker in (theirs, mine):
        source = breaker(items)()
        next(source)
        with pytest.raises(ValueError, match="mine"):
            source.throw(ValueError("mine"))
    assert (1, 0, []) == (theirs.fail_counter, mine.fail_counter, told)
    source = mine(items)()
    assert ("item", "handled") == (next(source), source.throw(KeyError()))


def test_a_generator_function_is_refused_when_it_is_first_iterated(their_pybreaker, registry):
    def items():
        yield 1

    theirs, mine = their_pybreaker.CircuitBreaker(fail_max=1), ours.CircuitBreaker(fail_max=1, registry=registry)
    trip(theirs)
    trip(mine)
    with pytest.raises(their_pybreaker.CircuitBreakerError):
        theirs.call(items)
    source = mine.call(items)
    with pytest.raises(ours.CircuitBreakerError):
        next(source)


def test_one_probe_at_a_time_for_each_success_that_is_owed(registry, clock):
    breaker = ours.CircuitBreaker(fail_max=1, reset_timeout=5, success_threshold=2, registry=registry)
    trip(breaker)
    clock.advance(5)
    with breaker.calling(), breaker.calling():
        with pytest.raises(ours.CircuitBreakerOpenError):
            breaker.call(int)
        assert breaker.current_state == "half-open"
    assert breaker.current_state == "closed"


def test_a_probe_that_never_answers_is_given_up_after_five_minutes(registry, clock):
    breaker = ours.CircuitBreaker(fail_max=1, reset_timeout=5, registry=registry)
    trip(breaker)
    clock.advance(5)
    lost = breaker.calling()
    lost.__enter__()
    clock.advance(299)
    with pytest.raises(ours.CircuitBreakerOpenError):
        breaker.call(int)
    clock.advance(1)
    assert breaker.call(int) == 0
    assert breaker.current_state == "closed"
    assert lost.__exit__(OSError, OSError("late"), None) is False
    assert ("closed", 0) == (breaker.current_state, breaker.fail_counter)


def test_a_threshold_changed_while_half_open_holds_from_the_next_time_on(their_pybreaker, registry):
    for library, more, expected in ((their_pybreaker, {}, "closed"), (ours, {"registry": registry}, "half-open")):
        breaker = library.CircuitBreaker(success_threshold=3, **more)
        breaker.half_open()
        breaker.success_threshold = 1
        breaker.call(int)
        assert expected == breaker.current_state


def test_setting_the_state_changes_it(their_pybreaker, registry):
    theirs, mine = their_pybreaker.CircuitBreaker(), ours.CircuitBreaker(registry=registry)
    for breaker in (theirs, mine):
        breaker.state = "open"
    assert ("closed", "open") == (theirs.current_state, mine.current_state)
    for state in ("half-open", "closed"):
        mine.state = state
        assert state == mine.state.name
    assert mine.state == ours.CircuitClosedState(mine)
    assert len({mine.state, ours.CircuitBreakerState(mine, "closed")}) == 1


def test_a_listener_that_raises_harms_no_call_and_is_logged(their_pybreaker, registry, caplog):
    class Bad(ours.CircuitBreakerListener):
        def before_call(self, cb, func, *args, **kwargs):
            raise LookupError("oops")

    with pytest.raises(LookupError):
        their_pybreaker.CircuitBreaker(listeners=[Bad()]).call(int)
    with caplog.at_level(logging.ERROR, "resilience"):
        assert ours.CircuitBreaker(listeners=[Bad()], registry=registry).call(int) == 0
    assert ["a listener of pybreaker raised at before_call"] == caplog.messages


def test_an_exclusion_that_raises_lets_the_call_count_as_failed(their_pybreaker, registry):
    for library, more, counted in ((their_pybreaker, {}, 0), (ours, {"registry": registry}, 1)):
        breaker = library.CircuitBreaker(exclude=[lambda error: error.code < 500], **more)
        with pytest.raises(AttributeError):
            breaker.call(fail)
        assert 0 == breaker.fail_counter
        if library is ours:
            assert counted == breaker.resilience.snapshot().counts["failure"]


def test_a_bad_request_is_nobodys_failure(registry):
    def work():
        raise BadRequestError

    breaker = ours.CircuitBreaker(fail_max=1, registry=registry)
    with pytest.raises(BadRequestError):
        breaker.call(work)
    assert ("closed", 0) == (breaker.current_state, breaker.fail_counter)


def test_namesakes_have_commands_of_their_own(registry):
    first, second, third = (ours.CircuitBreaker(name="db", fail_max=1, registry=registry) for _ in range(3))
    trip(second)
    assert ["db", "db-2", "db-3"] == [each.resilience.key for each in (first, second, third)]
    assert ["closed", "open", "closed"] == [each.current_state for each in (first, second, third)]
    second.name = "other"
    assert ("other", "db-2") == (second.name, second.resilience.key)


def test_breakers_made_by_many_threads_at_once_have_commands_of_their_own(registry):
    made, gate = [], threading.Barrier(8)

    def make(n):
        gate.wait(10)
        made.extend(ours.CircuitBreaker(name="db", fail_max=1 + n % 2, registry=registry) for _ in range(5))

    threads = [threading.Thread(target=make, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len({breaker.resilience.key for breaker in made}) == 40
    assert all(registry[breaker.resilience.key] is breaker.resilience for breaker in made)


def test_breakers_that_nobody_has_any_more_leave_the_registry(registry):
    for _ in range(50):
        ours.CircuitBreaker(registry=registry)(int)()
    gc.collect()
    kept = ours.CircuitBreaker(registry=registry)
    assert [kept.resilience] == list(registry)


def test_a_function_keeps_its_breaker(registry):
    function = ours.CircuitBreaker(fail_max=1, name="kept", registry=registry)(fail)
    gc.collect()
    ours.CircuitBreaker(registry=registry)
    with pytest.raises(ours.CircuitBreakerError):
        function()
    assert registry["kept"].state == "open"


def test_an_operators_word_is_told_to_listeners_and_obeyed(registry):
    told = []
    listener = ours.CircuitBreakerListener()
    listener.state_change = lambda cb, old, new: told.append((old.name, new.name))
    breaker = ours.CircuitBreaker(listeners=[listener], registry=registry)
    breaker.resilience.force_open()
    with pytest.raises(ours.CircuitBreakerOpenError):
        breaker.call(int)
    with disabled(registry):
        breaker.open()
        assert (0, "closed") == (breaker.call(int), breaker.current_state)
    assert [("closed", "open"), ("open", "closed"), ("closed", "open")] == told  # disabled() puts back what was forced


def test_opening_by_hand_is_one_change_to_listeners_and_events_of_the_machine_to_the_registry(registry, clock):
    breaker = ours.CircuitBreaker(reset_timeout=5, registry=registry)
    with RecordedEvents(registry) as events:
        breaker.half_open()
        breaker.open()
        clock.advance(5)
        assert breaker.call(int) == 0
    assert ["open", "half_open", "closed", "open", "half_open", "closed"] == events.states("pybreaker")


@over_seeds(3)
def test_hammered_by_threads_it_loses_no_probe_and_counts_every_call(seed):
    registry = Registry(clock=ManualClock(100.0))
    breaker = ours.CircuitBreaker(fail_max=3, reset_timeout=0, success_threshold=2, registry=registry)
    calls = [0] * 6

    def work(fails):
        if fails:
            raise OSError

    def hammer(n):
        chance = random.Random(seed * 100 + n)
        for _ in range(1500):
            calls[n] += 1
            kind = chance.random()
            try:
                if kind < 0.3:
                    with breaker.calling():
                        work(chance.random() < 0.5)
                else:
                    breaker.call(work, chance.random() < 0.5)
            except (OSError, ours.CircuitBreakerError):
                pass
            if kind > 0.98:
                chance.choice([breaker.open, breaker.half_open, breaker.close])()

    threads = [threading.Thread(target=hammer, args=(n,)) for n in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    counts = breaker.resilience.snapshot().counts
    assert sum(calls) == counts["success"] + counts["failure"] + counts["short_circuited"]
    assert [False] * 10 == [bool(breaker.call(work, False)) for _ in range(10)]
    assert "closed" == breaker.current_state
