"""A request that had failed at an endpoint went to the same neighbour that the next request went to.

In turn means the next place of the list, and a list without the endpoint that has failed has other places: of three
endpoints each, of which one refuses connections, one of the other two got twice as many requests as the other. With
half of its load before, it had all that it could do, and in a fleet the others followed it.
"""

import random
from collections import Counter

from resilience.gateway.balancing import EndpointSet, EndpointState
from resilience.gateway.balancing.rotation import RoundRobin
from tests.seeds import over_seeds

ROUNDS = 200


def arrivals(states, dead, requests):
    """How many requests each endpoint gets, if those that fail at a dead one go on until they have found another."""
    endpoints = EndpointSet(states, RoundRobin(), None, None, 0.0)
    endpoints.came(states[0], 0.0)
    got = Counter()
    for _ in range(requests):
        tried = set()
        while True:
            state, _ = endpoints.choose(0.0, 0.5, None, tried)
            if state.name not in dead:
                got[state.name] += 1
                break
            tried.add(state)
    return got


def test_what_fails_at_dead_endpoints_is_shared_by_all_others():
    for count in (2, 3, 5, 9, 15):
        for every in (2, 3, 4):
            states = [EndpointState(str(number)) for number in range(count)]
            dead = {str(number) for number in range(every - 1, count, every)}
            got = arrivals(states, dead, ROUNDS * count)
            alive = count - len(dead)
            assert alive == len(got)
            assert max(got.values()) - min(got.values()) <= 2, (count, every, got)


def test_turns_go_on_after_the_last_when_the_list_changes():
    turns = RoundRobin()
    states = [EndpointState(name) for name in "abcdef"]
    assert ["a", "b", "c"] == [turns.pick(states, 0.0, None).name for _ in range(3)]
    fewer = [state for state in states if state.name not in "cd"]
    assert ["e", "f", "a"] == [turns.pick(fewer, 0.0, None).name for _ in range(3)]
    assert "b" == turns.pick(states, 0.0, None).name
    others = [EndpointState(name) for name in "xy"]
    assert ["x", "y", "x"] == [turns.pick(others, 0.0, None).name for _ in range(3)]


def test_an_ejection_or_another_list_does_not_begin_again_with_the_first():
    turns = RoundRobin()
    states = [EndpointState(name) for name in "abcdef"]
    endpoints = EndpointSet(states, turns, None, None, 0.0)
    assert ["a", "b", "c"] == [next(endpoints.turns).name for _ in range(3)]
    endpoints.changed()
    assert ["d", "e"] == [next(endpoints.turns).name for _ in range(2)]
    endpoints = EndpointSet([state for state in states if state.name not in "af"], turns, None, None, 0.0)
    assert ["b", "c"] == [next(endpoints.turns).name for _ in range(2)]
    endpoints = EndpointSet(states, turns, None, None, 0.0)
    assert ["d", "e", "a", "f"] == [next(endpoints.turns).name for _ in range(4)], "who comes back is new"
    assert turns.pick(states, 0.0, None) in states


@over_seeds(30)
def test_whoever_stays_a_candidate_is_never_passed_over(seed):
    """Between two picks of one that always may be picked, nobody else is picked twice: that is what in turn means."""
    dice = random.Random(seed)
    turns = RoundRobin()
    everybody = [EndpointState(str(number)) for number in range(dice.randrange(2, 9))]
    stays, others = everybody[0], everybody[1:]
    since = Counter()
    for _ in range(200):
        candidates = tuple(each for each in everybody if each is stays or dice.random() < 0.7)
        picked = turns.pick(candidates, dice.random(), None)
        assert picked in candidates
        since = Counter() if picked is stays else since + Counter([picked])
        assert all(since[each] <= 1 for each in others), since
        if dice.random() < 0.05:
            given = turns.turns(candidates)
            assert {*candidates} == {next(given) for _ in candidates}
            since = Counter()
