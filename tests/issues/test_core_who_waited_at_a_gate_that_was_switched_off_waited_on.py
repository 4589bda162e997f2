"""A limit was switched off, or into shadow mode, and newcomers passed at once; who waited already, waited to the end."""

import asyncio
import threading

import pytest

from resilience import AdaptiveLimit, Bulkhead, RateLimit, Registry, command
from tests.drivers.until import until

FOREVER = 3600.0
QUEUE = AdaptiveLimit(initial=1, min_limit=1, max_limit=1, max_queue=9, max_queue_for=FOREVER)
RATE = RateLimit(1, per=FOREVER, burst=1, max_wait=10 * FOREVER)
CASES = {
    "bulkhead in shadow mode": ({"max_concurrent": Bulkhead(1, max_wait=FOREVER)}, {"shadow": "max_concurrent"}),
    "bulkhead off": ({"max_concurrent": Bulkhead(1, max_wait=FOREVER)}, {"max_concurrent": None}),
    "tenants": ({"max_concurrent": Bulkhead(1, max_wait=FOREVER, fair_by=lambda n: n)}, {"shadow": "max_concurrent"}),
    "adaptive limit in shadow mode": ({"adaptive_limit": QUEUE}, {"shadow": "adaptive_limit"}),
    "adaptive limit off": ({"adaptive_limit": QUEUE}, {"adaptive_limit": None}),
    "rate limit in shadow mode": ({"rate_limit": RATE}, {"shadow": "rate_limit"}),
    "rate limit off": ({"rate_limit": RATE}, {"rate_limit": None}),
    "rate limit by key off": ({"rate_limit": RateLimit(1, per=FOREVER, burst=1, max_wait=10 * FOREVER,
                                                       by=lambda n: n % 2)}, {"rate_limit": None}),
}


@pytest.mark.parametrize("name", CASES)
async def test_tasks_that_wait_go_on_and_all_comes_back(name):
    policies, change = CASES[name]
    go = asyncio.Event()

    @command(key="k", registry=Registry(), timeout=None, **policies)
    async def call(n):
        if n < 2:
            await go.wait()
        return n

    first = [asyncio.create_task(call(n)) for n in (range(2) if "key" in name else range(1))]
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(call(n)) for n in range(2, 8)]
    await asyncio.sleep(0)
    call.resilience.configure(**change)
    assert [*range(2, 8)] == await asyncio.wait_for(asyncio.gather(*waiting), 30)
    assert 8 == await asyncio.wait_for(call(8), 30)
    go.set()
    await asyncio.gather(*first)
    assert 0 == call.resilience.in_flight


@pytest.mark.parametrize("name", CASES)
def test_threads_that_wait_go_on_and_the_limit_holds_again_afterwards(name):
    policies, change = CASES[name]
    go, entered, done = threading.Event(), threading.Event(), []

    @command(key="k", registry=Registry(), timeout=None, **policies)
    def call(n):
        if n == 0:
            entered.set()
            go.wait(30)
        done.append(n)

    threads = [threading.Thread(target=call, args=(n,), daemon=True) for n in (0, 2, 4)]
    threads[0].start()
    assert entered.wait(30)
    for thread in threads[1:]:
        thread.start()
    call.resilience.configure(**change)
    until(lambda: sorted(done) == [2, 4])
    call.resilience.configure(**({"shadow": ()} if "shadow" in change else policies))
    go.set()
    for thread in threads:
        thread.join(30)
    assert 0 == call.resilience.in_flight
