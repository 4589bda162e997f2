"""The estimator of an adaptive limit, step by step: what each reading makes of limit, base and phase."""

import attrs
import pytest

from resilience.core.adaptive import AdaptiveLimit
from resilience.core.limit_estimator import LimitEstimator, Phase, Reading, aimd, gradient, vegas

ALL = 10**6  # most in flight: more than half of any limit


def estimator(*, probe_every=1000.0, **options):
    options = {"initial": 100, "smoothing": 1.0, **options}
    return LimitEstimator(AdaptiveLimit(probe_every=probe_every, **options), 0.0)


def read(machine, took, at, *, lost=0.0, most=ALL, span=0.1):
    machine.read(Reading(median_s=took, lost=lost, most=most, span_s=span), at)
    return machine.limit


def warm(**options):
    """One that has read a base of 0.1 s at 0.2 s on the clock."""
    machine = estimator(**options)
    read(machine, 0.1, 0.1)
    read(machine, 0.1, 0.2)
    assert 0.1 == machine.base_s
    return machine


def test_it_begins_at_the_first_limit_and_knows_nothing():
    machine = estimator()

    assert (100.0, None, 0.0, Phase.RAMP, 0.1) == (machine.limit, machine.base_s, machine.rtt_s, machine.phase, machine.span_s)


def test_the_first_reading_only_says_how_long_calls_take():
    machine = estimator()

    assert 100.0 == read(machine, 0.3, 0.1, lost=1.0)
    assert (None, 0.3, 0.6) == (machine.base_s, machine.rtt_s, machine.span_s)


def test_calls_that_take_no_time_are_taken_to_take_a_millionth_of_a_second():
    machine = estimator()
    read(machine, 0.0, 0.1)

    assert 1e-6 == machine.rtt_s


@pytest.mark.parametrize(("algorithm", "smoothing", "limit"), [
    ("gradient", 1.0, 164.142), ("gradient", 0.5, 182.071), ("vegas", 1.0, 183.333), ("vegas", 0.5, 191.667),
])
def test_each_algorithm_is_followed_under_its_own_name(algorithm, smoothing, limit):
    machine = warm(algorithm=algorithm, smoothing=smoothing)
    assert 200.0 == machine.limit

    assert pytest.approx(limit, abs=0.001) == read(machine, 0.2, 0.3)  # twice as long as the base
    assert Phase.CRUISE is machine.phase


def test_aimd_knows_no_base_and_goes_half_of_the_way_to_where_calls_were_lost():
    machine = estimator(algorithm="aimd")
    read(machine, 0.1, 0.1)
    assert 200.0 == read(machine, 0.1, 0.2)
    assert 100.0 == read(machine, 0.1, 0.3, lost=1.0)
    assert Phase.RAMP is machine.phase
    assert [150.0, 175.0] == [read(machine, 5.0, 0.4), read(machine, 5.0, 0.5)]

    assert (None, Phase.CRUISE) == (machine.base_s, machine.phase)


def test_aimd_forgets_the_base_of_another_algorithm():
    machine = warm()
    machine.config = attrs.evolve(machine.config, algorithm="aimd")
    read(machine, 0.1, 0.3)

    assert None is machine.base_s


@pytest.mark.parametrize(("took", "phase"), [(0.149, Phase.RAMP), (0.151, Phase.CRUISE)])
def test_doubling_ends_when_calls_take_longer_than_is_tolerated(took, phase):
    machine = warm()
    read(machine, took, 0.3)

    assert phase is machine.phase
    assert (machine.limit == 400.0) == (phase is Phase.RAMP)


def test_calls_that_take_exactly_as_long_as_is_tolerated_are_no_slower():
    machine = warm(tolerance=2)

    assert 400.0 == read(machine, 0.2, 0.3)


@pytest.mark.parametrize(("most", "limit"), [(99, 200.0), (100, 400.0)])
def test_a_limit_that_was_not_half_used_stays(most, limit):
    machine = warm()

    assert limit == read(machine, 0.1, 0.3, most=most)


@pytest.mark.parametrize(("lost", "limit"), [(0.05, 400.0), (0.06, 180.0), (0.1, 180.0), (0.2, 180.0), (0.5, 150.0), (1.0, 100.0)])
def test_losses_take_half_of_their_share_and_at_least_a_tenth(lost, limit):
    machine = warm()

    assert pytest.approx(limit) == read(machine, 0.1, 0.3, lost=lost)


