"""explain() said of a failover with a hedge that a call takes at worst the timeouts of all targets.

Each attempt of the hedge goes round the targets, and the last one begins later than the first. A retry above derived its
limit in total from the same sum, and made fewer attempts than it was to.
"""

import asyncio

import pytest

from resilience import CallTimeoutError, CircuitBreaker, Failover, Hedge, Registry, Retry, command, explain
from resilience.testing import virtual_time


def hangs(**settings):
    @command(key="fetch", failover=Failover(("eu", "us"), max_wait=0.0), registry=Registry(), **settings)
    async def fetch(*, target="eu"):
        await asyncio.sleep(3600.0)

    return fetch


async def seconds_of(fetch):
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(CallTimeoutError):
        await fetch()
    return loop.time() - began


def test_a_call_takes_as_long_as_its_attempts_and_their_delays_and_explain_says_so():
    hedged = hangs(timeout=1.0, hedge=Hedge(idempotent=True, delay=0.5))
    assert virtual_time(seconds_of(hedged)) == pytest.approx(2.5)
    assert "at worst 2.5 s; 4 attempts" in str(explain(hedged))


def test_without_a_delay_the_next_attempt_begins_when_the_first_ends_at_the_latest():
    hedged = hangs(timeout=1.0, hedge=Hedge(idempotent=True, attempts=3))
    assert "at worst 6 s; 6 attempts" in str(explain(hedged))


def test_a_retry_above_leaves_all_its_attempts_the_time_that_they_take():
    calls = []

    @command(key="fetch", failover=Failover(("eu", "us"), max_wait=0.0), registry=Registry(), timeout=1.0,
             hedge=Hedge(idempotent=True, delay=0.5, budget=None), breaker=CircuitBreaker(min_calls=500),
             retry=Retry(attempts=6, base=0.01, max_delay=0.01, busy_max_delay=0.01, jitter="none", budget=None))
    async def fetch(*, target="eu"):
        calls.append(target)
        await asyncio.sleep(3600.0)

    assert virtual_time(seconds_of(fetch)) == pytest.approx(6 * 2.5 + 5 * 0.01)
    assert 6 * 4 == len(calls)
    assert "at worst 15.05 s; 24 attempts" in str(explain(fetch))


def test_a_failover_without_a_hedge_takes_the_timeouts_of_all_targets():
    plain = hangs(timeout=1.0)
    assert virtual_time(seconds_of(plain)) == pytest.approx(2.0)
    assert "at worst 2 s; 2 attempts" in str(explain(plain))
