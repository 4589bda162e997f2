"""Rules, costs and listeners of the user are called while a call is admitted or gives back what it holds. When one of
them was interrupted (Ctrl-C, `SystemExit`, a cancellation), the slot came back and the other permits did not: a
half-open probe was waited for until it expired, who waited for the slot was not told, and a policy of the user's own
kept its permit for good. Every gate hears of every call that it admitted, and the interrupt reaches the caller.
"""

import asyncio
import itertools

import attrs
import pytest

from resilience import (
    Bulkhead,
    CircuitBreaker,
    FailureRules,
    Pipeline,
    RateLimit,
    StateChanged,
    block,
    command,
    custom_policy,
)
from resilience.policies import order
from tests.issues.every_flavour import FLAVOURS, guarded, isolation

INTERRUPTS = (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)


class Permits:
    """Counts those that are out. One that comes back may be interrupted then."""

    def __init__(self):
        self.out, self.hurt = 0, None

    def acquire(self, now, call):
        self.out += 1

    def settle(self, permit, outcome, started, now):
        self.out -= 1
        hurt, self.hurt = self.hurt, None
        if hurt is not None:
            raise hurt


@pytest.fixture
def policy():
    """A policy of the user's own, and its machine."""
    machine = Permits()

    @custom_policy("permits", about="Counts permits.", above={"rate_limit": "So that the limit's costs stand below it."})
    @attrs.frozen
    class Counted:
        def machine(self, key, now):
            return machine

    yield Counted(), machine
    order.discard("permits")


class Interrupted:
    """What raises an interrupt once, when it is told to."""

    def __init__(self, error):
        self.error, self.armed = error, False

    def __call__(self, *_):
        if self.armed:
            self.armed = False
            raise self.error


def interrupted_by(place, interrupt, registry):
    """Options of the rules and of the limit that have *place* interrupted."""
    rules, cost = {}, {}
    if place == "a rule about an exception":
        rules = {"judge": lambda ending: interrupt() if ending.error is not None else None}
    elif place == "a rule about who is busy":
        rules = {"busy": [lambda error: interrupt()]}
    elif place == "a rule about a result":
        rules = {"results": lambda result: interrupt(), "items": lambda item: interrupt()}
    elif place == "the true cost":
        cost = {"true_cost": lambda result: interrupt() or 1}
    elif place.startswith("a listener"):
        registry.subscribe(StateChanged, lambda event: event.new == place.split()[-1] and interrupt())
    return rules, cost


PLACES = {  # and whether the call fails
    "a rule about an exception": True,
    "a rule about who is busy": True,
    "a rule about a result": False,
    "the true cost": False,
    "a listener to open": True,
    "a listener to half_open": False,
    "a listener to closed": False,
    "settle of a user's own policy": False,
    "settle of a user's own policy after a failure": True,
}


CASES = [(*case, INTERRUPTS[n % 4]) for n, case in enumerate(itertools.product(FLAVOURS, PLACES))]


@pytest.mark.parametrize(("flavour", "place", "error"), CASES)
def test_every_permit_comes_back_though_a_callback_is_interrupted(registry, clock, policy, flavour, place, error):
    counted, machine = policy
    interrupt = Interrupted(error())
    rules, cost = interrupted_by(place, interrupt, registry)
    fails = [OSError(), OSError()] if PLACES[place] else [OSError()]

    def body():
        if fails:
            raise fails.pop()
        return 1

    fn, call = guarded(flavour, Pipeline(
        CircuitBreaker(min_calls=1, open_for=1.0, half_open_for=1e6), counted, RateLimit(1_000_000, cost=lambda: 1, **cost),
        Bulkhead(1), *([FailureRules(**rules)] if rules else []), key="call", registry=registry, **isolation(flavour)), body)
    with pytest.raises(OSError):
        call()
    clock.advance(1.0)
    if place.startswith("settle"):
        machine.hurt = interrupt.error
    else:
        interrupt.armed = True
    with pytest.raises(error):
        call()
    assert (None, False) == (machine.hurt, interrupt.armed)
    assert 0 == machine.out

    if fn.resilience.state == "open":
        assert place in ("a listener to open", "settle of a user's own policy after a failure")
        clock.advance(1.0)
    assert 1 == call()
    assert "closed" == fn.resilience.state
    assert (0, 0) == (machine.out, fn.resilience.snapshot().in_flight)


def test_the_block_of_a_probe_gives_its_permits_back(registry, clock, policy):
    counted, machine = policy
    interrupt = Interrupted(KeyboardInterrupt())
    work = block("work", breaker=CircuitBreaker(min_calls=1, open_for=1.0, half_open_for=1e6), permits=counted,
                 failures=lambda ending: interrupt(), registry=registry)

    def fail():
        with work:
            raise OSError

    with pytest.raises(OSError):
        fail()
    clock.advance(1.0)
    interrupt.armed = True
    with pytest.raises(KeyboardInterrupt):
        fail()
    assert 0 == machine.out
    with work:
        pass
    assert ("closed", 0) == (work.resilience.state, machine.out)


async def test_who_waits_for_the_slot_is_told_that_it_is_back(registry):
    interrupt, inside = Interrupted(asyncio.CancelledError()), asyncio.Event()

    @command(registry=registry, timeout=None, max_concurrent=Bulkhead(1, max_wait=60.0), failures=lambda ending: interrupt())
    async def work(fails):
        if fails:
            await inside.wait()
            raise OSError
        return 1

    first = asyncio.ensure_future(work(True))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(work(False))
    await asyncio.sleep(0)
    interrupt.armed = True
    inside.set()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert 1 == await asyncio.wait_for(second, 5.0)
