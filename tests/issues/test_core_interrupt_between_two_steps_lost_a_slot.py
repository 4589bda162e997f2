"""A KeyboardInterrupt that fell between taking a slot and noting it, or before giving it back, lost the slot for ever."""

import asyncio

import pytest

from resilience import (
    Bulkhead,
    BulkheadFullError,
    CircuitBreaker,
    Fallback,
    Pipeline,
    ResilienceError,
    Timeout,
    command,
)
from tests.drivers.until import until
from tests.interrupts import interrupted

# Python's word for a coroutine that an interrupt met before its first step.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")

POLICIES = {
    "all": dict(fallback=Fallback(lambda *_: "fallback", max_concurrent=1)),
    "no fallback": {},
    "no breaker": dict(breaker=None),
}


def drive(coroutine):
    try:
        while True:
            coroutine.send(None)
    except StopIteration as end:
        return end.value


def steps(steer):
    """Functions of each flavour that do as *steer* says, each with how to run a guarded one to its end."""

    def plain(value):
        return steer(value)

    async def coroutine(value):
        await asyncio.sleep(0)
        return steer(value)

    def generator(value):
        yield 1
        yield steer(value)

    async def async_generator(value):
        yield 1
        await asyncio.sleep(0)
        yield steer(value)

    async def exhaust(agen):
        return [item async for item in agen]

    return {
        "sync": (plain, lambda guarded: guarded(1)),
        "async": (coroutine, lambda guarded: drive(guarded(1))),
        "generator": (generator, lambda guarded: list(guarded(1))),
        "async generator": (async_generator, lambda guarded: drive(exhaust(guarded(1)))),
    }


def fail(value):
    raise OSError(value)


@pytest.mark.parametrize("limit", [1, None])
@pytest.mark.parametrize("policies", POLICIES)
@pytest.mark.parametrize("end", [str, fail])
@pytest.mark.parametrize("flavour", steps(str))
def test_every_slot_comes_back_wherever_the_interrupt_falls(registry, flavour, end, policies, limit):
    fn, run = steps(end)[flavour]
    guarded = command(registry=registry, timeout=None, max_concurrent=limit, **POLICIES[policies])(fn)

    def work():
        try:
            run(guarded)
        except (OSError, ResilienceError):
            pass

    points = 0
    for points in interrupted(work):  # noqa: B007 - counted
        assert 0 == guarded.resilience.snapshot().in_flight
        fallback = guarded.__resilience_guard__.accounting.fallback
        assert fallback is None or 0 == fallback.in_flight
        guarded.resilience.reset()
    assert points > 5


def test_a_caller_without_a_slot_gives_none_back(registry):
    @command(registry=registry, timeout=None, max_concurrent=1)
    def nested(inner):
        if inner:
            with pytest.raises(BulkheadFullError):
                nested(False)

    for _ in interrupted(lambda: nested(True)):
        assert 0 == nested.resilience.snapshot().in_flight


def test_every_slot_and_place_of_a_worker_comes_back(registry):
    @command(registry=registry, timeout=5.0, max_concurrent=2)
    def isolated():
        return 1

    isolated()
    for _ in interrupted(isolated):
        until(lambda: (0, 0) == (isolated.resilience.snapshot().in_flight, isolated.resilience.pool.admitted))
        assert 0 == isolated.resilience.snapshot().abandoned


def test_a_coroutine_under_a_deadline_gives_its_slot_back(registry):
    async def fetch():
        await asyncio.sleep(0)

    guarded = Pipeline(CircuitBreaker(), Bulkhead(1), Timeout(5.0), registry=registry)(fetch)

    async def main():
        await guarded()

    for _ in interrupted(lambda: asyncio.run(main())):
        assert 0 == guarded.resilience.snapshot().in_flight


def test_an_interrupted_probe_is_made_up_for_when_it_has_expired(registry, clock):
    @command(registry=registry, timeout=None, breaker=CircuitBreaker(min_calls=1, open_for=1.0, half_open_for=2.0))
    def probe():
        return 1

    for _ in interrupted(probe):
        probe.resilience.reset()
        probe.resilience.force_open()
        probe.resilience.release()
    runs = 0
    _due_for_a_probe(probe, clock)
    for _ in interrupted(probe):
        clock.advance(2.0)
        assert 1 == probe()
        runs += 1
        assert "closed" == probe.resilience.state
        _due_for_a_probe(probe, clock)
    assert runs > 5


def _due_for_a_probe(probe, clock):
    probe.resilience.reset()
    circuit = probe.resilience._runtime.circuit
    circuit.settle(circuit.acquire(clock()), 1, clock(), clock())
    assert "open" == probe.resilience.state
    clock.advance(1.0)
