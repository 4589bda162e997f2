"""Shadow mode: what a gate would have refused runs and is counted, beside a twin that refuses it."""

import asyncio
import random
import threading

import pytest

from resilience import (
    AdaptiveLimit,
    Bulkhead,
    BulkheadFullError,
    CircuitBreaker,
    CircuitOpenError,
    ConfigError,
    Pipeline,
    Registry,
    ThrottledError,
    adaptive_limit,
    bulkhead,
    circuit_breaker,
    command,
    configure,
    throttle,
)
from resilience.events import ShadowRejected
from resilience.policies.shadow import gates
from resilience.testing import ManualClock, assert_counts
from tests.interrupts import interrupted
from tests.seeds import over_seeds


def twins(**settings):
    """Two commands that do as they are told, with one clock: the first refuses, the second would."""
    clock = ManualClock()

    def make(shadow):
        @command(registry=Registry(clock=clock), timeout=None, shadow=shadow, **settings)
        def work(fails, takes):
            clock.advance(takes)
            if fails:
                raise OSError

        return work

    return clock, make(False), make(True)


def ended(call, *args):
    """How a call ended."""
    try:
        call(*args)
    except (OSError, CircuitOpenError, BulkheadFullError) as error:
        return type(error)
    return None


@pytest.mark.parametrize("fallback", [None, lambda fails, takes: 7])
@over_seeds(30)
def test_a_shadowed_circuit_goes_through_the_states_of_one_that_refuses(seed, fallback):
    rng = random.Random(seed)
    breaker = CircuitBreaker(
        min_calls=rng.choice([1, 3]), window=8.0, open_for=rng.choice([1.0, 4.0]), half_open_calls=rng.choice([1, 2]),
        slow_call=rng.choice([None, 0.5]), ramp=rng.choice([0.0, 3.0]), consecutive=rng.choice([None, 2]))
    clock, real, shadowed = twins(breaker=breaker, fallback=fallback)
    for _ in range(150):
        clock.advance(rng.choice([0.0, 0.25, 1.0, 3.0]))
        fails, at = rng.random() < 0.5, clock()
        refused = real.resilience.snapshot().counts["short_circuited"]
        ended(real, fails, 0.0)
        refused = real.resilience.snapshot().counts["short_circuited"] > refused
        before = shadowed.resilience.snapshot().counts["shadow_rejected"]
        how = ended(shadowed, fails, 0.0)
        assert at == clock()
        assert how is (OSError if fails and fallback is None else None)
        assert refused == (shadowed.resilience.snapshot().counts["shadow_rejected"] > before)
        assert real.resilience.state == shadowed.resilience.state
    assert 0 == shadowed.resilience.snapshot().counts["short_circuited"]


def test_an_open_circuit_in_shadow_admits_and_says_so_and_an_operator_still_refuses(registry):
    heard = []
    registry.subscribe(ShadowRejected, heard.append)

    @circuit_breaker(registry=registry, key="k", group="g", min_calls=1, shadow=True)
    def work(fails):
        if fails:
            raise OSError
        return 7

    with pytest.raises(OSError):  # noqa: PT011 - a bare one
        work(True)
    assert "open" == work.resilience.state
    assert 7 == work(False)
    assert [ShadowRejected("k", "g", "breaker", registry.clock())] == heard
    work.resilience.force_open()
    with pytest.raises(CircuitOpenError):
        work(False)
    assert 1 == len(heard)


