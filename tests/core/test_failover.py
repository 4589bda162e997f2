"""Failover: the rest of one target, and one call's way through several, against a plain oracle."""

import random
from math import inf

import attrs
import pytest

from resilience import ConfigError, Failover, RetryBudget
from resilience.core.budget import Budget
from resilience.core.failover import TRANSITIONS, Rest, RestState, RestTrigger
from resilience.core.failover_state import FailoverState, shares

EU, US, ASIA = range(3)
THREE = ("eu", "us", "asia")


def rests(config):
    return [Rest(config) for _ in config.targets]


def begun(of, now=0.0, u=0.0, budget=None, avoid=()):
    state = FailoverState(of, budget, of[0].config.targets)
    state.begin(now, u, avoid)
    return state


# -- the rest of one target

def test_a_target_that_asks_for_no_pause_is_not_left_out_and_one_that_asks_for_a_little_is():
    rest = Rest(Failover(THREE, grace=30.0))
    rest.pause(0.0, 10.0)
    assert (False, True) == (rest.is_left_out, rest.calm)
    rest.pause(0.5, 10.0)
    assert (True, False, None) == (rest.is_left_out, rest.calm, rest.ask(10.4))
    assert rest.ask(10.5) is not None


def test_a_target_that_is_down_rests_for_the_grace_time_and_then_one_call_probes_it():
    rest = Rest(Failover(THREE, grace=30.0))
    rest.stop(10.0)

    assert rest.ask(39.9) is None
    probe = rest.ask(40.0)
    assert probe is not None
    assert rest.state is RestState.PROBING
    assert rest.ask(41.0) is None, "one probe at a time"

    rest.settle(probe, True, 41.0)
    assert rest.state is RestState.AVAILABLE
    assert rest.ask(41.0) is not None


def test_a_probe_that_fails_begins_another_grace_time():
    rest = Rest(Failover(THREE, grace=30.0))
    rest.stop(0.0)
    rest.settle(rest.ask(30.0), False, 31.0)

    assert rest.ask(60.9) is None
    assert rest.ask(61.0) is not None


def test_a_probe_that_says_nothing_lets_the_next_call_probe_at_once():
    rest = Rest(Failover(THREE, grace=30.0))
    rest.stop(0.0)
    rest.settle(rest.ask(30.0), None, 31.0)

    assert rest.state is RestState.RESTING
    assert rest.ask(31.0) is not None


def test_a_probe_that_hangs_is_replaced_after_the_grace_time_and_its_late_answer_decides_nothing():
    rest = Rest(Failover(THREE, grace=30.0))
    rest.stop(0.0)
    lost = rest.ask(30.0)

    assert rest.ask(59.9) is None
    again = rest.ask(60.0)
    rest.settle(lost, True, 61.0)
    assert rest.state is RestState.PROBING
    rest.settle(again, False, 62.0)
    rest.settle(lost, True, 63.0)
    assert rest.state is RestState.RESTING


def test_a_rest_and_a_pause_that_are_shortened_end_when_they_are_told_and_are_never_lengthened():
    rest = Rest(Failover(THREE, grace=30.0))
    rest.shorten(1.0, 1.0, 0.0)
    assert (RestState.AVAILABLE, False, True) == (rest.state, rest.is_left_out, rest.calm)

    rest.stop(0.0)
    rest.shorten(40.0, 40.0, 0.0)
    assert (RestState.RESTING, 30.0) == (rest.state, rest.until)
    rest.shorten(5.0, 1.0, 10.0)
    assert (RestState.RESTING, 15.0) == (rest.state, rest.until)
    probe = rest.ask(15.0)
    rest.shorten(0.5, 0.5, 15.0)
    assert RestState.PROBING is rest.state, "what is under way goes on"
    rest.settle(probe, True, 16.0)

    rest.pause(20.0, 20.0)
    rest.shorten(0.0, 30.0, 20.0)
    assert (RestState.AVAILABLE, 40.0) == (rest.state, rest.until)
    rest.shorten(0.0, 3.0, 21.0)
    assert (None, RestState.AVAILABLE) == (rest.ask(23.9), rest.ask(24.0).state)


def test_a_target_that_nobody_leaves_out_any_more_keeps_the_pause_that_it_asked_for():
    rest = Rest(Failover(THREE, grace=30.0))
    term = rest.ask(0.0)
    rest.release()
    assert term is rest.ask(0.0)
    rest.stop(0.0)
    rest.pause(5.0, 0.0)
    rest.release()
    assert (RestState.AVAILABLE, 5.0, None) == (rest.state, rest.until, rest.ask(4.9))
    assert rest.ask(5.0) is not None


