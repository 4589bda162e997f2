"""Calls under way by when they began, at literal times."""

from resilience.core.in_flight_cohorts import BALLAST, Cohorts
from resilience.core.stalls import NO_STALLS


def test_a_cohort_is_an_eighth_of_slow_call_and_holds_tokens_of_nobody():
    cohorts = Cohorts(8.0, 100.0)

    assert (101.0, [None] * 8, 8) == (cohorts.edge, cohorts.running, BALLAST)


def test_calls_are_overdue_from_slow_call_after_the_end_of_their_cohort_until_they_end():
    cohorts = Cohorts(8.0, 0.0)
    first = cohorts.running
    first += [None] * 3
    assert 0 == cohorts.turn(8.0, 1.5, NO_STALLS)
    assert (2.5, [None] * 8) == (cohorts.edge, cohorts.running)
    second = cohorts.running
    second += [None] * 2

    assert 0 == cohorts.turn(8.0, 8.75, NO_STALLS)
    assert 3 == cohorts.turn(8.0, 9.0, NO_STALLS)
    assert 3 == cohorts.turn(8.0, 10.25, NO_STALLS)
    assert 5 == cohorts.turn(8.0, 10.5, NO_STALLS)
    del first[-1]
    assert 4 == cohorts.turn(8.0, 10.5, NO_STALLS)
    assert 2 == cohorts.turn(9.0, 11.0, NO_STALLS)  # with another slow_call


def test_a_cohort_whose_calls_have_all_ended_is_forgotten():
    cohorts = Cohorts(8.0, 0.0)
    running = cohorts.running
    running.append(None)
    cohorts.turn(8.0, 1.0, NO_STALLS)
    cohorts.turn(8.0, 2.0, NO_STALLS)
    assert [(1.0, running)] == cohorts._past
    del running[-1]
    assert 0 == cohorts.turn(8.0, 20.0, NO_STALLS)
    assert [] == cohorts._past
