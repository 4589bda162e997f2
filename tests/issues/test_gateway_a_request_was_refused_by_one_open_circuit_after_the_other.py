"""With a hundred endpoints of which ninety-nine had open circuits, a request was refused by up to ninety-nine of them.

Each refusal cost an attempt and a look at all endpoints: ten thousand steps for one request, at a time when the
gateway is short of everything. Endpoints whose circuits refuse are left out now before one is picked.
"""

import asyncio
import random
from math import inf

import pytest

from resilience import CircuitOpenError, Registry
from resilience.commands.command import internals_of
from resilience.core.breaker import CircuitBreaker
from resilience.core.circuit import Circuit
from resilience.core.events import State, Trigger
from resilience.core.failover import RestState
from resilience.core.outcome import FAILURE, SUCCESS
from resilience.gateway.balancing import BalancerOptions, Ejection, EndpointSet, EndpointState, balancer
from resilience.gateway.config import ServiceConfig
from resilience.gateway.messages.exchange import UpstreamStatusError, UpstreamUnreachableError
from resilience.gateway.services.service import Service
from resilience.policies.breaker import BREAKER
from tests.gateway.services.stub_service import Client, a_request, ask
from tests.seeds import over_seeds

COMMAND = {"timeout": None}


class Paid:
    """A budget without end, and how many of its tokens are taken."""

    taken = 0

    def deposit(self, now):
        pass

    def withdraw(self, now):
        self.taken += 1
        return True

    def refund(self):
        self.taken -= 1


class Fleet:
    """A service of many endpoints, and their circuits."""

    def __init__(self, number, **said):
        self.now = 100.0
        self.registry, self.client = Registry(clock=lambda: self.now, random=lambda: 0.0), Client()
        hosts = [f"10.0.{each // 250}.{each % 250 + 1}" for each in range(number)]
        config = ServiceConfig(endpoints=tuple(f"http://{host}:80" for host in hosts), **{"command": COMMAND, **said})
        self.service = Service("s", config, self.client, self.registry)
        self.handles = [self.registry[f"s@{host}:80"] for host in hosts]
        self.circuits = [internals_of(each).runtime.of(BREAKER) for each in self.handles]

    def open(self, places, seconds=5.0):
        for place in places:
            self.circuits[place].hint(self.now + seconds, "told", self.now)

    @property
    def refusals(self):
        return sum(each.snapshot().counts["short_circuited"] for each in self.handles)


async def test_requests_go_to_the_one_endpoint_that_takes_them_without_asking_the_others():
    fleet = Fleet(100)
    fleet.open(range(99))
    for _ in range(50):
        assert await ask(fleet.service) == 200
    assert set(fleet.client.asked) == {"10.0.0.100"}
    assert fleet.refusals <= 1, "of the request that has found out"
    fleet.service.stop()


async def test_an_operators_open_circuit_takes_an_endpoint_out():
    fleet = Fleet(3)
    fleet.handles[1].force_open()
    for _ in range(30):
        assert await ask(fleet.service) == 200
    assert sorted(map(fleet.client.asked.count, ("10.0.0.1", "10.0.0.2", "10.0.0.3"))) == [0, 15, 15]
    assert fleet.refusals <= 1
    fleet.handles[1].release()
    fleet.client.asked.clear()
    fleet.now += 0.1  # it is looked as often as that
    for _ in range(30):
        assert await ask(fleet.service) == 200
    assert fleet.client.asked.count("10.0.0.2") == 10
    fleet.service.stop()


async def test_one_refusal_is_counted_if_all_refuse_and_it_is_the_one_that_ends_soonest():
    fleet = Fleet(100, hedge=10.0)  # nothing is refused without an attempt
    fleet.open(range(100))
    fleet.circuits[42].steer(Trigger.RESET, fleet.now)
    fleet.circuits[42].hint(fleet.now + 2.0, "told", fleet.now)
    assert await ask(fleet.service) == "CircuitOpenError"
    before = fleet.refusals
    attempts = fleet.service.attempts(a_request())
    try:
        with pytest.raises(CircuitOpenError) as caught:
            await attempts.answered()
    finally:
        await attempts.close()
    assert caught.value.retry_after == pytest.approx(2.0)
    assert fleet.refusals == before + 1
    assert fleet.client.asked == []
    fleet.service.stop()


async def test_a_failed_request_does_not_go_on_to_endpoints_that_would_refuse_it_and_pays_for_nothing():
    fleet = Fleet(10)
    fleet.open(range(1, 10))
    budget = fleet.service.retry.budget = Paid()
    for failure, outcome in ((UpstreamUnreachableError("no"), "UpstreamUnreachableError"),
                             (UpstreamStatusError(503), 503)):
        fleet.client.does = {"10.0.0.1": lambda failure=failure: failure}
        refusals = fleet.refusals
        assert await ask(fleet.service) in (outcome, "UpstreamStatusError")
        assert fleet.refusals - refusals <= 1
        assert budget.taken == 0
    fleet.service.stop()


async def test_nobody_is_hedged_if_the_other_endpoint_refuses():
    fleet = Fleet(2, hedge=0.001)
    fleet.open((1,), 1000.0)
    budget = fleet.service.retry.budget = Paid()

    async def slow():
        await asyncio.sleep(0.01)
        return 200

    fleet.client.does = {"10.0.0.1": slow}
    assert await ask(fleet.service) == 200
    assert fleet.refusals == 0
    assert budget.taken == 0
    fleet.service.stop()


