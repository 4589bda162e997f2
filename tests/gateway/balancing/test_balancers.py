"""Balancers, each against a plain oracle."""

from __future__ import annotations

import bisect
import hashlib
import math
import random
from collections import Counter
from collections.abc import Collection, Sequence

import pytest

from resilience.gateway.balancing import (
    BALANCERS,
    KEYED,
    BalancerOptions,
    EndpointSet,
    EndpointState,
    balancer,
    hashing,
)
from resilience.gateway.balancing.hashing import Maglev, Rendezvous, RingHash, hashed
from resilience.gateway.balancing.sticky import token_of
from resilience.gateway.balancing.subsets import subset
from tests.seeds import over_seeds

SEEDS = 40


def states(count: int, dice: random.Random | None = None, zones: int = 1) -> list[EndpointState]:
    made = []
    for number in range(count):
        weight = 1.0 if dice is None else float(dice.choice((1, 1, 2, 5)))
        state = EndpointState(f"10.0.0.{number}:80", weight=weight, zone=f"z{number % zones}")
        if dice is not None:
            state.in_flight = dice.randrange(6)
            for _ in range(dice.randrange(3)):
                state.time(dice.choice((0.001, 0.01, 0.1)), dice.random())
        made.append(state)
    return made


def picker(name: str, given: Sequence[EndpointState], **options: object):  # type: ignore[no-untyped-def]
    made = balancer(name, BalancerOptions(**options))  # type: ignore[arg-type]
    made.adopt(given)
    return lambda candidates, u=0.0, key=None: made.pick(candidates, u, key)


def two_of(u: float, count: int) -> tuple[int, int]:
    """The pair that u stands for, if all ordered pairs of different ones have an equal part of [0, 1)."""
    pairs = [(one, other) for one in range(count) for other in range(count) if one != other] or [(0, 0)]
    return pairs[int(u * len(pairs))]


@pytest.mark.parametrize("name", sorted(BALANCERS))
@over_seeds(SEEDS)
def test_every_balancer_picks_a_candidate_whoever_is_available(name: str, seed: int) -> None:
    dice = random.Random(seed)
    given = states(dice.randrange(1, 9), dice, zones=3)
    pick = picker(name, given, load_factor=dice.choice((None, 1.25)), max_in_flight=dice.choice((None, 3)), zone="z1")
    for _ in range(50):
        candidates = dice.sample(given, dice.randrange(1, len(given) + 1))
        key = dice.choice((None, b"%d" % dice.randrange(9))) if name in KEYED else None
        assert pick(candidates, dice.random(), key) in candidates


@over_seeds(SEEDS)
def test_round_robin_takes_each_in_turn_and_with_weights_is_nginxs_smooth_one(seed: int) -> None:
    dice = random.Random(seed)
    even = states(dice.randrange(1, 7))
    pick = picker("round_robin", even)
    assert [even[turn % len(even)] for turn in range(20)] == [pick(even) for _ in range(20)]

    given = states(dice.randrange(2, 7), dice)
    pick = picker("round_robin", given)
    if len({each.share for each in given}) == 1:
        return
    credit = dict.fromkeys(given, 0.0)
    for _ in range(100):
        for each in given:
            credit[each] += each.weight
        best = next(each for each in given if credit[each] == max(credit.values()))
        credit[best] -= sum(each.weight for each in given)
        assert best is pick(given)


@pytest.mark.parametrize("sticky", [False, True])
@pytest.mark.parametrize("name", sorted(BALANCERS))
@over_seeds(20)
def test_endpoints_without_weight_are_asked_only_if_no_other_is_left(name: str, sticky: bool, seed: int) -> None:
    dice = random.Random(seed)
    given = [EndpointState(f"e{number}", weight=float(number > 1), priority=int(number > 1)) for number in range(5)]
    dice.shuffle(given)
    endpoints = EndpointSet(given, balancer(name, BalancerOptions(seed=dice.random(), sticky=sticky)), None, None, 0.0)
    weightless = {state for state in given if not state.weight}

    def asked(tried: Collection[EndpointState] = (), key: bytes | None = None) -> EndpointState:
        turns = endpoints.turns
        found = next(turns) if turns is not None and not tried else endpoints.choose(1.0, dice.random(), key, tried)[0]  # type: ignore[index]
        found.in_flight = dice.randrange(5)
        return found

    keys = [b"%d" % number if name in KEYED and not sticky else None for number in range(30)]
    assert not weightless & {asked(key=key) for key in keys}
    assert asked(tried=[state for state in given if state.weight]) in weightless


