"""A retry that one slow attempt had used up the time of said nothing at the end, and no retry said which bound ended it.

(jd/tenacity#501 and its kin: why was it not tried again?)
"""

import pytest

from resilience import CallTimeoutError, Pipeline, Registry, Retry, RetryBudget, deadline
from resilience.testing import ManualClock
from tests.issues.every_flavour import guarded, isolation

FLAVOURS = ("sync", "thread", "async")


class Busy(Exception):
    retry_after = 60.0


def end(flavour, retry, took=0.0, error=OSError, left=None, calls=1):
    """What notes the error has that the last of some *calls* ends with, each attempt taking so many seconds."""
    clock = ManualClock()
    registry = Registry(clock=clock)

    def body():
        clock.advance(took)
        raise error("down")

    _, call = guarded(flavour, Pipeline(retry, key="k", group="g", registry=registry, **isolation(flavour)), body)
    for _ in range(calls):
        with deadline(left, clock=clock), pytest.raises(error) as caught:
            call()
    return getattr(caught.value, "__notes__", [])


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_one_slow_attempt_that_used_up_the_time_says_so(flavour):
    assert ["k: time_limit (10 s) leaves no time for another attempt",
            "k: attempt 1 of at most 3, 12 s after the first began"] == end(flavour, Retry(time_limit=10.0), took=12.0)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_one_slow_attempt_that_used_up_the_callers_time_says_so(flavour):
    assert ["k: the caller's deadline leaves no time for another attempt",
            "k: attempt 1 of at most 3, 12 s after the first began"] == end(flavour, Retry(), took=12.0, left=10.0)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_many_attempts_that_used_up_the_time_say_so(flavour):
    assert ["k: time_limit (10 s) leaves no time for another attempt",
            "k: attempt 3 of at most 9, 12 s after the first began"] == end(
                flavour, Retry(attempts=9, time_limit=10.0, base=0.0), took=4.0)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_number_of_attempts_speaks_for_itself(flavour):
    assert ["k: attempt 2 of at most 2, 2 s after the first began"] == end(flavour, Retry(attempts=2, base=0.0), took=1.0)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_target_that_asks_for_too_long_a_wait_is_named(flavour):
    assert ["k: the target asks for a wait of 60 s, longer than max_delay (10 s)",
            "k: attempt 1 of at most 3, 0 s after the first began"] == end(flavour, Retry(), error=Busy)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_budget_that_is_used_up_is_named(flavour):
    budget = RetryBudget(ratio=0.0, per_second=0.1, window=10.0)

    assert ["k: the retry budget of the group g allows no other attempt",
            "k: attempt 1 of at most 2, 0 s after the first began"] == end(
                flavour, Retry(attempts=2, base=0.0, budget=budget), calls=5)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_an_error_that_is_none_to_try_again_after_is_left_as_it_was(flavour):
    assert [] == end(flavour, Retry(on=ValueError, time_limit=1.0), took=12.0)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_timeout_of_its_own_that_used_up_the_time_says_so(flavour):
    clock = ManualClock()

    def body():
        clock.advance(12.0)
        raise CallTimeoutError("k", 12.0)

    _, call = guarded(flavour, Pipeline(Retry(time_limit=10.0), key="k", registry=Registry(clock=clock),
                                        **isolation(flavour)), body)
    with pytest.raises(CallTimeoutError) as caught:
        call()

    assert "time_limit" in caught.value.__notes__[0]
