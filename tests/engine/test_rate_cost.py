"""A rate limit by cost around calls of every flavour: estimates are booked, and settled when the true cost is known."""

import asyncio
import threading

import pytest

from resilience import (
    Bulkhead,
    BulkheadFullError,
    CircuitOpenError,
    ConfigError,
    RateLimit,
    RateLimitedError,
    Registry,
    command,
    configure,
    http_status,
)
from resilience.policies.order import kit_named
from resilience.testing import assert_idle, virtual_time
from tests.drivers.until import until

KINDS = ["def", "async def", "generator", "async generator", "thread"]


def called(kind, registry, **settings):
    """A function of this kind whose argument is what it really costs, and a plain way to call it."""
    def plain(true):
        return true

    async def coroutine(true):
        return true

    def generator(true):
        yield 0
        yield true

    async def async_generator(true):
        yield 0
        yield true

    async def all_of(items):
        return [item async for item in items]

    isolation = {"isolation": "thread"} if kind == "thread" else {}
    function = {"def": plain, "thread": plain, "async def": coroutine, "generator": generator,
                "async generator": async_generator}[kind]
    guarded = command(key="k", registry=registry, timeout=None, **settings, **isolation)(function)
    return guarded, {"async def": lambda true: asyncio.run(guarded(true)), "generator": lambda true: [*guarded(true)],
                     "async generator": lambda true: asyncio.run(all_of(guarded(true)))}.get(kind, guarded)


@pytest.mark.parametrize("kind", KINDS)
def test_every_flavour_settles_what_a_call_really_took(registry, clock, kind):
    _, call = called(kind, registry, rate_limit=RateLimit(100, per=100.0, cost=50, true_cost=lambda true: true))
    call(10)
    call(90)  # 100 - 10 - 90
    with pytest.raises(RateLimitedError) as refused:
        call(0)
    assert refused.value.retry_after == pytest.approx(50.0)
    clock.advance(50.0)
    call(0)
    call(0)
    registry.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_that_a_bulkhead_refuses_spends_nothing(registry, clock, kind):
    guarded, call = called(kind, registry, rate_limit=RateLimit(100, per=100.0, cost=50), max_concurrent=1)
    slots = guarded.resilience._runtime.slots
    permit = slots.acquire(clock())
    for _ in range(3):
        with pytest.raises(BulkheadFullError):
            call(0)
    slots.settle(permit, 0, 0.0, 0.0)
    call(0)
    call(0)
    with pytest.raises(RateLimitedError):
        call(0)
    assert_idle(guarded)
    registry.close()


def test_a_busy_target_spent_nothing_and_a_failed_one_may_have(registry):
    class Answer:
        def __init__(self, status_code):
            self.status_code = status_code

    @command(key="k", registry=registry, timeout=None, failures=http_status(),
             rate_limit=RateLimit(100, per=100.0, cost=50, true_cost=lambda answer: 50))
    def call(status):
        return Answer(status)

    for status in (429, 429, 429, 500, 200):
        call(status)
    with pytest.raises(RateLimitedError):
        call(200)


def test_the_estimate_is_made_from_the_calls_arguments(registry):
    @command(key="k", registry=registry, timeout=None,
             rate_limit=RateLimit(100, per=60.0, by=lambda prompt, tenant: tenant, cost=lambda prompt, tenant: len(prompt)))
    def complete(prompt, tenant):
        return prompt

    complete("x" * 60, tenant="red")
    complete("x" * 100, tenant="blue")
    with pytest.raises(RateLimitedError):
        complete("x" * 60, tenant="red")
    complete("x" * 40, tenant="red")


def test_a_cancelled_waiter_gives_its_units_to_those_behind_it():
    async def main():
        loop = asyncio.get_running_loop()

        @command(key="k", registry=Registry(clock=loop.time), timeout=None,
                 rate_limit=RateLimit(10, per=10.0, cost=lambda n: n, max_wait=100.0))
        async def call(n):
            return loop.time()

        began = await call(10)
        large = asyncio.create_task(call(10))
        await asyncio.sleep(0)
        small = asyncio.create_task(call(2))
        await asyncio.sleep(1.0)
        large.cancel()
        return round(await small - began, 6), large.cancelled()

    assert (2.0, True) == virtual_time(main())