def test_after_losses_it_doubles_up_to_half_of_where_they_came():
    machine = warm()
    assert 100.0 == read(machine, 0.1, 0.3, lost=1.0)
    machine.config = attrs.evolve(machine.config, initial=20, max_limit=20)
    assert 20.0 == read(machine, 0.1, 0.4, most=0)
    machine.config = attrs.evolve(machine.config, max_limit=1000)

    assert [40.0, 80.0, 100.0] == [read(machine, 0.1, 0.5), read(machine, 0.1, 0.6), read(machine, 0.1, 0.7)]
    assert Phase.RAMP is machine.phase
    assert 110.0 == read(machine, 0.1, 0.8)  # the gradient's root
    assert Phase.CRUISE is machine.phase


def test_the_limit_keeps_its_bounds():
    machine = warm(min_limit=80, max_limit=150)
    assert 150.0 == machine.limit

    assert [135.0, 80.0] == [read(machine, 0.1, 0.3, lost=0.1), read(machine, 0.1, 0.4, lost=1.0)]


@pytest.mark.parametrize(("took", "base"), [(0.08, 0.1), (0.07, 0.081036), (0.05, 0.068394), (0.01, 0.068394)])
def test_the_base_sinks_towards_what_is_clearly_less_by_half_at_most(took, base):
    machine = warm()
    read(machine, took, 2.3, span=2.0)  # one time constant: 63 % of the way

    assert pytest.approx(base, abs=1e-6) == machine.base_s


def test_the_base_sinks_though_the_limit_is_not_half_used():
    machine = warm()
    read(machine, 0.05, 2.3, span=2.0, most=0)

    assert pytest.approx(0.068394, abs=1e-6) == machine.base_s


def test_the_first_probe_comes_after_a_tenth_of_the_time_and_the_doubling_goes_on_after_it():
    machine = warm(probe_every=10.0, initial=64, max_limit=64)
    read(machine, 0.1, 0.99)
    assert (64.0, Phase.RAMP) == (machine.limit, machine.phase)
    assert 32.0 == read(machine, 0.1, 1.0)
    assert Phase.PROBE is machine.phase
    assert 64.0 == read(machine, 0.09, 1.1)

    assert (0.09, Phase.RAMP) == (machine.base_s, machine.phase)


def test_a_probe_halves_again_while_that_shortens_the_calls():
    machine = warm(probe_every=10.0, initial=64, max_limit=64)
    read(machine, 0.1, 1.0)
    assert [16.0, 8.0] == [read(machine, 0.06, 1.1), read(machine, 0.04, 1.2)]
    assert (0.1, Phase.PROBE) == (machine.base_s, machine.phase)
    assert 64.0 == read(machine, 0.035, 1.3)

    assert 0.035 == machine.base_s


def test_a_probe_does_not_halve_below_the_least_limit():
    machine = warm(probe_every=10.0, initial=64, max_limit=64, min_limit=20)
    read(machine, 0.1, 1.0)
    assert 20.0 == read(machine, 0.06, 1.1)
    assert 64.0 == read(machine, 0.01, 1.2)

    assert 0.01 == machine.base_s


def test_a_probe_from_a_limit_that_cruised_goes_on_cruising():
    machine = warm(probe_every=10.0)
    read(machine, 0.2, 0.3)
    assert Phase.CRUISE is machine.phase
    was = machine.limit
    assert was / 2 == read(machine, 0.2, 1.0)
    read(machine, 0.2, 1.1)

    assert (was, Phase.CRUISE, 0.2) == (machine.limit, machine.phase, machine.base_s)


@pytest.mark.parametrize(("took", "due"), [(0.1, 11.1), (0.5, 51.1)])  # ten seconds, or a hundred calls' time
def test_the_next_probe_is_due_after_its_time_or_a_hundred_calls(took, due):
    machine = warm(probe_every=10.0, initial=64, max_limit=64)
    read(machine, took, 1.0)
    read(machine, took, 1.1)
    read(machine, took, due - 0.01)
    assert Phase.PROBE is not machine.phase
    read(machine, took, due + 0.01)

    assert Phase.PROBE is machine.phase


@pytest.mark.parametrize(("took", "base"), [(0.12, 0.11), (0.08, 0.09), (0.04, 0.075), (0.15, 0.15), (0.3, 0.2)])
def test_a_second_probe_is_averaged_with_the_first_unless_calls_became_slower_and_then_doubles_the_base_at_most(took, base):
    machine = warm(probe_every=10.0, initial=64, max_limit=64)
    read(machine, 0.1, 1.0)
    read(machine, 0.1, 1.1)
    read(machine, took, 11.2, span=0.0)
    assert (32.0, Phase.PROBE) == (machine.limit, machine.phase)
    assert 64.0 == read(machine, took, 11.3)

    assert pytest.approx(base) == machine.base_s