def test_a_call_that_was_under_way_when_the_rest_began_does_not_end_it():
    rest = Rest(Failover(THREE, grace=30.0))
    early = rest.ask(0.0)
    rest.stop(1.0)
    rest.settle(early, True, 2.0)

    assert rest.state is RestState.RESTING


def test_a_target_that_asks_for_a_pause_is_left_out_as_long_but_no_longer_than_the_grace_time():
    rest = Rest(Failover(THREE, grace=30.0))
    rest.pause(5.0, 0.0)
    assert not rest.calm
    assert rest.ask(4.9) is None
    assert rest.ask(5.0) is not None
    assert rest.calm, "nothing is to be asked any more"

    rest.pause(86_400.0, 10.0)
    assert rest.ask(39.9) is None
    assert rest.ask(40.0) is not None


def test_in_a_forked_child_it_is_available_though_the_fork_came_amid_a_step():
    rest, seen = Rest(Failover(THREE, grace=30.0)), []
    rest.stop(0.0)

    def step():
        rest.renew()
        seen.append(rest.state)

    rest._guard.do(step)
    assert seen == [RestState.AVAILABLE]
    assert rest.calm


def test_a_call_that_finds_a_target_available_again_as_it_would_probe_it_is_one_like_all_others():
    rest = Rest(Failover(THREE, grace=30.0))
    rest.stop(0.0)

    class Meanwhile:
        def ask(self, work, *arguments):
            rest._guard = guard
            rest.clear()
            return guard.ask(work, *arguments)

    guard, rest._guard = rest._guard, Meanwhile()
    permit = rest.ask(30.0)
    assert permit.state is RestState.AVAILABLE
    rest.settle(permit, False, 31.0)
    assert rest.state is RestState.AVAILABLE


def test_with_weights_each_call_is_to_be_asked_about_from_the_change_on():
    rest = Rest(Failover(THREE))
    assert rest.calm
    rest.configure(Failover(THREE, weights=(1, 1, 1)))
    assert not rest.calm
    rest.configure(Failover(THREE))
    assert rest.calm


def test_the_table_of_transitions_is_what_a_target_does():
    rest, now, grace = Rest(Failover(THREE, grace=1.0)), 0.0, 1.0
    probe = None
    for seed in range(200):
        rng = random.Random(seed)
        rest.clear()
        now, probe = 0.0, None
        for _ in range(30):
            now += rng.choice((0.0, 0.5, 1.0, 2.0))
            before, due = rest.state, now >= rest.until
            move = rng.choice(("stop", "ask", "good", "bad", "nothing"))
            if move == "stop":
                rest.stop(now)
                expected = TRANSITIONS.get((before, RestTrigger.DOWN), before)
            elif move == "ask":
                permit = rest.ask(now)
                if before is RestState.AVAILABLE:
                    expected = before
                else:
                    assert (permit is not None) is due
                    expected = RestState.PROBING if due else before
                    probe = permit if permit is not None else probe
            elif probe is None:
                continue
            else:
                rest.settle(probe, {"good": True, "bad": False, "nothing": None}[move], now)
                trigger = {"good": RestTrigger.PROBE_PASSED, "bad": RestTrigger.PROBE_FAILED,
                           "nothing": RestTrigger.PROBE_LOST}[move]
                expected = TRANSITIONS[before, trigger] if before is RestState.PROBING else before
                probe = None
            assert rest.state is expected
            assert rest.until <= now + grace


# -- one call


def test_a_call_goes_to_the_first_target_and_after_failures_to_the_others_in_order():
    state = begun(rests(Failover(THREE)))
    assert state.target == EU
    state.after_failure(False, None, 1.0, 0.0)
    assert state.target == US
    state.after_failure(False, None, 2.0, 0.0)
    assert state.target == ASIA
    state.after_failure(False, None, 3.0, 0.0)

    assert state.target is None
    assert state.failed == 3
    assert not state.bound


def test_a_failure_alone_rests_nobody_but_what_is_down_rests():
    of = rests(Failover(THREE))
    state = begun(of)
    state.after_failure(False, None, 1.0, 0.0)
    state.after_failure(True, None, 2.0, 0.0)

    assert [RestState.AVAILABLE, RestState.RESTING, RestState.AVAILABLE] == [rest.state for rest in of]
    assert begun(of, 3.0).target == EU