def test_a_client_of_a_sticky_session_stays_with_an_endpoint_that_has_lost_its_weight() -> None:
    given = [EndpointState("old", weight=0.0), EndpointState("new")]
    endpoints = EndpointSet(given, balancer("round_robin", BalancerOptions(sticky=True)), None, None, 0.0)
    assert [(given[0], None)] * 5 == [endpoints.choose(1.0, number / 5, token_of("old")) for number in range(5)]
    assert [(given[1], None)] * 5 == [endpoints.choose(1.0, number / 5, None) for number in range(5)]


def test_round_robin_spreads_the_turns_of_a_heavy_endpoint() -> None:
    heavy, a, b = EndpointState("heavy", weight=5), EndpointState("a"), EndpointState("b")
    pick = picker("round_robin", [heavy, a, b])
    assert "h h a h b h h" == " ".join(pick([heavy, a, b]).name[0] for _ in range(7))


@over_seeds(SEEDS)
def test_random_gives_each_its_share(seed: int) -> None:
    dice = random.Random(seed)
    given = states(dice.randrange(1, 7), dice)
    pick = picker("random", given)
    bounds = [sum(each.weight for each in given[: count + 1]) for count in range(len(given))]
    for _ in range(50):
        u = dice.random()
        assert given[bisect.bisect_right(bounds, u * bounds[-1])] is pick(given, u)


@over_seeds(SEEDS)
def test_least_request_and_peak_ewma_take_the_cheaper_of_two_by_chance(seed: int) -> None:
    dice = random.Random(seed)
    given = states(dice.randrange(1, 7), dice)
    costs = {"least_request": lambda each: (each.in_flight + 1) / each.share,
             "peak_ewma": lambda each: max(each.ewma_s, 1e-6) * (each.in_flight + 1) / each.share}
    for name, cost in costs.items():
        pick = picker(name, given)
        for _ in range(50):
            u = dice.random()
            one, other = (given[place] for place in two_of(u, len(given)))
            found = pick(given, u)
            assert found in (one, other)
            assert cost(found) <= min(cost(one), cost(other)) * (1 + 1e-9)


def test_of_two_by_chance_every_pair_is_as_likely() -> None:
    given = states(4)
    pick = picker("least_request", given)
    for slow in given:
        slow.in_flight = given.index(slow)
    # The one with the most in flight is never taken: the others as often as they are in a pair with a busier one.
    assert {given[0]: 600, given[1]: 400, given[2]: 200} == Counter(pick(given, (turn + 0.5) / 1200) for turn in range(1200))


def test_a_moving_average_heeds_a_peak_at_once_and_forgets_it_slowly() -> None:
    state = EndpointState("a")
    state.time(0.1, 0.0)
    state.time(1.0, 1.0)
    assert 1.0 == state.ewma_s
    state.time(0.1, 11.0)
    assert math.isclose(math.exp(-1.0) * 1.0 + (1 - math.exp(-1.0)) * 0.1, state.ewma_s)


@over_seeds(SEEDS)
def test_best_available_takes_the_first_with_the_fewest_in_flight(seed: int) -> None:
    given = states(5, random.Random(seed))
    fewest = sorted(given, key=lambda each: (each.in_flight, given.index(each)))
    assert fewest[0] is picker("best_available", given)(given)


@over_seeds(SEEDS)
def test_availability_filtering_goes_in_turn_and_passes_over_those_with_too_many(seed: int) -> None:
    dice = random.Random(seed)
    given = states(dice.randrange(1, 7))
    pick = picker("availability_filtering", given, max_in_flight=3)
    turn = -1
    for _ in range(40):
        for each in given:
            each.in_flight = dice.randrange(6)
        for _ in given:
            turn = (turn + 1) % len(given)
            if given[turn].in_flight < 3:
                break
        assert given[turn] is pick(given)