def test_a_second_probe_halves_on_while_calls_are_slower_than_the_base_and_that_shortens_them():
    machine = warm(probe_every=10.0, initial=64, max_limit=64)
    read(machine, 0.1, 1.0)
    read(machine, 0.1, 1.1)
    read(machine, 0.8, 11.2)
    limit = machine.limit
    assert [limit / 2, limit / 4] == [read(machine, 0.4, 11.3), read(machine, 0.2, 11.4)]
    assert 2 * limit == read(machine, 0.12, 11.5)  # as long as is expected: there is no need to go on

    assert pytest.approx(0.11) == machine.base_s


def test_losses_end_a_probe_and_lower_what_the_limit_was_before():
    machine = warm(probe_every=10.0, initial=64, max_limit=64)
    read(machine, 0.1, 1.0)
    assert 32.0 == read(machine, 0.1, 1.1, lost=1.0)  # of 64
    assert (Phase.RAMP, 0.1) == (machine.phase, machine.base_s)
    read(machine, 0.1, 11.0)
    assert Phase.PROBE is not machine.phase
    read(machine, 0.1, 11.2)

    assert Phase.PROBE is machine.phase


def test_a_probe_given_up_leaves_the_limit_as_it_was_and_the_next_is_due_after_the_whole_time():
    machine = warm(probe_every=10.0, initial=64, max_limit=64)
    read(machine, 0.1, 1.0)
    machine.give_up(2.0)
    assert (64.0, Phase.CRUISE) == (machine.limit, machine.phase)
    read(machine, 0.1, 11.9)
    assert Phase.CRUISE is machine.phase
    read(machine, 0.1, 12.0)

    assert Phase.PROBE is machine.phase


def test_there_is_nothing_to_give_up_without_a_probe():
    machine = warm(probe_every=10.0, initial=64, max_limit=64)
    machine.give_up(0.9)
    assert (64.0, Phase.RAMP) == (machine.limit, machine.phase)

    assert 32.0 == read(machine, 0.1, 1.0)


def halved(took):
    """One whose limit fell from 200 to 67.75 while calls took 0.4 s, and now take *took*."""
    machine = warm()
    assert 200.0 == machine.limit
    assert [pytest.approx(114.142, abs=0.001), pytest.approx(67.755, abs=0.001)] == \
        [read(machine, 0.4, 0.3), read(machine, 0.4, 0.4)]
    read(machine, took, 0.5)
    return machine


def test_a_limit_that_was_halved_in_vain_is_probed_and_then_doubles_again():
    machine = halved(0.4)
    assert (pytest.approx(33.877, abs=0.001), Phase.PROBE) == (machine.limit, machine.phase)
    read(machine, 0.4, 0.6)
    assert (pytest.approx(67.755, abs=0.001), Phase.RAMP, 0.4) == (machine.limit, machine.phase, machine.base_s)

    assert pytest.approx(135.509, abs=0.001) == read(machine, 0.4, 0.7)


def test_a_limit_that_was_halved_and_shortened_the_calls_is_not_probed():
    machine = halved(0.29)
    assert Phase.CRUISE is machine.phase
    read(machine, 0.35, 0.6)  # no half of what it was at the halving, and less than a quarter shorter than before that

    assert Phase.CRUISE is machine.phase


def test_a_limit_that_was_halved_with_calls_near_the_base_is_not_probed():
    machine = warm(min_limit=50, tolerance=1.1)
    read(machine, 0.13, 0.3)
    machine.limit = 100.0
    read(machine, 0.13, 0.4)  # no less than before; but that is less than a third above the base

    assert Phase.CRUISE is machine.phase


def test_at_the_least_limit_calls_that_stay_slow_are_probed_too():
    machine = warm(initial=100, min_limit=90, max_limit=120)
    assert 90.0 == read(machine, 0.4, 0.3)  # three quarters of where it began to fall
    assert Phase.CRUISE is machine.phase
    assert 90.0 == read(machine, 0.4, 0.4)

    assert Phase.PROBE is machine.phase


def test_the_gradient_lies_between_a_half_and_one():
    assert 110.0 == gradient(100.0, 1.0, 1.5, 1.5)
    assert 110.0 == gradient(100.0, 1.0, 0.1, 1.5)
    assert 85.0 == gradient(100.0, 1.0, 2.0, 1.5)


def test_vegas_steps_up_by_six_steps_or_the_root_and_down_by_one_step_or_half_the_excess():
    assert 98.0 == pytest.approx(vegas(100.0, 1.0, 1 / 0.85, 1.1))  # 15 wait, 3 more than are free: a step is more than half of 3
    assert 15.0 == vegas(9.0, 1.0, 1.0, 1.5)  # a step is 1 at least; six are more than the root
    assert 10100.0 == vegas(10000.0, 1.0, 1.0, 1.5)  # the root is more than six steps of 4


