"""Two hundred gateways that began together sent their first requests to the same endpoint, and their next ones too.

Each went through the same list from its beginning, at about the same pace. So an endpoint got nothing for a while, and
then a request from each gateway within a moment. A service of a hundred endpoints at 60 % of its load collapsed in the
first second. Ribbon's best available rule did the same whenever there was little to do, and zone avoidance after each
change of the list.

To begin at different places of the same order is not enough. If the first twenty endpoints of a list are dead, what
fails there goes on to the next in turn, which is the twenty-first in all gateways, then the twenty-second. With a fifth
of its instances gone, a service at half load collapsed that could have answered everything.
"""

import random
from collections import Counter

import pytest

from resilience import Registry
from resilience.gateway.balancing import BALANCERS, BalancerOptions, EndpointSet, EndpointState, balancer
from resilience.gateway.balancing.rotation import RoundRobin
from resilience.gateway.config import ServiceConfig
from resilience.gateway.services.service import Service
from tests.gateway.services.stub_service import ONE, THREE, TWO, Client, ask

GATEWAYS, ENDPOINTS = 2000, 10
SPREAD = sorted(set(BALANCERS) - {"first", "ring_hash", "maglev", "rendezvous"})  # these choose by something else


def begun(name, seed, weights=(1.0,)):
    """The endpoints of a gateway that has just begun."""
    made = balancer(name, BalancerOptions(seed=seed, max_in_flight=100))
    states = [EndpointState(str(number), weight=weights[number % len(weights)], zone="abc"[number % 3])
              for number in range(ENDPOINTS)]
    return EndpointSet(states, made, None, None, 0.0)


def is_spread(counted):
    return len(counted) == ENDPOINTS and max(counted.values()) < 3 * GATEWAYS / ENDPOINTS


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 2.0)], ids=["even", "weighted"])
@pytest.mark.parametrize("name", SPREAD)
def test_many_gateways_begin_with_different_endpoints(name, weights):
    dice, first, after_a_change = random.Random(1), Counter(), Counter()
    for _ in range(GATEWAYS):
        endpoints = begun(name, dice.random(), weights)
        first[endpoints.choose(0.0, dice.random())[0].name] += 1
        others = [EndpointState(f"other {each.name}", weight=each.weight, zone=each.zone) for each in endpoints.states]
        again = EndpointSet(others, endpoints.balancer, None, None, 0.0)
        after_a_change[again.choose(0.0, dice.random())[0].name] += 1
    assert is_spread(first), first
    assert is_spread(after_a_change), after_a_change


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 2.0)], ids=["even", "weighted"])
@pytest.mark.parametrize("name", SPREAD)
def test_what_fails_at_the_same_endpoints_goes_on_to_different_ones(name, weights):
    dice, second = random.Random(2), Counter()
    for _ in range(GATEWAYS):
        endpoints = begun(name, dice.random(), weights)
        dead = endpoints.states[:ENDPOINTS // 2]
        tried = set()
        while (state := endpoints.choose(0.0, dice.random(), None, tried)[0]) in dead:
            tried.add(state)
        second[state.name] += 1
    assert len(second) == ENDPOINTS - ENDPOINTS // 2
    assert max(second.values()) < 3 * GATEWAYS / len(second), second


def test_turns_go_round_in_an_order_of_their_own_which_a_change_of_the_list_does_not_change():
    states = [EndpointState(str(number)) for number in range(20)]
    orders = set()
    for seed in (0.1, 0.2, 0.3):
        turns = RoundRobin(seed)
        endpoints = EndpointSet(states, turns, None, None, 0.0)
        order = [next(endpoints.turns) for _ in range(40)]
        assert order[:20] == order[20:]
        assert set(order[:20]) == set(states)
        orders.add(tuple(order[:20]))
        fewer = EndpointSet([each for each in states if each is not order[3]], turns, None, None, 0.0)
        assert [next(fewer.turns) for _ in range(4)] == [order[0], order[1], order[2], order[4]]
        back = EndpointSet(states, turns, None, None, 0.0)
        assert [next(back.turns) for _ in range(19)] == [*order[5:20], *order[0:4]]
    assert len(orders) == 3
    plain = EndpointSet(states, RoundRobin(), None, None, 0.0)
    assert [next(plain.turns) for _ in range(20)] == states


async def test_each_service_gets_an_order_by_chance():
    orders = set()
    for drawn in (0.1, 0.2, 0.3, 0.4, 0.5):
        client = Client()
        service = Service("s", ServiceConfig(endpoints=(ONE, TWO, THREE)), client, Registry(random=lambda d=drawn: d))
        for _ in range(3):
            assert await ask(service) == 200
        orders.add(tuple(client.asked))
        service.stop()
    assert len(orders) > 1