@pytest.mark.parametrize("kind", ["def", "async def", "generator", "async generator", "thread"])
def test_every_flavour_runs_beyond_the_bulkhead_and_gives_all_back(registry, kind):
    def run():
        return guarded.resilience.snapshot().in_flight

    async def run_async():
        return run()

    def items():
        yield run()

    async def items_async():
        yield run()

    function = {"def": run, "thread": run, "async def": run_async, "generator": items,
                "async generator": items_async}[kind]
    isolation = {"isolation": "thread"} if kind == "thread" else {}
    guarded = command(registry=registry, timeout=None, max_concurrent=1, shadow=["max_concurrent"], **isolation)(function)
    slots = guarded.resilience._runtime.slots
    held = [[], []]
    for taken in held:
        slots.take(taken)

    def call():
        result = guarded()
        if kind == "async def":
            return asyncio.run(result)
        if kind == "generator":
            return next(iter([*result]))
        if kind == "async generator":
            async def first():
                return [item async for item in result][0]
            return asyncio.run(first())
        return result

    assert 3 == call()
    assert 2 == guarded.resilience.snapshot().counts["shadow_rejected"]
    for [sack] in held:
        slots.settle(sack, 0, 0.0, 0.0)
    assert 0 == guarded.resilience.snapshot().in_flight
    assert 1 == call()
    assert 2 == guarded.resilience.snapshot().counts["shadow_rejected"]
    registry.close()


def test_a_bulkhead_that_leaves_its_shadow_while_overfull_refuses_until_it_is_not(registry):
    @bulkhead(2, registry=registry, shadow=True)
    def work(depth):
        if depth:
            return work(depth - 1)
        work.resilience.configure(shadow=False)
        with pytest.raises(BulkheadFullError):
            work(0)
        return work.resilience.snapshot().in_flight

    assert 4 == work(3)
    assert 0 == work.resilience.snapshot().in_flight
    assert 2 == work(1)
    with pytest.raises(BulkheadFullError):
        work(2)
    assert_counts(work, success=6, failure=2, shadow_rejected=2, semaphore_rejected=3)


def test_random_nesting_beyond_a_bulkhead_counts_what_a_plain_model_does():
    rng = random.Random(5)
    for _ in range(60):
        limit, depth = rng.randint(1, 5), rng.randint(0, 9)

        @bulkhead(limit, registry=Registry(clock=ManualClock()), shadow=True)
        def work(left):
            return work(left - 1) if left else work.resilience.snapshot().in_flight  # noqa: B023

        assert depth + 1 == work(depth)
        snapshot = work.resilience.snapshot()
        assert (max(0, depth + 1 - limit), 0, depth + 1) == (
            snapshot.counts["shadow_rejected"], snapshot.in_flight, snapshot.max_in_flight)
        assert 1 == work(0)
        assert max(0, depth + 1 - limit) == work.resilience.snapshot().counts["shadow_rejected"]


def test_an_interrupt_anywhere_beyond_the_bulkhead_costs_no_slot():
    @bulkhead(1, registry=Registry(clock=ManualClock()), shadow=True)
    def work():
        pass

    slots = work.resilience._runtime.slots
    for point in interrupted(lambda: over(slots, work)):
        assert 0 == slots.in_flight, point
        slots.collect()
        assert (1, 0) == (len(slots.tokens), slots.owed), point


def over(slots, work):
    sack = slots.tokens
    if slots.owed:
        slots.collect()
    held = None
    try:
        del sack[-1]
        held = sack
        work()
    finally:
        if held is not None:
            held += (None,)