@over_seeds(30)
def test_the_choice_among_endpoints_with_circuits_is_that_of_a_plain_oracle(seed):
    dice = random.Random(seed)
    count = dice.randrange(1, 8)
    states = [EndpointState(f"e{number}") for number in range(count)]
    config = CircuitBreaker(consecutive=2, open_for=5.0, half_open_calls=dice.choice((1, 2)))
    for each in states:
        if dice.random() < 0.8:
            each.circuit = Circuit(config, key=each.name, group="s", now=0.0, emit=lambda _: None, random=dice.random)
    endpoints = EndpointSet(states, balancer("round_robin", BalancerOptions()), Ejection(consecutive=3, distance=None),
                            None, 0.0)
    now = 0.0
    for _ in range(300):
        now += dice.choice((0.0, 0.1, 3.0))
        tried = dice.sample(states, dice.randrange(count)) if dice.random() < 0.3 else ()
        chosen = endpoints.choose(now, dice.random(), None, tried)
        assert chosen is not None
        state, permit = chosen
        assert state not in tried
        willing = [each for each in states if each not in tried and _admits(each.circuit, now)]
        if willing and (tried or endpoints._fresh_until < inf):
            assert state in willing
        elif not willing and endpoints._fresh_until < inf:
            waits = [_wait(each.circuit, now) for each in states if each not in tried]
            assert _wait(state.circuit, now) == min(waits)
        if permit is not None:
            assert permit.state is RestState.PROBING
            assert state in willing
        _call(endpoints, state, permit, dice, now)


@over_seeds(30)
def test_what_is_picked_without_a_look_was_right_a_tenth_of_a_second_ago_at_most(seed):
    """The set is told what a service tells it, and no more: failures of endpoints that are not calm, and recoveries."""
    dice = random.Random(seed)
    states = [EndpointState(f"e{number}") for number in range(dice.randrange(2, 8))]
    for each in states:
        if dice.random() < 0.8:
            each.circuit = Circuit(CircuitBreaker(consecutive=2, open_for=5.0), key=each.name, group="s", now=0.0,
                                   emit=lambda _: None, random=dice.random)
    name = dice.choice(("round_robin", "random", "least_request"))
    endpoints = EndpointSet(states, balancer(name, BalancerOptions(seed=dice.random())),
                            Ejection(consecutive=3, panic=0.0, distance=0.1, min_calls=5, min_endpoints=2), None, 0.0)
    now, seen, picked = 0.0, [], 0
    for _ in range(600):
        now += dice.choice((0.0, 0.01, 0.04, 0.5, 3.0))
        steered = dice.choice(states).circuit
        if steered is not None and dice.random() < 0.03:
            steered.steer(dice.choice((Trigger.FORCED_OPEN, Trigger.RELEASED, Trigger.RESET)), now)
        fit = {each for each in states if each.rest.calm and not each.refuses(now)}
        seen = [(at, which) for at, which in seen if at > now - 0.1] + [(now, fit)]
        state, permit = endpoints.choose(now, dice.random())
        if fit and permit is None:
            was_calm = endpoints._fresh_until == inf  # nobody has found yet what an operator said
            assert was_calm or any(state in which for _, which in seen)
            picked += 1
        _call_as_a_service(endpoints, state, permit, dice, now)
    assert picked > 100


def _call_as_a_service(endpoints, state, permit, dice, now):
    """A call at an endpoint, and what gateway.outcomes tells of it."""
    try:
        term = None if state.circuit is None else state.circuit.acquire(now)
    except CircuitOpenError:
        endpoints.ejector.left(state, permit, now)
        if not state.is_calm:
            endpoints.changed()
        return
    fails = dice.random() < 0.4
    if term is not None:
        state.circuit.settle(term, FAILURE if fails else SUCCESS, now, now)
    if fails:
        if endpoints.ejector.failed(state, permit, now) or not state.is_calm:
            endpoints.changed()
        return
    was_left_out = not state.rest.calm
    endpoints.ejector.succeeded(state, permit, now)
    if was_left_out and state.rest.calm:
        endpoints.changed()


def _admits(circuit, now):
    """Whether a circuit that is asked would let a call pass: a copy of its decision, by its public state."""
    if circuit is None or circuit.state in (State.CLOSED, State.DISABLED, State.FORCED_CLOSED):
        return True
    term = circuit.term
    if circuit.state is State.OPEN:
        return now >= term.until
    return circuit.state is State.HALF_OPEN and (now >= term.until or term._slots > 0)


def _wait(circuit, now):
    wait = circuit.retry_after(now)
    return inf if wait is None else wait


def _call(endpoints, state, permit, dice, now):
    """A call at an endpoint; now and then an operator has a word."""
    circuit = state.circuit
    term = None
    if circuit is not None:
        if dice.random() < 0.05:
            circuit.steer(dice.choice((Trigger.FORCED_OPEN, Trigger.RELEASED, Trigger.RESET)), now)
        try:
            term = circuit.acquire(now)
        except CircuitOpenError:
            endpoints.ejector.left(state, permit, now)
            endpoints.changed()
            return
    fails = dice.random() < 0.5
    if term is not None and dice.random() < 0.9:  # else it hangs
        circuit.settle(term, FAILURE if fails else SUCCESS, now, now)
    if fails:
        endpoints.ejector.failed(state, permit, now)
    else:
        endpoints.ejector.succeeded(state, permit, now)
    endpoints.changed()

