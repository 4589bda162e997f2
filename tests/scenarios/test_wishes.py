"""What users of Hystrix and its heirs wished for and never got: facts/hystrix.md section 5, by its numbers.

Each through the public API, as such a user would try it. Wish 11 is in
test_many_keys.py, 4 in tests/core/test_slow_in_flight.py, and 6 and 7, which need
a server with a capacity, in tests/core/test_adaptive_simulation.py.
"""

import asyncio
import itertools
import threading

import pytest

from resilience import (
    Cache,
    CircuitBreaker,
    CircuitOpenError,
    Pipeline,
    Registry,
    Retry,
    RetryBudget,
    circuit_breaker,
    collapse,
    command,
    configure,
    request_context,
    retry,
)
from resilience.events import CallRetried
from resilience.testing import virtual_time
from tests.drivers.until import until


class Target:
    """Fails while it is down, hangs while it is told to."""

    def __init__(self):
        self.down, self.calls = True, 0

    def __call__(self):
        self.calls += 1
        if self.down:
            raise ConnectionError("down")
        return "fresh"


def tried(guarded):
    """How one call ends: its result, or the name of its error."""
    try:
        return guarded()
    except Exception as error:  # noqa: BLE001 - whatever it is
        return type(error).__name__


async def test_wish_1_as_many_probes_at_once_as_asked_for(registry, clock):
    """Hystrix #1647, #1739; Polly #239, #254; opossum #613; Sentinel-golang #151."""
    go, target = asyncio.Event(), Target()

    @circuit_breaker(min_calls=2, open_for=5.0, half_open_calls=3, registry=registry)
    async def fetch():
        if target.down:
            raise ConnectionError
        await go.wait()
        return "fresh"

    for _ in range(2):
        with pytest.raises(ConnectionError):
            await fetch()
    clock.advance(5.0)
    target.down = False
    probes = [asyncio.create_task(fetch()) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(CircuitOpenError):
        await fetch()  # a fourth
    assert "half_open" == fetch.resilience.state
    go.set()
    assert ["fresh"] * 3 == await asyncio.gather(*probes)
    assert "closed" == fetch.resilience.state


def test_wish_1_after_the_probes_traffic_comes_back_in_steps(registry, clock):
    target = Target()
    guarded = circuit_breaker(min_calls=2, open_for=5.0, ramp=40.0, registry=registry, key="ramped")(target)
    for _ in range(2):
        tried(guarded)
    clock.advance(5.0)
    target.down = False
    assert "fresh" == tried(guarded)
    shares = []
    for _ in range(4):
        shares.append(sum(tried(guarded) == "fresh" for _ in range(4000)) / 4000)
        clock.advance(40.0 / 3)
    assert [0.10, 0.25, 0.50, 1.00] == [pytest.approx(share, abs=0.05) for share in shares]


def test_wish_2_a_probe_that_never_returns_does_not_wedge_the_breaker(registry, clock):
    """Sentinel #1638; resilience4j #2028; Polly."""
    target, for_ever = Target(), threading.Event()

    @circuit_breaker(min_calls=2, open_for=5.0, half_open_for=30.0, registry=registry)
    def fetch(hang=False):
        if hang:
            for_ever.wait()
        return target()

    for _ in range(2):
        tried(fetch)
    clock.advance(5.0)
    threading.Thread(target=fetch, args=(True,), daemon=True).start()  # the probe
    until(lambda: fetch.resilience.state == "half_open")
    target.down = False
    assert "CircuitOpenError" == tried(fetch)
    clock.advance(30.0)
    assert ("fresh", "closed") == (tried(fetch), fetch.resilience.state)
    for_ever.set()  # its answer, an hour late, changes nothing


def test_wish_8_retries_are_a_share_of_a_groups_calls_whatever_the_attempts():
    """resilience4j #172; Polly #2348; failsafe-go #106; Envoy #30205."""
    policy = Retry(attempts=10, base=0.0, budget=RetryBudget(ratio=0.2, per_second=1.0, window=10.0))
    targets, seen = [Target() for _ in range(3)], []

    async def main():
        registry = Registry(clock=asyncio.get_running_loop().time)
        registry.subscribe(CallRetried, seen.append)

        def guarded(target, name):
            async def fetch():
                return target()

            return Pipeline(policy, registry=registry, group="sick", key=name)(fetch)

        functions = [guarded(target, name) for target, name in zip(targets, "abc", strict=True)]
        for _, fetch in zip(range(900), itertools.cycle(functions), strict=False):
            with pytest.raises(ConnectionError):
                await fetch()
            await asyncio.sleep(0.01)

    virtual_time(main())
    assert len(seen) == sum(target.calls for target in targets) - 900
    assert 0.18 * 900 <= len(seen) <= 0.2 * 900 + 10 * 1.0  # without a budget: 8,100


@pytest.mark.parametrize("how", ["handle", "file"])
def test_wish_10_a_breaker_is_configured_live_and_forgets_nothing(registry, clock, how, tmp_path):
    """resilience4j #2325, #299, #850, #975, #1960, #2181; opossum #450."""
    target = Target()
    guarded = circuit_breaker(min_calls=10, open_for=5.0, registry=registry, key="live")(target)
    for _ in range(6):
        tried(guarded)
    before = guarded.resilience.snapshot()
    if how == "handle":
        guarded.resilience.configure(breaker=CircuitBreaker(min_calls=7, open_for=9.0))
    else:
        configure({"commands": {"live": {"breaker": {"min_calls": 7, "open_for": 9.0}}}}, registry=registry, environ={})
    after = guarded.resilience.snapshot()
    assert (before.counts, before.latency, before.state) == (after.counts, after.latency, after.state)
    tried(guarded)  # the seventh, six of them from before
    assert "open" == guarded.resilience.state
    with pytest.raises(CircuitOpenError) as refused:
        guarded()
    assert 9.0 == refused.value.retry_after


def test_wish_20_answers_are_kept_across_requests_for_a_time(registry, clock):
    """Hystrix #864, #70, #172, #1648; Polly #1127."""
    target = Target()
    target.down = False
    guarded = command(cache=Cache(ttl=60.0, max_size=100), timeout=None, registry=registry, key="kept")(target)
    for _ in range(3):
        with request_context():
            assert "fresh" == guarded()
    assert 1 == target.calls
    target.down = True
    clock.advance(59.0)
    assert "fresh" == guarded()
    clock.advance(1.0)
    assert "ConnectionError" == tried(guarded)


def test_wish_22_single_calls_become_one_whatever_library_they_go_through():
    """resilience4j #541; tests/engine/test_collapse.py has the rest."""
    batches = []

    @collapse(window=0.01)
    async def users(numbers):
        batches.append(list(numbers))
        return {number: f"user {number}" for number in numbers}

    async def main():
        return await asyncio.gather(*(users(number) for number in (1, 2, 3, 2)))

    assert ["user 1", "user 2", "user 3", "user 2"] == virtual_time(main())
    assert [[1, 2, 3]] == batches


def test_wish_24_closing_has_a_criterion_of_its_own(registry, clock):
    """resilience4j #2285: to open takes half of 20 calls, to close 4 of 5 probes that end well."""
    target = Target()
    guarded = circuit_breaker(open_for=5.0, half_open_calls=5, half_open_failures=1, registry=registry)(target)
    for _ in range(20):
        tried(guarded)

    def probe(*outcomes):
        clock.advance(5.0)
        for well in outcomes:
            target.down = not well
            tried(guarded)
        return str(guarded.resilience.state)

    assert "open" == probe(True, False, True, False)
    assert "half_open" == probe(True, False, True, True)
    target.down = False
    assert ("fresh", "closed") == (tried(guarded), guarded.resilience.state)


def test_wish_24_failures_in_a_row_open_at_once_whatever_the_rate(registry, clock):
    """Polly #1854."""
    target = Target()
    guarded = circuit_breaker(consecutive=3, failure_rate=None, registry=registry)(target)
    target.down = False
    assert ["fresh"] * 100 == [tried(guarded) for _ in range(100)]
    target.down = True
    assert ["ConnectionError"] * 3 + ["CircuitOpenError"] == [tried(guarded) for _ in range(4)]


def test_a_retry_needs_no_second_library(registry):
    """Wish 21: Hystrix #973."""
    target = Target()
    guarded = retry(attempts=3, base=0.0, registry=registry, key="tried")(target)
    assert ("ConnectionError", 3) == (tried(guarded), target.calls)
