"""What a retry or a failover writes on its exception is known again, so that it does not pile up on one raised often."""

import pytest

from resilience.core.budget import Budget, RetryBudget
from resilience.core.failover import Failover, Rest
from resilience.core.failover_course import Course
from resilience.core.retry import Retry
from resilience.engine.notes import add_notes


def bound_of_refusals(left, max_wait):
    policy = Failover(targets=("eu",), max_wait=max_wait)
    course = Course([Rest(policy)], None, policy.targets)
    course.begin(0.0, 0.5)
    course.after_refusal(False, 5.0, 0.0, 0.5, left)
    return course.bound


def bound_of_failures(left, budget):
    policy = Failover(targets=("eu", "us"))
    course = Course([Rest(policy), Rest(policy)], budget, policy.targets)
    course.begin(0.0, 0.5)
    course.after_failure(False, None, 0.0, 0.5, left)
    return course.bound


BOUNDS = {
    "no time to wait": lambda: bound_of_refusals(left=1.0, max_wait=None),
    "a wait that is too short": lambda: bound_of_refusals(left=None, max_wait=1.0),
    "no time for another target": lambda: bound_of_failures(left=0.0, budget=None),
    "no budget for another target": lambda: bound_of_failures(
        left=None, budget=Budget(RetryBudget(ratio=0.0, per_second=0.0), 0.0)),
    "a target that asks for too long": lambda: Retry().next(1, 0.0, 0.0, 0.5, 100.0)[1],
    "a time limit": lambda: Retry(time_limit=1.0).next(1, 0.0, 2.0, 0.5)[1],
    "a time limit that nobody set": lambda: Retry().next(1, 0.0, 1000.0, 0.5)[1],
}


@pytest.mark.parametrize("name", BOUNDS)
def test_the_bounds_of_one_command_stand_once_on_an_exception_that_is_raised_again(name):
    error, bound = OSError(), BOUNDS[name]()
    assert bound
    for _ in range(3):
        add_notes(error, "k", [bound], "targets tried: eu (OSError)")

    assert [f"k: {bound}", "k: targets tried: eu (OSError)"] == error.__notes__