@over_seeds(SEEDS)
def test_weighted_response_time_prefers_the_faster_as_ribbon_does(seed: int) -> None:
    dice = random.Random(seed)
    given = states(dice.randrange(2, 6))
    for each in given:
        each.time(dice.choice((0.01, 0.02, 0.4)), 0.0)
    means = [each.seconds for each in given]
    weights = [sum(means) - mean for mean in means]
    pick = picker("weighted_response_time", given)
    for _ in range(30):
        u = dice.random()
        bounds = [sum(weights[: count + 1]) for count in range(len(given))]
        assert given[bisect.bisect_right(bounds, u * sum(weights))] is pick(given, u)


def test_weighted_response_time_without_times_goes_in_turn() -> None:
    given = states(3)
    pick = picker("weighted_response_time", given)
    assert given * 2 == [pick(given, 0.9) for _ in range(6)]


@over_seeds(SEEDS)
def test_zone_avoidance_leaves_out_the_zone_with_the_most_load(seed: int) -> None:
    dice = random.Random(seed)
    given = states(9, zones=3)
    for each in given:
        each.in_flight = dice.choice((0, 0, 0, 1, 4))
    available = [each for each in given if dice.random() < 0.7] or given[:1]
    pick = picker("zone_avoidance", given)
    loads = {zone: sum(each.in_flight for each in members) / len(members) for zone in ("z0", "z1", "z2")
             if (members := [each for each in available if each.zone == zone])}
    worst = [zone for zone, load in loads.items() if load == max(loads.values())]
    is_trouble = len(loads) > 1 and (max(loads.values()) >= 0.2 or len(loads) < 3)
    for _ in range(30):
        found = pick(available, dice.random()).zone
        assert found in loads
        if is_trouble and len(worst) == 1:
            assert found not in worst


def test_zone_avoidance_stays_in_its_own_zone_while_that_is_well() -> None:
    given = states(6, zones=3)
    pick = picker("zone_avoidance", given, zone="z1")
    assert {"z1"} == {pick(given, 0.5).zone for _ in range(9)}
    for each in given:
        each.in_flight = 9 if each.zone == "z1" else 0
    assert "z1" not in {pick(given, 0.5).zone for _ in range(9)}


def test_first_takes_the_first_candidate() -> None:
    given = states(3)
    assert given[1] is picker("first", given)(given[1:])


# -- hashes


KEYS = [b"user-%d" % number for number in range(2000)]


@pytest.mark.parametrize("name", sorted(KEYED))
def test_a_key_stays_where_it_is_when_another_endpoint_leaves(name: str) -> None:
    given = states(10)
    pick = picker(name, given)
    before = {key: pick(given, 0.0, key) for key in KEYS}
    assert before == {key: pick(given, 0.7, key) for key in KEYS}
    after = {key: pick(given[1:], 0.0, key) for key in KEYS}
    assert all(after[key] is before[key] for key in KEYS if before[key] is not given[0])
    assert len({after[key] for key in KEYS if before[key] is given[0]}) > 5, "its keys are spread over the others"


@pytest.mark.parametrize("name", sorted(KEYED))
def test_keys_are_shared_out_by_weight(name: str) -> None:
    given = states(4)
    given[0].weight = given[0].share = 3.0
    pick = picker(name, given)
    counts = Counter(pick(given, 0.0, key) for key in KEYS)
    assert 0.40 < counts[given[0]] / len(KEYS) < 0.60
    assert all(0.10 < counts[each] / len(KEYS) < 0.24 for each in given[1:])


@pytest.mark.parametrize("name", sorted(KEYED))
@over_seeds(10)
def test_no_endpoint_has_more_than_its_bound_in_flight_however_popular_a_key_is(name: str, seed: int) -> None:
    dice = random.Random(seed)
    given = states(dice.randrange(2, 8))
    pick = picker(name, given, load_factor=1.25)
    under_way: list[EndpointState] = []
    for _ in range(200):
        if under_way and dice.random() < 0.4:
            under_way.pop(dice.randrange(len(under_way))).in_flight -= 1
        most = math.ceil(1.25 * (len(under_way) + 1) / len(given))
        found = pick(given, dice.random(), b"popular" if dice.random() < 0.8 else b"%d" % dice.randrange(50))
        found.in_flight += 1
        under_way.append(found)
        assert found.in_flight <= most