def test_a_resting_target_is_the_last_resort_and_its_success_there_does_not_bring_the_calls_back():
    of = rests(Failover(("eu", "us"), grace=30.0))
    of[EU].stop(0.0)
    state = begun(of, 10.0)
    assert state.target == US
    state.after_failure(False, None, 10.0, 0.0)
    assert state.target == EU
    state.succeeded(10.0)

    assert begun(of, 11.0).target == US


def test_of_several_resting_targets_the_one_that_is_due_soonest_is_the_last_resort():
    of = rests(Failover(THREE, grace=30.0))
    for target, at in ((EU, 5.0), (US, 3.0), (ASIA, 4.0)):
        of[target].stop(at)

    assert begun(of, 6.0).target == US


def test_a_refusal_costs_neither_budget_nor_the_right_to_be_asked_again():
    budget = Budget(RetryBudget(ratio=0.0, per_second=0.0), 0.0)
    state = begun(rests(Failover(("eu", "us"), max_wait=10.0)), budget=budget)
    state.after_refusal(True, 5.0, 0.0, 0.0, None)
    assert state.target == US
    state.after_refusal(True, 2.0, 0.0, 0.0, None)

    assert state.target is None
    assert state.pause == 2.0
    state.resume(2.0, 0.0)
    assert state.target is not None


def test_a_failure_goes_on_only_if_the_budget_allows_it_and_a_target_that_refuses_then_costs_nothing():
    budget = Budget(RetryBudget(ratio=0.0, per_second=0.1), 0.0)  # one in ten seconds
    state = begun(rests(Failover(("eu", "us"))), budget=budget)
    state.after_failure(False, None, 0.0, 0.0)
    assert state.target == US
    state.after_refusal(False, None, 0.0, 0.0, None)
    assert state.target is None

    state = begun(rests(Failover(("eu", "us"))), budget=budget)
    state.after_failure(False, None, 0.0, 0.0)
    assert state.target == US, "what was paid for and not had came back"
    state.after_failure(False, None, 0.0, 0.0)

    state = begun(rests(Failover(("eu", "us"))), budget=budget)
    state.after_failure(False, None, 0.0, 0.0)
    assert state.target is None
    assert state.bound == "its budget allows no other target"


@pytest.mark.parametrize(("max_wait", "left", "pause"), [
    (None, None, 0.0), (None, 3.0, 2.0), (None, 2.0, 0.0), (1.9, None, 0.0), (2.0, None, 2.0), (2.0, 1.0, 0.0),
    (0.0, 10.0, 0.0)])
def test_when_all_refuse_the_call_waits_for_the_soonest_if_deadline_and_max_wait_allow_it(max_wait, left, pause):
    state = begun(rests(Failover(("eu", "us"), max_wait=max_wait)))
    state.after_refusal(True, 5.0, 0.0, 0.0, left)
    state.after_refusal(False, 2.0, 0.0, 0.0, left)

    assert state.pause == pause


def test_a_call_does_not_wait_when_nobody_says_until_when_or_when_a_target_has_failed():
    state = begun(rests(Failover(("eu", "us"), max_wait=10.0)))
    state.after_refusal(False, None, 0.0, 0.0, None)
    state.after_refusal(False, None, 0.0, 0.0, None)
    assert state.pause == 0.0

    state = begun(rests(Failover(("eu", "us"), max_wait=10.0)))
    state.after_failure(False, None, 0.0, 0.0)
    state.after_refusal(False, 1.0, 0.0, 0.0, None)
    assert state.pause == 0.0


def test_all_waits_of_a_call_together_are_no_longer_than_max_wait():
    state = begun(rests(Failover(("eu", "us"), max_wait=3.0)))
    now, waited = 0.0, 0.0
    for _ in range(1000):
        state.after_refusal(False, 0.0, now, 0.0, None)
        state.after_refusal(False, 0.0, now, 0.0, None)
        if not state.pause:
            break
        waited += state.pause
        now += state.pause
        state.resume(now, 0.0)

    assert 2.9 < waited <= 3.0 + 1e-9


def test_no_time_left_before_the_callers_deadline_ends_the_call():
    state = begun(rests(Failover(("eu", "us"))))
    state.after_failure(False, None, 0.0, 0.0, 0.0)

    assert state.target is None
    assert "deadline" in state.bound


