"""explain() said of a failover with a hedge that a call takes at worst the timeouts of all targets.

Each attempt of the hedge goes round the targets, and the last one begins later than the first.
"""

import asyncio

import pytest

from resilience import CallTimeoutError, Failover, Hedge, Registry, command, explain
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
    assert "at worst 2 s, and the delays after which a hedge begins further attempts; 4 attempts" in str(explain(hedged))


def test_a_failover_without_a_hedge_takes_the_timeouts_of_all_targets():
    plain = hangs(timeout=1.0)
    assert virtual_time(seconds_of(plain)) == pytest.approx(2.0)
    assert "at worst 2 s; 2 attempts" in str(explain(plain))
