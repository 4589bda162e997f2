"""Of several endpoints with weight 0, which are for when no other is available, one got all requests: with the balancers
random, weighted_response_time and ring_hash, maglev and rendezvous, with sticky clients as well.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest

from resilience.gateway.balancing import BalancerOptions, EndpointSet, EndpointState, balancer
from resilience.gateway.balancing.by_name import BALANCERS, KEYED
from resilience.gateway.balancing.ejection import Ejection

SPARES = ("s1:80", "s2:80", "s3:80", "s4:80")


def without_the_primary(name: str, **options: object) -> EndpointSet[EndpointState]:
    states = [EndpointState("p:80"), *(EndpointState(each, weight=0.0) for each in SPARES)]
    made = EndpointSet(states, balancer(name, BalancerOptions(**options)), Ejection(), None, 0.0)  # type: ignore[arg-type]
    states[0].is_healthy = False
    made.changed()
    return made


def chosen(among: EndpointSet[EndpointState], dice: random.Random, key: bytes | None) -> EndpointState:
    found = among.choose(1.0, dice.random(), key)
    assert found is not None
    return found[0]


@pytest.mark.parametrize("sticky", [False, True])
@pytest.mark.parametrize("is_timed", [False, True])
@pytest.mark.parametrize("name", sorted({*BALANCERS} - {"first"}))
def test_each_gets_a_share(name: str, is_timed: bool, sticky: bool) -> None:
    among, dice = without_the_primary(name, sticky=sticky), random.Random(7)
    for state in among.states if is_timed else ():
        state.time(0.01, 1.0)
    got = Counter(chosen(among, dice, None).name for _ in range(4000))
    assert {*SPARES} == {*got}
    assert max(got.values()) < 1300


@pytest.mark.parametrize("name", sorted(KEYED))
def test_each_gets_a_share_of_the_keys_and_a_key_stays_where_it_is(name: str) -> None:
    among, dice = without_the_primary(name), random.Random(7)
    homes = {key: chosen(among, dice, key) for key in (b"%d" % number for number in range(2000))}
    assert all(home is chosen(among, dice, key) for key, home in homes.items())
    assert all(400 < number < 600 for number in Counter(home.name for home in homes.values()).values())
    among.states[2].is_healthy = False
    among.changed()
    assert all(home is chosen(among, dice, key) for key, home in homes.items() if home is not among.states[2])


@pytest.mark.parametrize("name", sorted(KEYED))
def test_a_popular_key_drowns_none_of_them(name: str) -> None:
    among, dice = without_the_primary(name, load_factor=1.25), random.Random(7)
    for _ in range(100):
        chosen(among, dice, b"popular").in_flight += 1
    assert max(state.in_flight for state in among.states) <= 32
