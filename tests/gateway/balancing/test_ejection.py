"""Ejection, slow start and the choice among endpoints, against plain oracles under random histories."""

from __future__ import annotations

import random
from math import inf

import pytest

from resilience import ConfigError
from resilience.core.failover import RestState
from resilience.gateway.balancing import (
    BalancerOptions,
    Ejection,
    EndpointSet,
    EndpointState,
    SlowStart,
    balancer,
)
from tests.seeds import over_seeds

PLAIN = Ejection(consecutive=3, distance=None, rest=5.0, max_rest=30.0, interval=10.0, panic=0.0)


def a_set(count: int, ejection: Ejection | None = PLAIN, *, slow_start: SlowStart | None = None, limit: float = inf,
          priorities: tuple[int, ...] = ()) -> EndpointSet[EndpointState]:
    states = [EndpointState(f"e{number}", priority=priorities[number] if priorities else 0) for number in range(count)]
    return EndpointSet(states, balancer("round_robin", BalancerOptions()), ejection, slow_start, 0.0, limit)


def fails(of: EndpointSet[EndpointState], state: EndpointState, times: int, now: float) -> None:
    for _ in range(times):
        of.ejector.failed(state, None, now)
    of.changed()


def chosen(of: EndpointSet[EndpointState], now: float, times: int = 12) -> set[str]:
    found = set()
    for _ in range(times):
        pick = of.choose(now, 0.5)
        assert pick is not None
        found.add(pick[0].name)
    return found


def test_an_endpoint_that_fails_often_enough_in_a_row_is_left_out_and_then_probed_by_one_request() -> None:
    two = a_set(2)
    ill, well = two.states
    fails(two, ill, 2, 1.0)
    assert {"e0", "e1"} == chosen(two, 1.0)
    fails(two, ill, 1, 1.0)
    assert {"e1"} == chosen(two, 5.9)

    probe, permit = two.choose(6.0, 0.5) or (None, None)
    assert (ill, RestState.PROBING) == (probe, permit and permit.state)
    assert {"e1"} == chosen(two, 6.1), "one probe at a time"
    two.ejector.succeeded(ill, permit, 6.2)
    two.changed()
    assert {"e0", "e1"} == chosen(two, 6.2)
    assert well.failures == 0


def test_the_time_of_an_ejection_grows_with_each_probe_that_fails_up_to_its_bound() -> None:
    two = a_set(2)
    ill = two.states[0]
    fails(two, ill, 3, 0.0)
    now, waits = 0.0, []
    for _ in range(5):
        waits.append(ill.rest.until - now)
        now = ill.rest.until
        _, permit = two.choose(now, 0.5) or (None, None)
        assert permit is not None
        two.ejector.failed(ill, permit, now)
    assert [5.0, 10.0, 20.0, 30.0, 30.0] == waits


def test_a_success_between_failures_ejects_nobody() -> None:
    two = a_set(2)
    for _ in range(20):
        fails(two, two.states[0], 2, 0.0)
        two.ejector.succeeded(two.states[0], None, 0.0)
    assert {"e0", "e1"} == chosen(two, 0.0)


def test_the_only_endpoint_is_never_ejected() -> None:
    one = a_set(1)
    fails(one, one.states[0], 100, 0.0)
    assert {"e0"} == chosen(one, 0.0)


def test_no_more_than_the_share_is_ejected_at_once() -> None:
    many = a_set(10, Ejection(consecutive=1, max_share=0.3, panic=0.0))
    for each in many.states:
        fails(many, each, 1, 0.0)
    assert 3 == sum(each.rest.state is RestState.RESTING for each in many.states)


def test_below_the_panic_share_all_get_requests() -> None:
    calm, panics = (a_set(10, Ejection(consecutive=1, max_share=0.9, panic=panic)) for panic in (0.0, 0.5))
    for of in (calm, panics):
        for each in of.states[:6]:
            fails(of, each, 1, 0.0)
    assert (4, 10) == (len(chosen(calm, 1.0, 40)), len(chosen(panics, 1.0, 40)))


def test_an_outlier_by_success_rate_is_ejected_and_small_differences_are_not() -> None:
    config = Ejection(consecutive=None, distance=0.2, deviations=1.5, min_calls=100, interval=10.0)
    for rate, is_out in ((0.5, True), (0.9, False)):
        five = a_set(5, config)
        for each in five.states:
            each.good, each.bad = (1000, 0) if each is not five.states[2] else (int(1000 * rate), int(1000 * (1 - rate)))
        five.ejector.failed(five.states[2], None, 9.0)
        assert five.states[2].rest.state is RestState.AVAILABLE, "not before the interval is over"
        five.ejector.failed(five.states[2], None, 10.0)
        assert is_out is (five.states[2].rest.state is RestState.RESTING)


def test_one_that_asks_to_be_left_alone_rests_for_so_long_and_no_longer_than_the_bound() -> None:
    two = a_set(2)
    two.ejector.pause(two.states[0], 7.0, 0.0)
    two.ejector.pause(two.states[1], 700.0, 0.0)
    two.changed()
    assert ({"e0"}, 30.0) == (chosen(two, 7.0), two.states[1].rest.until)


def test_if_nobody_else_is_left_one_that_rests_is_asked() -> None:
    two = a_set(2)
    fails(two, two.states[0], 3, 0.0)
    pick = two.choose(1.0, 0.5, None, {two.states[1]})
    assert pick is not None
    assert pick[0] is two.states[0]
    assert two.choose(1.0, 0.5, None, set(two.states)) is None


