"""The compiled wrapper against naive nested closures, in every flavour, over random histories.

The model is what a reader would write: fallback around breaker around bulkhead
around the function, as four nested functions with lists for windows.
"""

import asyncio
import random
from collections import Counter

import pytest

from resilience import (
    BadRequestError,
    BulkheadFullError,
    CircuitBreaker,
    CircuitOpenError,
    Fallback,
    Registry,
    command,
)
from resilience.testing import ManualClock

FLAVOURS = ["sync", "async", "thread", "generator", "async generator"]
BREAKER = CircuitBreaker(min_calls=4, failure_rate=0.5, window=10.0, open_for=3.0)


class Model:
    """Naive nested closures; counts events as Hystrix does."""

    def __init__(self, clock, with_fallback):
        self.clock, self.with_fallback = clock, with_fallback
        self.results, self.opened_at, self.counts = [], None, Counter()
        self.slice_edge0 = clock()
        self.run = []  # when each of the last calls failed, since the last good one

    def call(self, plan):
        return self.fallback(lambda: self.breaker(lambda: self.function(plan)))

    def fallback(self, inner):
        try:
            return inner()
        except BadRequestError:
            self.counts.update(["bad_request", "exceptions_thrown"])
            raise
        except Exception as error:
            event = "short_circuited" if isinstance(error, CircuitOpenError) else "failure"
            if not self.with_fallback or not isinstance(error, (OSError, CircuitOpenError)):
                self.counts.update([event, "fallback_missing", "exceptions_thrown"])
                raise
            self.counts.update([event, "fallback_success"])
            return "fallback"

    def breaker(self, inner):
        now = self.clock()
        probing = False
        if self.opened_at is not None:
            if now < self.opened_at + BREAKER.open_for:
                raise CircuitOpenError("k", self.opened_at + BREAKER.open_for - now)
            probing = True
        try:
            result = inner()
        except BadRequestError:
            raise
        except Exception:
            self.settle(False, probing)
            raise
        self.settle(True, probing)
        self.counts.update(["success"])
        return result

    def settle(self, good, probing):
        now = self.clock()
        if probing:
            self.results, self.opened_at = ([], None) if good else (self.results, now)
            self.slice_edge0, self.run = now, []
            return
        self.run = [] if good else [*self.run, now]
        self.results.append((self.slice_of(now), good))
        newest = self.slice_of(now)
        window = [ok for at, ok in self.results if at > newest - BREAKER.buckets]
        if len(window) >= BREAKER.min_calls and window.count(False) >= BREAKER.failure_rate * len(window):
            self.opened_at, self.results = now, []
        elif len(self.run) >= BREAKER.sustained_failures and now - self.run[0] >= BREAKER.window:
            self.opened_at, self.results = now, []  # with so few min_calls the share of failures before does not matter

    def slice_of(self, now):
        return int((now - self.slice_edge0) // (BREAKER.window / BREAKER.buckets))

    def function(self, plan):
        seconds, outcome = plan
        self.clock.advance(seconds)
        if isinstance(outcome, type):
            raise outcome("planned")
        return outcome


def guarded(flavour, registry, clock, fallback):
    """(call, command): *call* runs one plan through the real wrapper and returns its result."""
    settings = {"key": "k", "registry": registry, "breaker": BREAKER, "max_concurrent": 3, "fallback": fallback,
                "timeout": None, "isolation": "thread" if flavour == "thread" else "auto"}

    def work(plan):
        seconds, outcome = plan
        clock.advance(seconds)
        if isinstance(outcome, type):
            raise outcome("planned")
        return outcome

    if flavour in ("sync", "thread"):
        f = command(**settings)(work)
        return f, f
    if flavour == "async":
        @command(**settings)
        async def f(plan):
            return work(plan)

        return lambda plan: asyncio.run(f(plan)), f
    if flavour == "generator":
        @command(**settings)
        def g(plan):
            yield work(plan)

        return lambda plan: next(iter(list(g(plan)))), g

    @command(**settings)
    async def a(plan):
        yield work(plan)

    async def first(plan):
        return [item async for item in a(plan)][0]

    return lambda plan: asyncio.run(first(plan)), a


def answer(flavour):
    if flavour == "generator":
        return lambda plan: iter(["fallback"])
    if flavour == "async generator":
        async def rows(plan):
            yield "fallback"

        return rows
    return lambda plan: "fallback"


@pytest.mark.parametrize("with_fallback", [True, False])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_wrapper_does_what_nested_closures_do(flavour, with_fallback):
    for seed in range(6 if "async" in flavour else 20):
        rng = random.Random(f"{flavour} {with_fallback} {seed}")
        clock, model_clock = ManualClock(), ManualClock()
        registry = Registry(clock=clock)
        fallback = Fallback(answer(flavour), on=(OSError, CircuitOpenError)) if with_fallback else None
        call, f = guarded(flavour, registry, clock, fallback)
        model = Model(model_clock, with_fallback)
        seen = Counter()
        for step in range(60):
            pause = rng.choice([0.0, 0.125, 0.75, 4.0])
            clock.advance(pause)
            model_clock.advance(pause)
            plan = (rng.choice([0.0, 0.0625]), rng.choice(["a", "b", OSError, OSError, ValueError, BadRequestError]))
            expected = outcome_of(model.call, plan)
            assert expected == outcome_of(call, plan), (seed, step, plan)
            assert (model.opened_at is None) == (f.resilience.state == "closed"), (seed, step)
            assert 0 == f.resilience.snapshot().in_flight
            seen = Counter(dict(zip(f.resilience.snapshot().counts, f.resilience._runtime.recorder.totals()[0])))
        for emitted in ("emit", "fallback_emit"):
            del seen[emitted]
        assert +seen == model.counts, seed
        assert seen["exceptions_thrown"] == (
            seen["bad_request"] + seen["fallback_failure"] + seen["fallback_rejection"] + seen["fallback_missing"])


def outcome_of(call, plan):
    try:
        return call(plan)
    except CircuitOpenError as error:
        return ("refused", round(error.retry_after, 6))
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_full_bulkhead_refuses_counts_and_leaves_the_breaker_alone(flavour, registry, clock):
    _, f = guarded(flavour, registry, clock, None)
    slots = f.resilience._runtime.slots
    for _ in range(3):
        slots.acquire(0.0)
    call, _ = guarded(flavour, registry, clock, None)

    for _ in range(10):
        with pytest.raises(BulkheadFullError):
            call((0.0, "a"))

    counts = f.resilience.snapshot().counts
    assert 10 == counts["thread_pool_rejected" if flavour == "thread" else "semaphore_rejected"]
    assert "closed" == f.resilience.state
