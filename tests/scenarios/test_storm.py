"""Storms: random chains of policies, random calls, cancellations, deadlines and live changes, all at once.

Whatever happens, each call is counted once for itself and once for each further
attempt, every permit is back at the end, and nothing goes on in the background.
"""

import asyncio
import contextlib
import random
import threading

import pytest

from resilience import (
    AdaptiveLimit,
    BadRequestError,
    Cache,
    Chaos,
    CircuitBreaker,
    Hedge,
    RateLimit,
    Registry,
    Retry,
    RetryBudget,
    Throttle,
    command,
    deadline,
)
from resilience.core.outcome import Event
from resilience.testing import assert_idle, virtual_time
from tests.seeds import over_seeds

#: In one of these a call ends, or one attempt of it.
ENDS = (Event.SUCCESS, Event.FAILURE, Event.TIMEOUT, Event.SHORT_CIRCUITED, Event.SEMAPHORE_REJECTED,
        Event.THREAD_POOL_REJECTED, Event.BAD_REQUEST, Event.CANCELLED, Event.RESPONSES_FROM_CACHE, Event.THROTTLED,
        Event.RATE_LIMITED, Event.NO_TIME_LEFT)


def broken(*_):
    raise ZeroDivisionError


def chain(dice, *, hedged=True, queued=True, waits=0.4):
    """Settings for a random chain; *waits*: seconds that calls may wait for one another."""
    breaker = CircuitBreaker(min_calls=5, failure_rate=0.6, open_for=1.0, half_open_calls=3, half_open_failures=1,
                             slow_call=0.5, slow_rate=0.7, ramp=dice.choice([0.0, 2.0]))
    choices = {
        "breaker": [None, breaker, breaker],
        "retry": [None, Retry(base=waits / 8, budget=dice.choice([None, RetryBudget()]),
                              on_result=dice.choice([None, lambda result: result == "bad"]))],
        "cache": [None, Cache(ttl=0.5, max_size=4, cache_exceptions=dice.choice([(), (OSError,)]))],
        "rate_limit": [None, RateLimit(30, burst=5, max_wait=dice.choice([0.0, waits]))],
        "throttle": [None, Throttle()],
        "fallback": [None, lambda *_: "instead", broken],
        "chaos": [None, Chaos(error_rate=0.2, latency_rate=0.2, latency=waits / 2)],
    }
    settings = {name: dice.choice(values) for name, values in choices.items()}
    if hedged and dice.random() < 0.5:
        settings["hedge"] = Hedge(idempotent=True, delay=0.1, attempts=dice.choice([2, 3]))
    if dice.random() < 0.4:
        settings["adaptive_limit"] = AdaptiveLimit(initial=4, max_limit=10, max_queue=dice.choice([0, 5]) if queued else 0)
    else:
        settings["max_concurrent"] = dice.choice([None, 3, 10])
    return {name: value for name, value in settings.items() if value is not None or name == "breaker"}


def outcome(dice, item):
    """What a target does in the end."""
    luck = dice.random()
    for limit, error in ((0.2, OSError), (0.25, KeyError), (0.3, BadRequestError)):
        if luck < limit:
            raise error(item)
    return "bad" if luck < 0.5 else item


def assert_each_counted_once(handle, calls):
    counts, _ = handle._runtime.recorder.totals()
    counts = dict(zip(Event, counts, strict=False))
    assert calls + counts[Event.RETRY] == sum(counts[event] for event in ENDS), counts


@over_seeds(60)
def test_tasks(seed):
    virtual_time(storm_of_tasks(random.Random(seed)))


async def storm_of_tasks(dice):
    loop = asyncio.get_running_loop()
    registry = Registry(clock=loop.time)
    running, started = [], []

    @command(key="k", registry=registry, timeout=dice.choice([None, 0.3, 1.0]), ignore=(KeyError,), **chain(dice))
    async def work(item):
        running.append(item)
        try:
            await asyncio.sleep(dice.choice([0.0, 0.01, 0.2, 0.6, 2.0]))
            if dice.random() < 0.03:
                raise asyncio.CancelledError
            return outcome(dice, item)
        except asyncio.CancelledError:
            if dice.random() < 0.1:
                await asyncio.sleep(0.05)  # takes its time to go
            raise
        finally:
            running.remove(item)

    async def call(number):
        await asyncio.sleep(10 * dice.random())
        started.append(number)
        with contextlib.suppress(Exception):
            luck = dice.random()
            with deadline(dice.random() if luck < 0.3 else None, clock=loop.time):
                await (asyncio.wait_for(work(number % 6), dice.random()) if luck > 0.8 else work(number % 6))

    async def steer():
        handle = work.resilience
        for _ in range(20):
            await asyncio.sleep(dice.random())
            dice.choice(calls).cancel()
            if handle.state is not None and dice.random() < 0.5:
                handle.configure(breaker=CircuitBreaker(min_calls=dice.randint(1, 5)))

    registry.start_chaos(8.0)
    calls = [asyncio.ensure_future(call(number)) for number in range(150)]
    await asyncio.gather(steer(), *calls, return_exceptions=True)
    await asyncio.sleep(5.0)  # for hedges that lost, and take their time to go
    assert [] == running
    assert_idle(work)
    assert {asyncio.current_task()} == asyncio.all_tasks()
    assert_each_counted_once(work.resilience, len(started))


@pytest.mark.parametrize("isolation", ["semaphore", "thread"])
@over_seeds(10)
def test_threads(seed, isolation):
    dice = random.Random(seed)
    settings = chain(dice, hedged=isolation == "thread", queued=isolation != "thread", waits=0.001)

    @command(key="k", registry=Registry(), timeout=10.0 if isolation == "thread" else None, isolation=isolation,
             ignore=(KeyError,), **settings)
    def work(item):
        return outcome(dice, item)

    def calls():
        for number in range(50):
            with contextlib.suppress(Exception):
                work(number % 6)

    threads = [threading.Thread(target=calls) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert_idle(work)
    assert_each_counted_once(work.resilience, 300)