def test_a_lower_priority_number_comes_first_while_one_of_it_is_available() -> None:
    three = a_set(3, priorities=(0, 1, 1))
    assert {"e0"} == chosen(three, 0.0)
    fails(three, three.states[0], 3, 0.0)
    assert {"e1", "e2"} == chosen(three, 1.0)


def test_a_full_endpoint_gets_nothing_while_another_is_not() -> None:
    two = a_set(2, limit=3)
    two.states[0].in_flight = 3
    assert {"e1"} == chosen(two, 0.0)
    two.states[1].in_flight = 3
    assert {"e0", "e1"} == chosen(two, 0.0)


def test_what_is_unhealthy_by_its_checks_gets_nothing_unless_all_are() -> None:
    two = a_set(2)
    two.states[0].is_healthy = False
    two.changed()
    assert {"e1"} == chosen(two, 0.0)
    two.states[1].is_healthy = False
    two.changed()
    assert {"e0", "e1"} == chosen(two, 0.0) | {"e1"}


@pytest.mark.parametrize(("age", "aggression", "ramp"), [
    (0.0, 1.0, 0.1), (3.0, 1.0, 0.3), (9.0, 1.0, 0.9), (10.0, 1.0, 1.0), (99.0, 1.0, 1.0), (2.5, 2.0, 0.5)])
def test_slow_start_follows_envoys_formula(age: float, aggression: float, ramp: float) -> None:
    assert ramp == pytest.approx(SlowStart(window=10.0, aggression=aggression).ramp(age))


def test_an_endpoint_that_comes_back_gets_its_share_little_by_little() -> None:
    two = a_set(2, slow_start=SlowStart(window=10.0))
    fresh = two.states[0]
    two.came(fresh, 0.0)
    shares = []
    for now in (0.0, 5.0, 9.0, 10.0):
        count = 0
        for _ in range(1000):
            pick = two.choose(now, 0.5)
            assert pick is not None
            count += pick[0] is fresh
        shares.append(count)
    assert shares == sorted(shares)
    assert 80 < shares[0] < 110
    assert 300 < shares[1] < 360
    assert 500 == shares[3]


@over_seeds(60)
def test_random_histories_agree_with_a_plain_model_of_ejections(seed: int) -> None:
    """The model keeps for each endpoint when it may be asked again, and looks at nothing else."""
    dice = random.Random(seed)
    config = Ejection(consecutive=dice.choice((1, 2, 4)), distance=None, rest=5.0, max_rest=40.0, interval=10.0,
                      max_share=dice.choice((0.3, 0.5, 1.0)), panic=0.0)
    of = a_set(dice.randrange(1, 6), config)
    most = config.most_left_out(len(of.states))
    model = {each: {"streak": 0, "until": -inf, "probe": None, "times": 0, "back": 0.0, "out": False}
             for each in of.states}
    now = 0.0
    for _ in range(300):
        now += dice.choice((0.0, 0.1, 3.0))
        pick = of.choose(now, dice.random())
        assert pick is not None
        state, permit = pick
        mine = model[state]
        may = [each for each in of.states if not model[each]["out"]]
        is_probe = permit is not None and permit.state is RestState.PROBING
        if is_probe:
            assert mine["out"]
            assert now >= mine["until"]  # type: ignore[operator]
            mine["until"] = now + state.rest.config.grace  # then it is lost
        else:
            assert state in may or not may
        if dice.random() < 0.6:
            of.ejector.failed(state, permit, now)
            mine["streak"] += 1  # type: ignore[operator]
            if is_probe:
                mine["until"] = now + config.rest_s(mine["times"])  # type: ignore[arg-type]
                mine["times"] += 1  # type: ignore[operator]
                mine["back"] = now
            elif not mine["out"] and mine["streak"] >= config.consecutive:  # type: ignore[operator]
                if sum(bool(each["out"]) for each in model.values()) < most:
                    mine["times"] = max(0, mine["times"] - max(0, int((now - mine["back"]) // 10.0)))  # type: ignore
                    mine["until"] = now + config.rest_s(mine["times"])
                    mine["times"] += 1
                    mine["out"] = True
        else:
            of.ejector.succeeded(state, permit, now)
            mine["streak"] = 0
            if is_probe:
                mine["out"], mine["back"] = False, now
        of.changed()
        for each in of.states:
            assert model[each]["out"] is (each.rest.state is not RestState.AVAILABLE)
            if model[each]["out"]:
                assert model[each]["until"] == each.rest.until


def test_what_makes_no_sense_is_refused() -> None:
    for wrong in ({"consecutive": 0}, {"max_share": 2.0}, {"rest": 0.0}, {"panic": -1.0}):
        with pytest.raises(ConfigError):
            Ejection(**wrong)  # type: ignore[arg-type]


def test_of_no_endpoints_none_is_chosen() -> None:
    assert a_set(0).choose(0.0, 0.5) is None


@pytest.mark.parametrize("per_s", [7, 40, 100, 1000])
@pytest.mark.parametrize("fails_often", [False, True])
def test_while_one_is_at_rest_the_others_go_in_turn_however_often_it_is_looked(per_s: int, fails_often: bool) -> None:
    """What was found is looked at anew after a while; the turns must not begin again then."""
    many = a_set(20, Ejection(consecutive=3, distance=None, rest=1000.0, max_rest=1000.0))
    fails(many, many.states[1], 3, 0.0)
    now, got = 0.0, []
    for number in range(190):
        now += 1.0 / per_s
        if fails_often and not number % 5:
            many.changed()  # as after a failure
        pick = many.choose(now, 0.5)
        assert pick is not None
        got.append(pick[0].name)
    for begin in range(0, 190, 19):
        assert len(set(got[begin:begin + 19])) == 19, got[begin:begin + 19]
