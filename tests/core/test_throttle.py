"""The throttle against its formula, recomputed from a plain list of what happened."""

import math
import pickle
import random

import attrs
import pytest

from resilience.core.outcome import CANCELLED, CUT_SHORT, FAILURE, IGNORED, REJECTED, SUCCESS, TIMEOUT
from resilience.core.throttle import SLICES, Throttle, Throttler, rejection_rate
from resilience.errors import ConfigError, ThrottledError
from tests.core.hammer import hammer
from tests.interrupts import interrupted
from tests.seeds import over_seeds

NOT_A_NUMBER = ["1", True, [], None, math.nan, math.inf, 1j]
TABLE = [
    ("k", [0, 0.99, -1, 1001, *NOT_A_NUMBER], "at least 1 and at most 1000"),
    ("window", [0, -1, 0.09, *NOT_A_NUMBER], "at least 0.1"),
    ("max_rejection_rate", [0, -0.1, 1, 2, *NOT_A_NUMBER], "above 0 and at most 0.999"),
    ("min_calls", [0, -1, 1.5, *NOT_A_NUMBER], "whole number at least 1"),
    ("count_failures", [0, 1, None, "no"], "True or False"),
]


@pytest.mark.parametrize(("option", "value", "words"), [(option, value, words) for option, values, words in TABLE
                                                        for value in values])
def test_a_bad_value_is_refused_by_name_and_range(option, value, words):
    with pytest.raises(ConfigError) as caught:
        Throttle(**{option: value})

    assert option == caught.value.option
    assert words in str(caught.value)


def test_every_setting_has_its_row_of_bad_values():
    assert [field.name for field in attrs.fields(Throttle)] == [row[0] for row in TABLE]


def test_a_configuration_is_a_frozen_value():
    config = Throttle(k=1.5)

    assert config == pickle.loads(pickle.dumps(config)) == attrs.evolve(config)
    assert hash(config) == hash(attrs.evolve(config))


def test_the_rate_is_the_books():
    config = Throttle(max_rejection_rate=0.99)

    assert 0.0 == rejection_rate(config, 100, 0) == rejection_rate(config, 100, 100) == rejection_rate(config, 0, 9)
    assert (100 - 2 * 20) / 101 == rejection_rate(config, 20, 80)
    assert 100 / 101 == rejection_rate(Throttle(max_rejection_rate=0.999), 0, 100)
    assert 0.99 == rejection_rate(config, 0, 10_000)
    assert 10 / 11 == rejection_rate(config, 0, 10)
    assert (100 - 1.1 * 80) / 101 == rejection_rate(Throttle(k=1.1), 80, 20)


def throttler(**options):
    return Throttler(Throttle(**options), key="k", now=0.0)


def settle(machine, outcome, times, now):
    for _ in range(times):
        machine.settle(None, outcome, now, now)


def test_it_refuses_at_random_by_the_rate():
    machine = throttler()
    settle(machine, SUCCESS, 20, 1.0)
    settle(machine, TIMEOUT, 79, 1.0)
    assert pytest.approx((99 - 40) / 100) == machine.rate
    machine.acquire(1.0, 0.59)
    with pytest.raises(ThrottledError) as caught:
        machine.acquire(1.0, 0.589)

    assert "k" == caught.value.key
    assert (20, 80) == machine.sums(1.0)  # what was refused here was requested too
    assert (100 - 40) / 101 == machine.rate


@pytest.mark.parametrize("outcome", [REJECTED, IGNORED, CANCELLED, CUT_SHORT])
def test_what_says_nothing_about_the_target_is_not_counted(outcome):
    machine = throttler()
    settle(machine, outcome, 100, 1.0)

    assert (0, 0) == machine.sums(1.0)


@pytest.mark.parametrize(("count_failures", "expected"), [(True, (0, 30)), (False, (0, 10))])
def test_failures_count_unless_they_are_none_of_its_business(count_failures, expected):
    machine = throttler(count_failures=count_failures)
    settle(machine, FAILURE, 20, 1.0)
    settle(machine, TIMEOUT, 10, 1.0)

    assert expected == machine.sums(1.0)


def test_once_the_window_has_passed_everything_is_sent_again():
    machine = throttler(window=60.0)
    settle(machine, TIMEOUT, 100, 1.0)
    assert 0.9 == machine.rate
    machine.acquire(61.0, 0.0)

    assert 0.0 == machine.rate


