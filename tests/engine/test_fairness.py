"""``fair_by`` around calls: whose turn it is, what is refused, and that nothing is left behind."""

import asyncio

import attrs
import pytest

from resilience import AdaptiveLimit, Bulkhead, CircuitOpenError, ConfigError, Registry, command
from resilience.testing import assert_idle, virtual_time


@pytest.mark.parametrize("settings", [
    {"max_concurrent": Bulkhead(1, max_wait=100.0, fair_by=lambda tenant: tenant)},
    {"adaptive_limit": AdaptiveLimit(initial=1, max_limit=1, max_queue=100, max_queue_for=100.0, fair_by=lambda tenant: tenant)},
], ids=["bulkhead", "adaptive limit"])
def test_tasks_of_different_tenants_take_turns_and_a_cancelled_one_leaves_its_place(settings):
    async def main():
        loop, begun = asyncio.get_running_loop(), []

        @command(key="k", registry=Registry(clock=loop.time), timeout=None, **settings)
        async def call(tenant):
            begun.append(tenant)
            await asyncio.sleep(1.0)

        tasks = [asyncio.create_task(call(tenant)) for tenant in ["red"] * 5 + ["blue", "green", "blue"]]
        await asyncio.sleep(0.5)
        tasks[6].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert_idle(call)
        return begun

    assert ["red", "red", "blue", "red", "blue", "red", "red"] == virtual_time(main())


@pytest.mark.parametrize("settings", [
    {"max_concurrent": Bulkhead(1, fair_by=len)}, {"adaptive_limit": AdaptiveLimit(fair_by=len)}], ids=str)
def test_fairness_without_a_queue_is_refused_at_decoration(registry, settings):
    with pytest.raises(ConfigError, match="k: fair_by shares slots among calls that wait, and without max_"):
        command(key="k", registry=registry, timeout=None, **settings)(lambda x: x)


@pytest.mark.parametrize("isolation", ["semaphore", "thread"])
@pytest.mark.parametrize("error", [TypeError, CircuitOpenError], ids=lambda error: error.__name__)
def test_a_key_that_cannot_be_had_is_a_mistake_of_its_own_and_no_refusal(registry, isolation, error):
    def fair_by(x):
        if error is CircuitOpenError:
            raise CircuitOpenError("other")
        return [x]

    call = command(key="k", registry=registry, timeout=None, isolation=isolation,
                   max_concurrent=Bulkhead(1, max_wait=10.0, fair_by=fair_by))(lambda x: x)
    slots = call.resilience._runtime.slots
    permit = slots.acquire(0.0)
    with pytest.raises(error):
        call(1)
    counts = call.resilience.snapshot().counts
    assert (1, 0, 0) == tuple(counts[name] for name in ("bad_request", "semaphore_rejected", "thread_pool_rejected"))
    slots.settle(permit, 0, 0.0, 0.0)
    assert 1 == call(1)
    assert_idle(call)
    registry.close()


def test_whose_turn_it_is_cannot_be_changed_live_and_all_else_can(registry):
    bulkhead = Bulkhead(1, max_wait=10.0, fair_by=len)
    call = command(key="k", registry=registry, timeout=None, max_concurrent=bulkhead)(lambda x: x)
    for other in (None, max):
        with pytest.raises(ConfigError, match="fair_by= of the bulkhead cannot be changed on a live command"):
            call.resilience.configure(max_concurrent=Bulkhead(1, max_wait=10.0, fair_by=other))
    call.resilience.configure(max_concurrent=attrs.evolve(bulkhead, max_concurrent=7))
    call.resilience.configure(max_concurrent=8)
    assert Bulkhead(8, max_wait=10.0, fair_by=len) == call.resilience.settings.max_concurrent
    call.resilience.configure(max_concurrent=None)
    call.resilience.configure(max_concurrent=bulkhead)
    limit = AdaptiveLimit(max_queue=5, fair_by=len)
    call = command(key="a", registry=registry, timeout=None, adaptive_limit=limit)(lambda x: x)
    with pytest.raises(ConfigError, match="fair_by= of the adaptive limit cannot be changed on a live command"):
        call.resilience.configure(adaptive_limit=AdaptiveLimit(max_queue=5))
    call.resilience.configure(adaptive_limit=attrs.evolve(limit, max_queue=6))
