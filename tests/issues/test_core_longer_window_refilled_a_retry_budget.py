"""A budget whose window was made longer let ten windows' worth of retries through at once, whatever had been made before."""

import pytest

from resilience.core.budget import Budget, RetryBudget


def allowed(budget, now):
    count = 0
    while budget.withdraw(now):
        count += 1
    return count


def of(window):
    return RetryBudget(ratio=0.0, per_second=2.0, window=window)


def test_a_longer_window_allows_no_more_at_once_than_the_time_that_is_known():
    budget = Budget(of(10.0), 0.0)
    assert 20 == allowed(budget, 0.0)
    budget.configure(of(100.0), 5.0)
    assert 0 == allowed(budget, 5.0)
    assert 10 == allowed(budget, 10.0)  # two a second for the five since
    assert 190 == allowed(budget, 100.0)  # two a second but for those ten; the first twenty are gone


def test_a_window_that_is_made_shorter_and_longer_again_gives_nothing_back():
    budget = Budget(of(10.0), 0.0)
    assert 20 == allowed(budget, 0.0)
    budget.configure(of(1.0), 5.0)
    assert 2 == allowed(budget, 5.0)
    budget.configure(of(10.0), 5.0)
    assert 0 == allowed(budget, 5.0)


@pytest.mark.parametrize("begin", [lambda budget: budget.clear(5.0), lambda budget: budget.renew(5.0)])
def test_one_that_begins_anew_has_a_whole_window(begin):
    budget = Budget(of(1.0), 0.0)
    budget.configure(of(10.0), 1.0)
    begin(budget)
    assert 20 == allowed(budget, 5.0)


def test_a_window_that_is_made_longer_twice_knows_no_more_than_before():
    budget = Budget(of(10.0), 0.0)
    assert 20 == allowed(budget, 0.0)
    budget.configure(of(100.0), 5.0)
    budget.configure(of(1000.0), 5.0)
    assert 0 == allowed(budget, 5.0)
