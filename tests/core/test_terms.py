"""The terms of a circuit, one by one: what they weigh, what they keep, and when a good result needs no lock."""

from math import inf

import attrs
import pytest

from resilience.core.breaker import CircuitBreaker
from resilience.core.events import Trigger
from resilience.core.in_flight_cohorts import BALLAST
from resilience.core.terms import BAD, GOOD, SLOW_BAD, SLOW_GOOD, Closed, Disabled, ForcedClosed, HalfOpen, Open

RARE = CircuitBreaker(min_calls=100, window=10.0, sustained_failures=3)
SLOW = CircuitBreaker(min_calls=10, slow_call=8.0, slow_rate=0.5, window=100.0, failure_rate=None, consecutive=50)


def closed(config=RARE, now=0.0, previous=None, horizon=lambda: inf):
    return Closed(1, now, config, horizon, previous)


def test_a_term_that_follows_has_the_good_calls_that_nobody_had_counted_yet():
    first = closed()
    first.bump()
    first.bump()

    assert [2, 0, 0, 0] == list(closed(now=0.5, previous=first).counts(0.5))


@pytest.mark.parametrize(("column", "calm"), [(GOOD, True), (BAD, False), (SLOW_GOOD, False), (SLOW_BAD, False)])
def test_good_results_need_no_lock_until_the_slice_ends_unless_something_else_is_in_the_window(column, calm):
    first = closed()
    first.record(column, 0.5)
    following, recalled, adopted = closed(now=0.5, previous=first), closed(), closed()
    recalled.recall([int(column == each) for each in range(4)], 0.5)
    adopted.record(column, 0.5)
    adopted.adopt(attrs.evolve(RARE, min_calls=99), 0.5)

    assert [1.0 if calm else -inf] * 4 == [term.lock_free_until for term in (first, following, recalled, adopted)]


def test_good_results_take_the_lock_from_the_horizon_on():
    assert 0.25 == closed(horizon=lambda: 0.25).lock_free_until


def test_good_results_take_the_lock_always_where_the_last_so_many_calls_are_weighed():
    assert -inf == closed(CircuitBreaker(min_calls=5, window_calls=5)).lock_free_until


def test_results_need_no_lock_again_once_the_trouble_has_left_the_window():
    term = closed()
    term.record(BAD, 0.5)
    term.record(GOOD, 9.5)
    assert -inf == term.lock_free_until
    term.record(GOOD, 10.5)

    assert 11.0 == term.lock_free_until


def run(term, failures, begin, end):
    """So many failures in a row, the last at *end*, the others at *begin*; what the last one pulls."""
    for _ in range(failures - 1):
        assert None is term.record(BAD, begin)
    return term.record(BAD, end)


def test_a_run_of_failures_is_weighed_by_the_share_before_it_also_in_the_term_that_follows():
    first = closed()
    for _ in range(20):
        first.record(BAD, 0.0)
        first.record(GOOD, 0.0)
    following = closed(now=1.0, previous=first)

    assert None is run(following, 5, 20.0, 30.0)  # 20 of 140: five in a row are no wonder
    assert Trigger.SUSTAINED_FAILURES is run(closed(now=1.0), 5, 20.0, 30.0)


def test_a_run_goes_on_in_the_term_that_follows():
    first = closed()
    run(first, 2, 0.0, 1.0)
    following = closed(now=5.0, previous=first)

    assert Trigger.SUSTAINED_FAILURES is following.record(BAD, 10.0)
    assert (3, 3, 0, 10.0) == following.weighed


@pytest.mark.parametrize(("end", "trigger"), [(9.99, None), (10.0, Trigger.SUSTAINED_FAILURES)])
def test_a_run_is_sustained_that_lasts_as_long_as_the_window(end, trigger):
    assert trigger is run(closed(), 3, 0.0, end)


@pytest.mark.parametrize(("failures", "trigger"), [(2, None), (3, Trigger.SUSTAINED_FAILURES)])
def test_a_run_is_sustained_that_has_as_many_as_are_asked_for(failures, trigger):
    assert trigger is run(closed(), failures, 0.0, 10.0)


def test_a_run_of_min_calls_is_no_chance_whatever_the_share_before_it():
    term = closed(attrs.evolve(RARE, min_calls=4))
    for _ in range(400):
        term._end_run(1)
        term._in_a_row = 1
    term._end_run(0)

    assert [None, Trigger.SUSTAINED_FAILURES] == [run(term, 3, 20.0, 30.0), run(term, 1, 30.0, 30.0)]


def hanging(good, bad, slow_good, slow_bad, late, config=SLOW):
    """What a look says while *late* calls are under way that began at 0 s, and its term."""
    term = closed(config)
    term.cohort.extend([None] * late)
    for column, n in enumerate((good, bad, slow_good, slow_bad)):
        for _ in range(n):
            assert None is term.record(column, 0.5)
    assert None is term.look(1.0)  # their cohort is closed: calls that begin before 1 s may be under way until 9 s
    return term.look(9.0), term