@over_seeds(10)
def test_the_ring_is_that_of_a_plain_search(seed: int) -> None:
    given = states(5, random.Random(seed))
    mean = sum(each.weight for each in given) / 5
    points = [(hashed(each.name.encode(), b"%d" % point), each) for each in given
              for point in range(max(1, round(160 * each.weight / mean)))]
    ring = RingHash()
    ring.adopt(given)
    for key in KEYS[:100]:
        mine = hashed(key)
        after = [pair for pair in points if pair[0] >= mine] or points
        assert min(after, key=lambda pair: pair[0])[1] is ring.pick(given, 0.0, key)


@over_seeds(10)
def test_rendezvous_is_the_highest_draw(seed: int) -> None:
    given = states(5, random.Random(seed))
    made = Rendezvous()
    made.adopt(given)
    for key in KEYS[:100]:
        draws = {}
        for each in given:
            digest = hashlib.blake2b(key + b"\0" + each.name.encode(), digest_size=8).digest()
            draws[each] = each.weight / -math.log((int.from_bytes(digest, "big") + 0.5) / 2**64)
        assert max(draws, key=draws.__getitem__) is made.pick(given, 0.0, key)


def test_the_maglev_table_is_that_of_the_paper() -> None:
    given = states(3)
    maglev = Maglev()
    maglev.adopt(given)
    size = 509
    offset = {each.name: hashed(each.name.encode(), b"offset") % size for each in given}
    skip = {each.name: hashed(each.name.encode(), b"skip") % (size - 1) + 1 for each in given}
    turn, entry, filled = dict.fromkeys(offset, 0), [""] * size, 0
    while filled < size:
        for each in given:
            place = (offset[each.name] + turn[each.name] * skip[each.name]) % size
            while entry[place]:
                turn[each.name] += 1
                place = (offset[each.name] + turn[each.name] * skip[each.name]) % size
            entry[place] = each.name
            turn[each.name] += 1
            filled += 1
            if filled == size:
                break
    for key in KEYS[:300]:
        assert entry[hashed(key) % size] == maglev.pick(given, 0.0, key).name


def test_a_request_without_a_key_goes_anywhere() -> None:
    given = states(4)
    pick = picker("maglev", given)
    assert set(given) == {pick(given, turn / 100, None) for turn in range(100)}


def test_a_sticky_client_comes_back_while_its_endpoint_is_available() -> None:
    given = states(3)
    pick = picker("round_robin", given, sticky=True)
    mine = token_of(given[2].name)
    assert {given[2]} == {pick(given, 0.0, mine) for _ in range(4)}
    assert given[:2] == [pick(given[:2], 0.0, each) for each in (mine, None)]
    assert {*given} == {pick(given, 0.0, b"no such token") for _ in range(3)}
    assert b"10.0.0" not in mine


@over_seeds(10)
def test_subsets_use_all_endpoints_about_equally_and_move_little(seed: int) -> None:
    names = [f"10.0.{seed}.{number}:80" for number in range(20)]
    gateways = [f"gateway-{number}" for number in range(200)]
    used = {gateway: subset(names, 5, gateway) for gateway in gateways}
    assert {5} == {len(each) for each in used.values()}
    counts = Counter(name for each in used.values() for name in each)
    assert all(25 <= counts[name] <= 85 for name in names)
    for gateway in gateways:
        after = subset(names[1:], 5, gateway)
        assert len(after - used[gateway]) == (names[0] in used[gateway])


@pytest.mark.parametrize("number", [0, 1, 2**63, 2**64 - 1])
def test_whatever_number_a_key_has_it_can_be_compared(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(hashing, "hashed", lambda *parts: number)
    assert 0.0 < hashing.score(b"key", b"name", 2.0) < math.inf