def test_threads_beyond_a_bulkhead_lose_no_token():
    @bulkhead(2, registry=Registry(clock=ManualClock()), shadow=True)
    def work():
        pass

    threads = [threading.Thread(target=lambda: [work() for _ in range(500)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    slots = work.resilience._runtime.slots
    slots.collect()
    assert (0, 2, 0) == (slots.in_flight, len(slots.tokens), slots.owed)


def test_an_adaptive_limit_in_shadow_lets_all_pass_and_none_wait(registry):
    @adaptive_limit(registry=registry, initial=1, max_limit=1, max_queue=5, shadow=True)
    def work(depth):
        return work(depth - 1) if depth else work.resilience.snapshot().in_flight

    assert 4 == work(3)
    assert_counts(work, success=4, shadow_rejected=3)
    assert 0 == work.resilience.snapshot().in_flight


def test_a_low_priority_in_shadow_takes_what_is_kept_for_others(registry):
    limit = AdaptiveLimit(initial=4, max_limit=4, reserved=0.5, priorities=lambda depth: 3)

    @command(registry=registry, timeout=None, adaptive_limit=limit, shadow=True)
    def work(depth):
        return work(depth - 1) if depth else work.resilience.snapshot().in_flight

    assert 3 == work(2)
    assert work.resilience.snapshot().counts["shadow_rejected"]
    assert 0 == work.resilience.snapshot().in_flight


def test_a_throttle_in_shadow_sends_what_it_would_refuse_and_goes_by_the_answers(clock):
    accepts = False

    @throttle(registry=Registry(clock=clock, random=lambda: 0.0), min_calls=10, shadow=True)
    def work():
        if not accepts:
            raise OSError

    for _ in range(30):
        ended(work)
    assert_counts(work, failure=30, shadow_rejected=20)
    assert (0, 30) == work.resilience._runtime.named("throttle").sums(clock())
    accepts = True
    for _ in range(60):
        work()
    assert (60, 30) == work.resilience._runtime.named("throttle").sums(clock())
    work.resilience.configure(shadow=())
    for _ in range(300):
        work.resilience._runtime.named("throttle").settle(None, 1, 0.0, clock())
    with pytest.raises(ThrottledError):
        work()


def test_only_the_named_gates_are_in_shadow(registry):
    @command(registry=registry, timeout=None, max_concurrent=1, breaker=CircuitBreaker(min_calls=1), shadow=["breaker"])
    def work(depth):
        if depth:
            return work(depth - 1)
        raise OSError

    assert ("breaker",) == work.resilience.settings.shadow
    assert OSError is ended(work, 0)
    assert OSError is ended(work, 0)
    assert 1 == work.resilience.snapshot().counts["shadow_rejected"]
    with pytest.raises(BulkheadFullError):
        work(1)


@pytest.mark.parametrize("make", [
    lambda: command(shadow=["braker"])(len),
    lambda: command(shadow=3)(len),
    lambda: command(shadow=["throttle"])(len),
    lambda: command(shadow=["breaker"], breaker=None)(len),
    lambda: bulkhead(3, shadow=["breaker"])(len),
    lambda: Pipeline(Bulkhead(3), shadow=["breaker"])(len),
])
def test_what_cannot_be_in_shadow_is_a_config_error_at_decoration(make):
    with pytest.raises(ConfigError, match="shadow"):
        make()


def test_a_live_change_is_checked_too(registry):
    @command(registry=registry)
    async def work(): ...

    with pytest.raises(ConfigError, match="shadow"):
        work.resilience.configure(shadow=["x"])
    work.resilience.configure(shadow=True)
    assert gates() == work.resilience.settings.shadow


def test_stacked_shadows_add_up_and_functions_of_one_key_must_agree(registry):
    @circuit_breaker(registry=registry, key="k", shadow=True)
    @throttle()
    @bulkhead(3, shadow=True)
    def work(): ...

    assert ("breaker", "max_concurrent") == tuple(sorted(work.resilience.settings.shadow))
    with pytest.raises(ConfigError, match="shadow"):
        circuit_breaker(registry=registry, key="k", shadow=False)(bulkhead(3, shadow=True)(len))


def test_a_file_casts_the_shadow_and_takes_it_away(registry):
    @command(registry=registry, key="k", timeout=None, max_concurrent=1)
    def work(depth):
        return work(depth - 1) if depth else "in"

    configuration = configure({"defaults": {"shadow": ["max_concurrent"]}}, registry=registry)
    assert "in" == work(2)
    configuration.close()
    with pytest.raises(BulkheadFullError):
        work(1)
    with pytest.raises(ConfigError, match="shadow"):
        configure({"defaults": {"shadow": ["bulkhead"]}}, registry=registry)