def test_the_attempt_of_a_hedge_goes_to_another_target_if_one_is_available():
    of = rests(Failover(("eu", "us")))
    assert begun(of, avoid=(EU,)).target == US
    of[US].stop(0.0)
    assert begun(of, avoid=(EU,)).target == EU, "rather than to one that is down"


@pytest.mark.parametrize(("weights", "expected"), [((3, 1, 0), (0.75, 0.25, 0.0)), ((1, 1, 2), (0.25, 0.25, 0.5))])
def test_calls_are_shared_out_by_weight(weights, expected):
    of = rests(Failover(THREE, weights=weights))
    found = [0, 0, 0]
    for step in range(1000):
        found[begun(of, u=step / 1000).target] += 1

    assert [share * 1000 for share in expected] == found


def test_the_share_of_a_resting_target_goes_to_the_others_by_their_weights():
    of = rests(Failover(THREE, weights=(2, 1, 1)))
    of[EU].stop(0.0)
    found = [0, 0, 0]
    for step in range(1000):
        found[begun(of, 1.0, step / 1000).target] += 1

    assert found == [0, 500, 500]


def test_a_target_without_weight_is_used_when_no_other_is_left():
    state = begun(rests(Failover(("eu", "us"), weights=(1, 0))), u=0.9999)
    assert state.target == EU
    state.after_failure(False, None, 0.0, 0.9999)
    assert state.target == US


def test_a_probe_that_finds_its_target_busy_says_nothing_and_one_that_fails_begins_another_rest():
    of = rests(Failover(("eu", "us"), grace=30.0))
    of[EU].stop(0.0)
    state = begun(of, 30.0)
    assert state.target == EU
    state.after_failure(False, 0.0, 31.0, 0.0)
    assert (of[EU].state, of[EU].until) == (RestState.RESTING, 31.0)

    state = begun(of, 31.0)
    assert state.target == EU
    state.after_failure(False, None, 32.0, 0.0)
    assert (of[EU].state, of[EU].until) == (RestState.RESTING, 62.0)


def test_a_refusal_rests_its_target_only_if_its_circuit_is_open():
    of = rests(Failover(("eu", "us"), grace=30.0))
    begun(of).after_refusal(False, 1.0, 0.0, 0.0, None)
    assert of[EU].state is RestState.AVAILABLE
    begun(of).after_refusal(True, 1.0, 0.0, 0.0, None)
    assert of[EU].state is RestState.RESTING

    probe = begun(of, 30.0)
    assert probe.target == EU
    probe.after_refusal(True, 1.0, 30.0, 0.0, None)
    assert of[EU].until == 60.0
    probe = begun(of, 60.0)
    probe.after_refusal(False, 1.0, 60.0, 0.0, None)
    assert of[EU].until == 60.0, "a full bulkhead says nothing about the target"


def spent(budget):
    """How much is left to withdraw, which this takes."""
    left = 0
    while budget.withdraw(0.0):
        left += 1
    return left


def test_each_target_that_runs_the_function_after_a_failure_is_paid_for_once_and_no_other_is():
    ten = RetryBudget(ratio=0.0, per_second=1.0, window=10.0)
    for steps, paid in ((["failed"], 1), (["failed", "failed"], 2), (["failed", "failed", "failed"], 2),
                        (["refused", "failed"], 1), (["refused", "refused", "failed"], 0),
                        (["failed", "refused"], 1), (["failed", "refused", "refused"], 0),
                        (["failed", "failed", "refused"], 1), (["failed", "refused", "failed"], 1)):
        budget = Budget(ten, 0.0)
        state = begun(rests(Failover(THREE)), budget=budget)
        for step in steps:
            if step == "failed":
                state.after_failure(False, None, 0.0, 0.0, 1.0)
            else:
                state.after_refusal(False, None, 0.0, 0.0, 1.0)
        state.give_back() if state.target is None else None
        state.give_back() if state.target is None else None
        assert 10 - spent(budget) == paid, steps


def test_before_the_first_call_there_is_no_target_and_nothing_to_settle_or_to_give_back():
    budget = Budget(RetryBudget(ratio=0.0, per_second=1.0, window=10.0), 0.0)
    assert budget.withdraw(0.0)
    state = FailoverState(rests(Failover(THREE)), budget, THREE)
    assert state.target is None
    state.left(0.0)
    state.give_back()
    assert spent(budget) == 9