@pytest.mark.parametrize(("limit", "base", "took", "tolerance", "new"), [
    (100.0, 1.0, 1.0, 1.5, 112.0),  # nobody waits: six steps of 2
    (2.0, 1.0, 2.0, 1.5, 8.0),  # 1 waits, which is one step of 1: six steps
    (4.0, 1.0, 2.0, 1.5, 5.0),  # 2 wait, less than three steps: one
    (6.0, 1.0, 2.0, 1.5, 6.0),  # 3 wait, three steps: stay
    (100.0, 1.0, 1 / 0.945, 1.01, 102.0),  # 5.5 wait, less than three steps of 2: one
    (100.0, 1.0, 1 / 0.93, 1.01, 100.0),  # 7 wait: stay
    (8.0, 1.0, 4.0, 1.5, 8.0),  # 6 wait, six steps of 1: stay
    (10.0, 0.35, 1.0, 1.5, 9.0),  # 6.5 wait: down by one step
    (100.0, 1.0, 2.0, 1.1, 81.0),  # 50 wait, 38 more than six steps of 2: down by half of that
    (100.0, 1.0, 4.0, 2.0, 87.5),  # 75 wait, 25 more than are free
])
def test_vegas_by_how_many_wait(limit, base, took, tolerance, new):
    assert pytest.approx(new) == vegas(limit, base, took, tolerance)


def test_aimd_goes_up_by_one_at_least_and_doubles_at_most():
    assert 100.5 == aimd(99.5, 100.0)
    assert 101.0 == aimd(100.0, 100.0)
    assert 100.0 == aimd(50.0, 1000.0)
    assert 75.0 == aimd(50.0, 100.0)


def test_calls_of_three_quarters_of_the_base_are_no_new_standard():
    machine = estimator()
    read(machine, 1.0, 0.1)
    read(machine, 1.0, 0.2)
    read(machine, 0.75, 2.3, span=2.0)

    assert 1.0 == machine.base_s


def test_a_halving_is_in_vain_by_what_calls_took_since_the_last_probe():
    machine = warm(probe_every=10.0)
    assert pytest.approx(114.142, abs=0.001) == read(machine, 0.4, 0.3)  # from 200
    read(machine, 0.4, 1.0)
    assert Phase.PROBE is machine.phase
    read(machine, 0.4, 1.1)
    assert (pytest.approx(114.142, abs=0.001), 0.4) == (machine.limit, machine.base_s)
    assert pytest.approx(67.755, abs=0.001) == read(machine, 1.2, 1.2)
    read(machine, 1.2, 1.3)  # less than half of 200, but not of what was probed

    assert Phase.CRUISE is machine.phase


def test_a_halving_from_the_first_limit_is_not_in_vain_for_nobody_knows_what_calls_took_there():
    machine = warm(max_limit=100)
    assert [60.0, pytest.approx(37.746, abs=0.001)] == [read(machine, 0.4, 0.3), read(machine, 0.4, 0.4)]
    read(machine, 0.4, 0.5)

    assert Phase.CRUISE is machine.phase


def test_a_halving_that_took_a_quarter_off_the_calls_was_not_in_vain():
    machine = estimator()
    read(machine, 0.25, 0.1)
    assert [200.0, pytest.approx(114.142, abs=0.001), pytest.approx(67.755, abs=0.001)] == \
        [read(machine, 0.25, 0.2), read(machine, 1.0, 0.3), read(machine, 1.0, 0.4)]
    read(machine, 0.75, 0.5)

    assert Phase.CRUISE is machine.phase


def test_a_halving_with_calls_a_third_above_the_base_is_not_in_vain():
    machine = estimator(tolerance=1.1)
    read(machine, 0.75, 0.1)
    assert [200.0, pytest.approx(179.142, abs=0.001), pytest.approx(89.571, abs=0.001)] == \
        [read(machine, 0.75, 0.2), read(machine, 1.0, 0.3), read(machine, 1.0, 0.4, lost=1.0)]
    read(machine, 1.0, 0.5)

    assert Phase.CRUISE is machine.phase


def test_a_probe_that_takes_a_quarter_off_the_calls_has_found_the_base():
    machine = warm(probe_every=10.0, initial=64, max_limit=64)
    read(machine, 1.0, 1.0)
    assert 64.0 == read(machine, 0.75, 1.1)

    assert 0.75 == machine.base_s


def test_a_second_probe_goes_on_while_calls_take_a_third_longer_than_the_base():
    machine = warm(probe_every=10.0, initial=64, max_limit=64)
    read(machine, 1.0, 1.0)
    read(machine, 0.75, 1.1)
    read(machine, 2.0, 80.0)
    assert Phase.PROBE is machine.phase
    limit = machine.limit

    assert limit / 2 == read(machine, 1.0, 80.1)