@pytest.mark.parametrize(("counts", "trigger"), [
    ((5, 0, 0, 0, 5), Trigger.SLOW_RATE),  # just half
    ((6, 0, 0, 0, 5), None),
    ((0, 5, 0, 0, 5), Trigger.SLOW_RATE),
    ((0, 6, 0, 0, 5), None),
    ((4, 1, 1, 1, 3), Trigger.SLOW_RATE),
    ((5, 1, 1, 1, 3), None),
    ((0, 0, 2, 2, 5), None),  # nine calls are too few
    ((0, 0, 2, 2, 6), Trigger.SLOW_RATE),
    ((3, 3, 0, 0, 0), None),
])
def test_calls_under_way_count_as_slow_ones_beside_those_that_have_ended(counts, trigger):
    said, term = hanging(*counts)
    good, bad, slow_good, slow_bad, late = counts

    assert trigger is said
    assert (None if trigger is None else (sum(counts), bad + slow_bad, slow_good + slow_bad + late, 0.0)) == term.weighed


def test_calls_under_way_are_looked_at_when_their_cohort_ends():
    term = closed(SLOW)
    cohort = term.cohort
    assert (BALLAST, 1.0) == (len(cohort), term.free_until)
    term.look(0.99)
    assert cohort is term.cohort
    term.look(1.0)

    assert (BALLAST, 2.0) == (len(term.cohort), term.free_until)
    assert cohort is not term.cohort


@pytest.mark.parametrize("config", [RARE, attrs.evolve(SLOW, slow_in_flight=False)])
def test_nobody_is_watched_where_no_call_is_slow_before_it_ends(config):
    term = closed(config)
    assert (None, inf, None) == (term.cohort, term.free_until, term.look(100.0))
    watched = closed(SLOW)
    watched.adopt(config, 0.5)

    assert (None, inf, None) == (watched.cohort, watched.free_until, watched.look(100.0))


def test_a_term_forced_closed_watches_nobody_and_decides_nothing():
    term = ForcedClosed(1, 0.0, attrs.evolve(SLOW, consecutive=1), lambda: inf)

    assert (None, inf) == (term.cohort, term.free_until)
    assert None is term.record(BAD, 0.0)
    assert [0, 1, 0, 0] == list(term.counts(0.0))


@pytest.mark.parametrize(("good", "bad", "slow_good", "slow_bad", "trigger"), [
    (5, 4, 0, 0, None), (5, 5, 0, 0, Trigger.FAILURE_RATE), (5, 3, 0, 2, Trigger.FAILURE_RATE), (5, 3, 2, 0, None),
    (1, 0, 8, 0, None), (1, 0, 9, 0, Trigger.SLOW_RATE), (1, 0, 8, 1, Trigger.SLOW_RATE), (2, 0, 8, 0, None),
])
def test_the_rates_are_of_all_calls_in_the_window(good, bad, slow_good, slow_bad, trigger):
    term = closed(CircuitBreaker(min_calls=10, slow_call=1.0, slow_rate=0.9))
    counts = (good, bad, slow_good, slow_bad)
    columns = [column for column in (GOOD, SLOW_GOOD, BAD, SLOW_BAD) for _ in range(counts[column])]
    said = [term.record(column, 0.5) for column in columns]

    assert [None] * (len(columns) - 1) == said[:-1]
    assert trigger is said[-1]
    assert (None if trigger is None else (sum(counts), bad + slow_bad, slow_good + slow_bad, 0.0)) == term.weighed


def test_consecutive_failures_say_how_long_they_took():
    term = closed(CircuitBreaker(consecutive=3))
    assert [None, None, None, None, None, Trigger.CONSECUTIVE] == \
        [term.record(column, now) for now, column in enumerate((BAD, BAD, GOOD, BAD, SLOW_BAD, BAD))]

    assert (3, 3, 0, 2) == term.weighed


def test_the_ramp_admits_its_shares_each_for_its_part_of_the_time():
    term = HalfOpen(1, 0.0, CircuitBreaker(ramp=30.0, ramp_shares=(0.1, 0.25, 0.5), half_open_calls=2))
    assert [True, True, False] == [term.admit(0.0) for _ in range(3)]
    term.give_back()
    assert [True, False] == [term.admit(0.0), term.admit(0.0)]
    assert [None, None] == [term.record(GOOD, 1.0), term.record(GOOD, 1.0)]
    assert (31.0, Trigger.PROBES_PASSED) == (term.until, term.ends_by)

    assert [1, 0, 0, 1, 0] == [sum(term.admit(1.0) for _ in range(n)) for n in (1, 4, 5, 1, 9)]
    assert [25, 50] == [sum(term.admit(now) for _ in range(100)) for now in (11.0, 21.0)]
    assert 5 == sum(term.admit(1.5) for _ in range(10))  # a clock that steps back
    assert 5 == sum(term.admit(99.0) for _ in range(10))


def test_a_closed_term_refuses_nobody():
    term = closed()

    assert (None, inf, -inf, inf) == (term.standing, term.until, term.refuses_until, term.free_until)


