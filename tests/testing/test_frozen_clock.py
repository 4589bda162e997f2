"""A registry on a clock that stands still for the length of a block: nothing reads its own clock there."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from resilience import (
    AdaptiveLimit,
    Bulkhead,
    Cache,
    Chaos,
    CircuitBreaker,
    CircuitOpenError,
    Failover,
    FailureRules,
    Hedge,
    RateLimit,
    Registry,
    Retry,
    StreamTimeout,
    Throttle,
    command,
    default_registry,
)
from resilience.policies.order import KITS
from resilience.testing import ManualClock, frozen

EVERYTHING = {
    "retry": Retry(attempts=3, base=60.0, max_delay=60.0, jitter="none", on=OSError),
    "breaker": CircuitBreaker(min_calls=5, slow_call=1.0),
    "throttle": Throttle(),
    "rate_limit": RateLimit(1, per=10.0, max_wait=100.0),
    "max_concurrent": Bulkhead(2, max_wait=1.0),
    "timeout": 5.0,
    "stream_timeout": StreamTimeout(total=600.0),
    "cache": Cache(ttl=5.0),
    "chaos": Chaos(latency_rate=1.0, latency=30.0),
    "hedge": Hedge(idempotent=True),
    "adaptive_limit": AdaptiveLimit(max_queue=2),
    "failures": FailureRules(status=500),
}
NOT_OF_GENERATORS = {"timeout", "cache", "hedge"}


class Watched:
    """The registry's own clock, which nobody may read while *is_out*."""

    def __init__(self) -> None:
        self.is_out = False

    def __call__(self) -> float:
        assert not self.is_out, "the registry's own clock was read"
        return time.monotonic()


def called(kind, settings):
    """A guarded function of this kind, which fails as often as *failures* says, and how to call it to its end."""
    failures: list[Exception] = []

    def end(value):
        if failures:
            raise failures.pop()
        return value

    async def coroutine(value):
        return end(value)

    def generator(value):
        yield end(value)

    async def async_generator(value):
        yield end(value)

    async def first(items):
        return [each async for each in items][0]

    plain = {"sync": end, "thread": end, "async": coroutine, "generator": generator, "async_generator": async_generator}
    fn = command(**settings)(plain[kind])
    run = {"async": lambda value: asyncio.run(fn(value)), "generator": lambda value: list(fn(value))[0],
           "async_generator": lambda value: asyncio.run(first(fn(value)))}
    return fn, run.get(kind, fn), failures


@pytest.mark.parametrize("kind", ["sync", "thread", "async", "generator", "async_generator"])
@pytest.mark.parametrize("limit", ["max_concurrent", "adaptive_limit"])
@pytest.mark.parametrize("key", ["plain", lambda value: f"key of {value % 2}"], ids=["one command", "by key"])
def test_nothing_reads_the_registrys_own_clock_within_the_block(kind, limit, key):
    assert {kit.name for kit in KITS if kit.setting} == set(EVERYTHING) | {"failover"}  # it has a test of its own
    left_out = {"max_concurrent", "adaptive_limit"} - {limit}
    left_out |= NOT_OF_GENERATORS if "generator" in kind else {"stream_timeout"}
    left_out |= {"hedge", "timeout"} if kind == "sync" else set()
    settings = {name: value for name, value in EVERYTHING.items() if name not in left_out}
    if kind == "thread":
        settings |= {"isolation": "thread"} | ({} if limit == "max_concurrent" else {"adaptive_limit": AdaptiveLimit()})
    if kind == "sync":
        settings["timeout"] = None
    if limit == "adaptive_limit":
        settings.pop("max_concurrent", None)
    own = Watched()
    registry = Registry(clock=own)
    fn, call, failures = called(kind, {**settings, "key": key, "registry": registry})
    call(1)  # before: a keyed one has made its command
    with frozen(registry) as clock:
        own.is_out = True
        registry.start_chaos(1e4)
        began, real = clock(), time.monotonic()
        failures += [OSError()] * 2
        for value in range(4):
            call(value)
        assert clock() - began > 100  # latencies of chaos, pauses and turns
        assert time.monotonic() - real < 60
        for handle in registry:
            handle.snapshot()
        clock.advance(7200.0)
        call(9)
        own.is_out = False
    assert registry.clock is own
    assert all(handle.snapshot().requests == 0 for handle in registry)
    if "rate_limit" in settings:
        call(5)  # the first call after the block need not wait for a time that is hours ahead


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("above", [{}, {"retry": Retry(attempts=2, base=60.0, max_delay=60.0, jitter="none")}])
def test_a_failover_rests_and_waits_by_the_blocks_clock(is_async, above):
    own, down = Watched(), {"eu", "us"}
    registry = Registry(clock=own)

    def answer(region):
        if region in down:
            raise OSError(region)
        return region

    def plain(*, region="eu"):
        return answer(region)

    async def coroutine(*, region="eu"):
        return answer(region)

    fn = command(key="fetch", timeout=None, breaker=CircuitBreaker(consecutive=1, open_for=100.0), registry=registry,
                 failover=Failover(("eu", "us"), argument="region", grace=300.0, max_wait=200.0), **above)(
                     coroutine if is_async else plain)

    def call():
        return asyncio.run(fn()) if is_async else fn()

    with frozen(registry) as clock:
        own.is_out = True
        with pytest.raises(OSError):
            call()
        down.clear()
        began, real = clock(), time.monotonic()
        assert "eu" == call()  # both circuits are open: it waits for one
        assert round(clock() - began, 6) >= (40.0 if above else 100.0)
        assert time.monotonic() - real < 60
        own.is_out = False
    down.add("eu")
    assert "us" == call()


def test_an_open_circuit_of_the_default_registry_is_tested_without_waiting():
    @command(breaker=CircuitBreaker(consecutive=1, open_for=3600.0))
    def stock(is_up):
        if not is_up:
            raise OSError
        return 7

    with frozen() as clock:
        with pytest.raises(OSError):
            stock(False)
        with pytest.raises(CircuitOpenError):
            stock(True)
        clock.advance(3600.0)
        assert 7 == stock(True)
        assert isinstance(default_registry.clock, ManualClock)
    assert not isinstance(default_registry.clock, ManualClock)
    default_registry.remove(stock.resilience.key)


def test_what_is_declared_within_the_block_goes_by_its_clock_and_after_it_by_the_registrys_own():
    registry = Registry()
    with frozen(registry) as clock:
        @command(key="late", registry=registry)
        def late():
            return clock()

        assert registry.clock is clock
        late()
        clock.advance(5.0)
    assert "late" not in registry  # a function's own, as restored() has it
    assert late() == clock()


def test_a_forced_circuit_and_changed_settings_are_put_back():
    registry = Registry()

    @command(key="stock", registry=registry, timeout=None)
    def stock():
        return 7

    stock.resilience.force_open()
    with frozen(registry):
        stock.resilience.release()
        stock.resilience.configure(max_concurrent=3)
        assert 7 == stock()
    assert ("forced_open", 10) == (stock.resilience.state, stock.resilience.settings.max_concurrent)


def test_other_registries_and_threads_stay_on_their_clocks():
    registry, other = Registry(), Registry()

    @command(registry=other)
    def elsewhere():
        return other.clock()

    with frozen(registry):
        assert other.clock is not registry.clock
        found: list[float] = []
        thread = threading.Thread(target=lambda: found.append(elsewhere()))
        thread.start()
        thread.join()
        assert found
