"""What a failover or a hedge had paid for a further attempt, and gave back late, forbade all retries of the group.

A target may refuse a call long after that was paid for, as one in whose bulkhead callers wait does. The refund lowered
the count below what it was at the window's start, and the difference, kept modulo 2**32, was four thousand million.
"""

import random

import pytest

from resilience.core.budget import Budget, RetryBudget
from resilience.core.failover import Failover, Rest
from resilience.core.failover_state import FailoverState

TEN_A_WINDOW = RetryBudget(ratio=0.0, per_second=1.0, window=10.0)


def allowed(budget, now):
    count = 0
    while budget.withdraw(now):
        count += 1
    return count


@pytest.mark.parametrize("late", [0.0, 0.9, 1.0, 5.0, 9.9, 10.0, 15.0, 300.0])
@pytest.mark.parametrize("then", [0.0, 0.5, 1.0, 9.0, 10.0, 11.0, 100.0])
def test_after_a_refund_the_budget_is_as_full_as_if_nothing_had_been_paid(late, then):
    budget = Budget(TEN_A_WINDOW, 0.0)
    assert budget.withdraw(0.5)
    budget.deposit(0.5 + late)  # a call comes, so that the window goes on
    budget.refund()

    assert 10 == allowed(budget, 0.5 + late + then)


def test_a_refund_of_what_was_cleared_meanwhile_gives_nothing_back():
    budget = Budget(TEN_A_WINDOW, 0.0)
    assert budget.withdraw(0.5)
    budget.clear(0.6)
    budget.refund()

    assert 10 == allowed(budget, 0.7)


def test_refunds_at_any_time_never_forbid_what_the_window_allows():
    for seed in range(200):
        rng = random.Random(seed)
        budget, now, paid = Budget(TEN_A_WINDOW, 0.0), 0.0, []
        for _ in range(300):
            now += rng.choice([0.0, 0.1, 0.7, 3.0])
            if paid and rng.random() < 0.3:
                paid.pop(rng.randrange(len(paid)))
                budget.refund()
            elif budget.withdraw(now):
                paid.append(now)
            else:
                assert 10 <= sum(1 for at in paid if at > now - 10.0), (seed, now)
        assert 10 == allowed(budget, now + 20.0)


def test_a_target_that_refuses_late_leaves_the_budget_as_it_was():
    policy = Failover(targets=("eu", "us"), budget=TEN_A_WINDOW)
    budget = Budget(TEN_A_WINDOW, 0.0)
    state = FailoverState([Rest(policy), Rest(policy)], budget, policy.targets)
    state.begin(0.0, 0.5)
    state.after_failure(False, None, 0.5, 0.5)
    budget.deposit(15.0)
    state.after_refusal(False, None, 15.0, 0.5, None)  # its bulkhead had no slot for fifteen seconds

    assert 10 == allowed(budget, 15.5)