@pytest.mark.parametrize(("good", "bad", "kept"), [
    (900.0, 98.0, (900.0, 100.0)), (900.0, 99.0, (900 / 1001 * 500, 101 / 1001 * 500)),
])
def test_the_share_before_a_run_is_of_a_thousand_calls_and_then_those_count_half(good, bad, kept):
    term = closed()
    term._good, term._bad, term._in_a_row = good, bad, 2
    term._end_run(0)

    assert (*kept, 0) == (term._good, term._bad, term._in_a_row)


def test_what_chance_makes_once_in_a_million_is_no_chance():
    term = closed(attrs.evolve(RARE, sustained_failures=2))
    term._good, term._bad = 899.0, 1.0  # and 100: a thousandth, squared

    assert Trigger.SUSTAINED_FAILURES is run(term, 2, 0.0, 10.0)
    assert (2, 2, 0, 10.0) == term.weighed


def adopted(config, *, bumps=0, failures=0, at=0.5):
    term = closed()
    for _ in range(bumps):
        term.bump()
    for _ in range(failures):
        term.record(BAD, 0.5)
    for _ in range(bumps):
        term.bump()
    term.adopt(config, at)
    return list(term.counts(at))


@pytest.mark.parametrize(("bumps", "failures", "size", "counts"), [
    (0, 0, 5, [0, 0, 0, 0]), (0, 2, 10, [0, 2, 0, 0]), (0, 1, 1, [0, 1, 0, 0]),
    (2, 4, 10, [4, 4, 0, 0]), (2, 4, 2, [1, 1, 0, 0]),  # each its part
])
def test_a_window_of_calls_begins_with_its_part_of_what_was_in_the_window_of_time(bumps, failures, size, counts):
    config = attrs.evolve(RARE, window_calls=size, min_calls=1, failure_rate=None, consecutive=50)

    assert counts == adopted(config, bumps=bumps, failures=failures)


@pytest.mark.parametrize(("window", "at", "counts"), [(10.0, 5.0, [0, 2, 0, 0]), (2.0, 5.0, [0, 0, 0, 0]), (20.0, 5.0, [0, 2, 0, 0])])
def test_a_window_of_another_length_holds_what_is_within_it(window, at, counts):
    assert counts == adopted(attrs.evolve(RARE, window=window), failures=2, at=at)


@pytest.mark.parametrize(("at", "trigger"), [(30.9, None), (31.0, Trigger.PROBES_PASSED)])
def test_a_ramp_ends_with_the_first_good_result_after_its_time(at, trigger):
    term = HalfOpen(1, 0.0, CircuitBreaker(ramp=30.0))
    assert [True, None] == [term.admit(0.0), term.record(GOOD, 1.0)]
    assert -inf == term.ramp.lock_free_until  # each of its results is weighed

    assert trigger is term.record(GOOD, at)


def test_a_ramp_that_fails_as_a_closed_circuit_would_is_a_failed_probe():
    term = HalfOpen(1, 0.0, CircuitBreaker(ramp=30.0, min_calls=2))
    assert [True, None, None] == [term.admit(0.0), term.record(GOOD, 1.0), term.record(BAD, 2.0)]

    assert Trigger.PROBE_FAILED is term.record(BAD, 2.0)


def test_the_first_call_of_a_step_is_admitted_and_then_its_share():
    term = HalfOpen(1, 0.0, CircuitBreaker(ramp=20.0, ramp_shares=(0.1, 0.25)))
    assert [True, None] == [term.admit(0.0), term.record(GOOD, 0.0)]

    assert [True, False, False, True] == [term.admit(0.0), term.admit(0.0), term.admit(9.9), term.admit(10.0)]
    assert [False, False, False, True] == [term.admit(10.0) for _ in range(4)]


def test_without_a_breaker_every_call_passes():
    term = Disabled(1, 0.0)

    assert (True, inf) == (term.passes, term.free_until)


def test_a_ramp_watches_nobody():
    term = HalfOpen(1, 0.0, attrs.evolve(SLOW, ramp=30.0))
    assert [True, None] == [term.admit(0.0), term.record(GOOD, 1.0)]

    assert (None, inf) == (term.ramp.cohort, term.ramp.free_until)


def test_what_is_recalled_of_another_circuit_is_counted():
    term = closed()
    term.recall([4, 3, 2, 1], 0.5)

    assert [4, 3, 2, 1] == list(term.counts(0.5))


def test_an_open_term_is_halted_only_if_somebody_says_so():
    assert Open(1, 0.0, RARE, 1, 0.5).halted is False


def test_a_half_open_term_is_full_while_all_its_probes_are_under_way_and_never_on_its_ramp():
    config = CircuitBreaker(half_open_calls=2, ramp=10.0)
    term = HalfOpen(1, 0.0, config)
    found = [term.is_full]
    for _ in range(2):
        term.admit(0.0)
        found.append(term.is_full)
    term.give_back()
    found.append(term.is_full)
    term.admit(0.0)
    term.record(GOOD, 0.1)
    term.record(GOOD, 0.1)
    assert term.ramp is not None

    assert [False, False, True, False] == found
    assert term.is_full is False