def test_a_refund_wakes_a_thread_that_waits_on_the_real_clock():
    registry, begun, go = Registry(), [], threading.Event()

    @command(key="k", registry=registry, timeout=None,
             rate_limit=RateLimit(10, per=10_000.0, cost=10, true_cost=float, max_wait=20_000.0))
    def call(first):
        if first:
            assert go.wait(60)
        begun.append(first)
        return 0

    threads = [threading.Thread(target=call, args=(first,)) for first in (True, False)]
    threads[0].start()
    until(lambda: call.resilience.snapshot().in_flight == 1)
    threads[1].start()
    limiter = call.resilience._runtime.of(kit_named("rate_limit"))
    until(lambda: limiter.pace.first is not None)
    go.set()
    for thread in threads:
        thread.join(60)
    assert [True, False] == begun


def test_a_limit_without_a_cost_cannot_get_one_live_and_one_with_a_cost_may_have_another(registry):
    plain = command(key="plain", registry=registry, timeout=None, rate_limit=RateLimit(10))(lambda: 1)
    with pytest.raises(ConfigError, match=r"declare it with RateLimit\(10, cost=...\)"):
        plain.resilience.configure(rate_limit=RateLimit(10, cost=5))
    costly = command(key="costly", registry=registry, timeout=None, rate_limit=RateLimit(10, per=10.0, cost=5))(lambda: 1)
    costly()
    costly.resilience.configure(rate_limit=RateLimit(10, per=10.0, cost=1))
    for _ in range(5):
        costly()
    with pytest.raises(RateLimitedError):
        costly()


def test_a_file_says_units_and_a_cost(registry, tmp_path):
    call = command(key="k", registry=registry, timeout=None, rate_limit=RateLimit(10, cost=len, true_cost=len))(lambda text: text)
    file = tmp_path / "resilience.toml"
    file.write_text("[commands.k]\nrate_limit = { calls = 1000, per = 60.0, cost = 500 }\n")
    configuration = configure(file, registry=registry)
    limit = call.resilience.settings.rate_limit
    assert (1000, 60.0, 500.0, len) == (limit.calls, limit.per, limit.cost, limit.true_cost)
    call("x" * 900)
    with pytest.raises(RateLimitedError):
        call("x")
    configuration.close()
    assert call.resilience.settings.rate_limit.cost is len


def test_in_shadow_mode_nothing_is_refused_and_costs_are_settled(registry):
    call = command(key="k", registry=registry, timeout=None, shadow="rate_limit",
                   rate_limit=RateLimit(10, per=10.0, cost=10, true_cost=float))(lambda true: true)
    for _ in range(4):
        call(0)
    assert 0 == call.resilience.snapshot().counts["shadow_rejected"]
    call(10)
    call(10)
    assert 1 == call.resilience.snapshot().counts["shadow_rejected"]


def test_a_refusal_that_a_cost_raises_is_its_own_mistake_and_no_refusal_of_the_limit(registry):
    def cost(*_):
        raise CircuitOpenError("other")

    for by in (None, len):
        call = command(registry=registry, timeout=None, key=f"k {by}", rate_limit=RateLimit(10, by=by, cost=cost))(lambda x: 1)
        with pytest.raises(CircuitOpenError):
            call("x")
        assert (1, 0) == tuple(call.resilience.snapshot().counts[name] for name in ("bad_request", "rate_limited"))


def test_a_bulkhead_in_a_pipeline_with_a_cost_leaves_no_permit_behind_when_the_cost_raises(registry):
    call = command(key="k", registry=registry, timeout=None, max_concurrent=Bulkhead(1),
                   rate_limit=RateLimit(10, cost=lambda: 1 / 0))(lambda: 1)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            call()
    assert 2 == call.resilience.snapshot().counts["bad_request"]
    assert_idle(call)