def test_nothing_but_the_end_of_the_targets_is_in_the_way_when_the_last_fails_after_others_refused():
    budget = Budget(RetryBudget(ratio=0.0, per_second=0.0), 0.0)
    state = begun(rests(Failover(("eu", "us"))), budget=budget)
    state.after_refusal(False, None, 0.0, 0.0, 1.0)
    state.after_failure(False, None, 0.0, 0.0, 1.0)
    assert (state.target, state.bound) == (None, "")


def test_if_all_targets_are_to_be_avoided_they_are_asked_in_order_all_the_same():
    of = rests(Failover(THREE, grace=30.0))
    of[EU].stop(0.0)
    assert begun(of, 30.0, avoid=(EU, US, ASIA)).target == EU
    assert of[EU].state is RestState.PROBING


def test_what_rounding_leaves_over_goes_to_the_target_with_the_largest_share():
    assert begun(rests(Failover(THREE, weights=(3, 0.2, 0.7))), u=1.0 - 2.0 ** -53).target == EU


@pytest.mark.parametrize(("max_wait", "left", "bound"), [
    (0.0, None, ""), (1.0, None, "max_wait (1 s) is too short to wait for one"), (None, None, ""),
    (None, 1.0, "the caller's deadline leaves no time to wait for one")])
def test_what_is_in_the_way_of_a_wait_is_said(max_wait, left, bound):
    state = begun(rests(Failover(("eu", "us"), max_wait=max_wait)))
    for _ in range(2):
        state.after_refusal(False, 2.0, 0.0, 0.0, left)

    assert (state.target, state.pause, state.bound) == (None, 0.0, bound)


def test_a_refusal_that_ends_now_is_waited_for_five_milliseconds():
    state = begun(rests(Failover(("eu", "us"), max_wait=1.0)))
    for _ in range(2):
        state.after_refusal(False, 0.0, 0.0, 0.0, None)

    assert state.pause == 0.005


def test_of_targets_that_all_have_no_weight_any_more_the_first_is_taken():
    state = begun(rests(Failover(THREE, weights=(1, 0, 0))))
    state.after_failure(False, None, 0.0, 0.5)
    assert state.target == US
    state.after_failure(False, None, 0.0, 0.5)
    assert state.target == ASIA


# -- histories


class PlainCall:
    def __init__(self):
        self.tried, self.refused, self.at, self.probe = set(), set(), None, None
        self.since = 0.0  # at this target


class Plain:
    """The rules once more: slow, in one place, with nothing kept that can be worked out."""

    def __init__(self, n, grace):
        self.n, self.grace = n, grace
        self.resting = [None] * n  # None, or [until, the call that probes, since when]
        self.paused_until = [-inf] * n

    def choose(self, call, now):
        left = [i for i in range(self.n) if i not in call.tried | call.refused]
        call.at = call.probe = None
        call.since = now
        for i in left:
            if now < self.paused_until[i]:
                continue
            if self.resting[i] is None:
                call.at = i
                return
            if now >= self.resting[i][0]:
                self.resting[i] = [now + self.grace, call, now]
                call.at = call.probe = i
                return
        if left:
            call.at = min(left, key=lambda i: max(self.paused_until[i],
                                                  -inf if self.resting[i] is None else self.resting[i][0]))

    def end(self, call, how, now, asked=None):
        i, rest = call.at, self.resting[call.at]
        if how.startswith("broke"):
            probes = rest is not None and rest[1] is not None
            if call.since >= rest[2] if probes else how == "broke: down":
                self.resting[i] = rest = [now + self.grace, None]
        if call.probe == i and rest is not None and rest[1] is call:
            if how == "good":
                self.resting[i] = None
            elif how in ("failed", "down", "refused: down"):
                self.resting[i] = [now + self.grace, None]
            else:
                self.resting[i] = [now, None]
        if how in ("down", "refused: down") and (self.resting[i] is None or self.resting[i][1] is None):
            self.resting[i] = [now + self.grace, None]
        if how == "busy" and asked is not None:
            self.paused_until[i] = max(self.paused_until[i], now + min(asked, self.grace))
        (call.refused if how.startswith("refused") else call.tried).add(i)
        call.at = call.probe = None