def recovery_in_windows(max_rejection_rate, seed):
    machine, rng, now = throttler(window=10.0, max_rejection_rate=max_rejection_rate), random.Random(seed), 0.0
    while now < 30.0 or machine.rate > 0.1:  # ten calls a second; the target is down for 30 s
        now += 0.1
        try:
            machine.acquire(now, rng.random())
        except ThrottledError:
            continue
        machine.settle(None, SUCCESS if now > 30.0 else TIMEOUT, now, now)
    return (now - 30.0) / 10.0


def test_a_target_that_is_back_is_found_out_the_sooner_the_more_goes_through():
    means = [sum(recovery_in_windows(share, seed) for seed in range(8)) / 8 for share in (0.8, 0.9, 0.99)]

    assert sorted(means) == means
    assert means[1] < 2.0 < means[2]


def test_configuring_keeps_the_history():
    machine = throttler()
    settle(machine, TIMEOUT, 100, 1.0)
    machine.configure(Throttle(max_rejection_rate=0.5, window=60.0), 1.0)

    assert (0.5, (0, 100)) == (machine.rate, machine.sums(1.0))
    assert [(0, 100), (0, 0)] == [machine.sums(now) for now in (59.0, 62.0)]


def test_renewed_it_knows_of_nothing():
    machine = throttler()
    settle(machine, TIMEOUT, 100, 1.0)
    machine.renew(1.0)

    assert (0.0, (0, 0)) == (machine.rate, machine.sums(1.0))


@over_seeds(150)
def test_any_history_refuses_as_the_formula_over_a_plain_list_does(seed):
    rng = random.Random(seed)
    config = Throttle(k=rng.choice([1.0, 1.1, 2.0, 3.0]), window=rng.choice([7.5, 120.0]), min_calls=rng.choice([1, 10]),
                      max_rejection_rate=rng.choice([0.5, 0.9, 0.999]), count_failures=rng.random() < 0.7)
    machine, log, now, slice_s, pending = Throttler(config, key="k", now=0.0), [], 0.0, config.window / SLICES, []
    good = rng.random()
    for _ in range(500):
        now += rng.choice([0.0, 0.0078125, 0.125, 3.0]) * slice_s  # sums of these are exact
        if rng.random() < 0.01:
            good = rng.random()
        running = int(now // slice_s)

        def counts(running=running):
            inside = [accepted for at, accepted in log if at > running - SLICES]
            return sum(inside), len(inside) - sum(inside)

        if rng.random() < 0.5:
            u = rng.random()
            stale = machine.rate
            refused = u < rejection_rate(config, *counts()) and u < stale
            try:
                machine.acquire(now, u)
                assert not refused
                pending.append(now)
            except ThrottledError:
                assert refused
                log.append((running, False))
        elif pending:
            started = pending.pop(rng.randrange(len(pending)))  # late and out of order
            outcome = SUCCESS if rng.random() < good else rng.choice(
                [FAILURE, TIMEOUT, REJECTED, IGNORED, CANCELLED, CUT_SHORT])
            machine.settle(None, outcome, started, now)
            if outcome in (SUCCESS, TIMEOUT) or (outcome == FAILURE and config.count_failures):
                log.append((running, outcome == SUCCESS))
        if rng.random() < 0.1:
            assert counts() == machine.sums(now)


def test_threads_lose_no_request():
    machine, refused = throttler(window=1000.0), []

    def work():
        rng, mine = random.Random(), 0
        for number in range(1500):
            try:
                machine.acquire(number * 0.01, rng.random())
            except ThrottledError:
                mine += 1
                continue
            machine.settle(None, SUCCESS if number % 1500 < 500 else TIMEOUT, 0.0, number * 0.01)
        refused.append(mine)

    hammer(work)

    assert sum(refused) > 0
    assert 6000 == sum(machine.sums(15.0))


def test_a_signal_handler_that_calls_in_at_work_is_counted_afterwards():
    machine = throttler()
    settle(machine, TIMEOUT, 20, 1.0)

    class Tripwire:
        def __init__(self, window):
            self.window, self.armed = window, True

        def add(self, *arguments):
            if self.armed:
                self.armed = False
                machine.settle(None, TIMEOUT, 1.0, 1.0)
                with pytest.raises(ThrottledError):
                    machine.acquire(1.0, 0.0)
            self.window.add(*arguments)

        def __getattr__(self, name):
            return getattr(self.window, name)

    machine._window = Tripwire(machine._window)
    machine.settle(None, TIMEOUT, 1.0, 1.0)

    assert (0, 23) == machine.sums(1.0)


def test_an_interrupt_at_any_point_leaves_it_working():
    machine = throttler(max_rejection_rate=0.5)
    settle(machine, TIMEOUT, 20, 1.0)

    def work():
        machine.settle(None, TIMEOUT, 1.0, 1.0)
        try:
            machine.acquire(1.0, 0.1)
        except ThrottledError:
            pass

    for point in interrupted(work):
        before = sum(machine.sums(1.0))
        settle(machine, TIMEOUT, 1, 1.0)
        assert before + 1 == sum(machine.sums(1.0)), point


def test_a_call_too_many_in_shadow_mode_is_told_sent_and_counted_by_its_answer():
    machine, told = throttler(), []
    machine.shadow = lambda: told.append(machine.sums(1.0))
    settle(machine, TIMEOUT, 20, 1.0)
    machine.acquire(1.0, 0.5)
    assert [(0, 20)] == told
    settle(machine, TIMEOUT, 1, 1.0)

    assert (0, 21) == machine.sums(1.0)
    machine.acquire(1.0, 0.95)
    assert [(0, 20)] == told


def test_what_is_cleared_is_forgotten_whether_or_not_it_was_only_tallied_yet():
    machine = throttler()
    settle(machine, SUCCESS, 3, 1.0)
    settle(machine, TIMEOUT, 100, 1.0)
    machine.clear(1.0)
    assert (0.0, (0, 0)) == (machine.rate, machine.sums(1.0))
    settle(machine, SUCCESS, 3, 1.0)
    machine.clear(1.0)
    assert (0, 0) == machine.sums(1.0)


def test_acceptances_are_tallied_only_while_nothing_was_refused_and_the_slice_runs():
    machine = throttler(window=60.0)
    settle(machine, SUCCESS, 5, 0.5)
    settle(machine, SUCCESS, 5, 1.0)  # in the next slice
    assert (10, 0) == machine.sums(1.0)
    assert (5, 0) == machine.sums(60.5)


def test_a_tally_from_before_a_change_keeps_its_time():
    machine = throttler(window=60.0)
    settle(machine, SUCCESS, 5, 0.0)
    settle(machine, SUCCESS, 5, 0.0)
    machine.configure(Throttle(window=60.0), 30.0)

    assert (10, 0) == machine.sums(59.5)
    assert (0, 0) == machine.sums(61.0)


def test_a_child_that_was_forked_in_the_midst_of_a_change_is_not_kept_waiting():
    machine, inside = throttler(), []

    def forked():
        machine.renew(1.0)
        machine.settle(None, TIMEOUT, 1.0, 1.0)
        inside.append(machine.sums(1.0))

    machine._guard.do(forked)
    assert [(0, 1)] == inside


def test_a_call_within_a_change_is_refused_by_the_rate_that_was_and_told_in_shadow_mode():
    machine, told = throttler(), []
    settle(machine, TIMEOUT, 20, 1.0)

    def within():
        with pytest.raises(ThrottledError):
            machine.acquire(1.0, 0.5)
        machine.shadow = lambda: told.append(1)
        machine.acquire(1.0, 0.5)
        assert (0, 20) == machine.sums(1.0)

    machine._guard.do(within)
    assert [1] == told
    assert (0, 21) == machine.sums(1.0)  # in shadow the call is sent, and counted by its answer


def test_while_the_rate_is_zero_nobody_is_refused_whatever_the_number():
    machine = throttler(window=60.0)
    settle(machine, SUCCESS, 40, 1.0)
    settle(machine, TIMEOUT, 40, 30.0)
    assert 0.0 == machine.rate
    machine.acquire(62.0, 0.0)  # the acceptances have left the window, and nobody has weighed it since


def test_acceptances_lower_the_rate_at_once():
    machine = throttler()
    settle(machine, TIMEOUT, 20, 1.0)
    assert 0.9 == machine.rate
    settle(machine, SUCCESS, 15, 1.0)
    assert (35 - 30) / 36 == machine.rate
    settle(machine, SUCCESS, 5, 1.0)
    assert 0.0 == machine.rate


def test_what_another_thread_tallied_just_before_a_failure_counts_for_the_next_call():
    machine = throttler()
    settle(machine, TIMEOUT, 20, 1.0)
    for _ in range(10):
        machine._tally.bump()
    machine.acquire(1.0, 0.5)

    assert (30 - 20) / 31 == machine.rate


def test_an_acceptance_waits_for_nobody_while_nothing_was_refused():
    machine, put_off = throttler(), []
    settle(machine, SUCCESS, 1, 1.0)

    def within():
        settle(machine, SUCCESS, 1, 1.5)
        put_off.append(machine._guard._late)

    machine._guard.do(within)
    assert [()] == put_off
    assert (2, 0) == machine.sums(1.5)