def test_random_histories_of_overlapping_calls_are_those_of_the_plain_rules():
    for seed in range(1500):
        rng = random.Random(seed)
        n, grace = rng.choice((2, 3, 4)), rng.choice((1.0, 4.0))
        of = rests(Failover(tuple(map(str, range(n))), grace=grace))
        plain, now, calls = Plain(n, grace), 0.0, []
        for _ in range(60):
            now += rng.choice((0.0, 0.25, 1.0, 3.0))
            if not calls or rng.random() < 0.3:
                one = PlainCall()
                plain.choose(one, now)
                calls.append((begun(of, now), one))
            else:
                state, one = rng.choice(calls)
                how = rng.choice(("good", "failed", "down", "busy", "refused", "refused: down", "left", "broke",
                                  "broke: down"))
                asked = rng.choice((0.0, 0.5, 10.0)) if how == "busy" else None
                plain.end(one, how, now, asked)
                if how.startswith("broke"):
                    of[state.target].broke_off(how == "broke: down", one.since, now)
                    state.left(now)
                elif how == "good":
                    state.succeeded(now)
                elif how == "left":
                    state.left(now)
                elif how.startswith("refused"):
                    state.after_refusal(how == "refused: down", 1.0, now, 0.0, None)
                else:
                    state.after_failure(how == "down", asked, now, 0.0)
                ends = how in ("good", "left", "broke", "broke: down")
                if not ends:
                    plain.choose(one, now)
                if ends or one.at is None:
                    calls.remove((state, one))
                assert len(one.tried) <= n
            for state, one in calls:
                assert state.target == one.at, seed
            for rest, known in zip(of, plain.resting, strict=True):
                expected = RestState.AVAILABLE if known is None else \
                    RestState.RESTING if known[1] is None else RestState.PROBING
                assert rest.state is expected, seed


# -- configuration


@pytest.mark.parametrize(("wrong", "option"), [
    ({"targets": ()}, "targets"), ({"targets": ("eu", "eu")}, "targets"), ({"targets": "eu"}, "targets"),
    ({"targets": ("eu", "")}, "targets"), ({"targets": ("eu", "us"), "argument": "not a name"}, "argument"),
    ({"targets": ("eu", "us"), "argument": "class"}, "argument"), ({"targets": ("eu", "us"), "grace": 0}, "grace"),
    ({"targets": ("eu", "us"), "weights": (1,)}, "weights"), ({"targets": ("eu", "us"), "weights": (0, 0)}, "weights"),
    ({"targets": tuple(f"t{n}" for n in range(101))}, "targets"), ({"targets": ("eu", "us"), "weights": (1, inf)}, "weights"),
    ({"targets": ("eu", "us"), "weights": (-1, 2)}, "weights"), ({"targets": ("eu", "us"), "max_wait": -1}, "max_wait"),
    ({"targets": ("eu", "us"), "budget": 3}, "budget"), ({"targets": ("eu", "us"), "grce": 3}, "grce")])
def test_a_setting_that_cannot_be_is_named(wrong, option):
    with pytest.raises(ConfigError) as caught:
        Failover(**wrong)

    assert caught.value.option == option


def test_a_call_under_way_while_its_failover_is_declared_anew_goes_on_among_the_targets_it_began_with():
    of = rests(Failover(THREE, weights=(1, 1, 1)))
    state = begun(of)
    for each in of:
        each.configure(Failover(("asia", "africa"), weights=(2, 5)))
    state.after_failure(True, None, 1.0, 0.0)
    assert ASIA == state.target, "the only one that has a share"
    state.after_failure(True, None, 1.0, 0.0)
    assert US == state.target
    assert (0.0, 0.0, 2) == tuple(shares(of[0].config, THREE))
    assert None is shares(Failover(THREE), ("eu",))


def test_there_may_be_a_hundred_targets():
    assert len(Failover(tuple(f"t{n}" for n in range(100))).targets) == 100


def test_there_may_be_one_target_alone_and_none_is_no_failover():
    assert Failover(("eu",)).targets == ("eu",)
    with pytest.raises(ConfigError, match="targets must be 1 to 100 different names"):
        Failover(())


def test_weights_of_other_classes_of_numbers_are_kept_as_plain_ones():
    class Share(float):
        """As numpy's are."""

    assert [float, int] == [type(each) for each in Failover(("eu", "us"), weights=(Share(0.5), 1)).weights]


def test_the_schema_says_of_an_argument_that_it_is_not_empty():
    assert attrs.fields(Failover).argument.validator.json_schema == {"minLength": 1}


def test_the_schema_says_of_targets_and_weights_what_a_schema_can_say():
    fields = attrs.fields(Failover)
    assert fields.targets.validator.json_schema == {
        "minItems": 1, "maxItems": 100, "uniqueItems": True, "items": {"minLength": 1}}
    assert fields.weights.validator.json_schema == {"items": {"minimum": 0}, "contains": {"exclusiveMinimum": 0}}
