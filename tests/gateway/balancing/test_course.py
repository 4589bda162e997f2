"""Course: what follows a failed attempt, row by row, and random histories against a plain oracle."""

from __future__ import annotations

import random

import pytest

from resilience import ConfigError, RetryBudget
from resilience.core.budget import Budget
from resilience.gateway.balancing import EndpointState
from resilience.gateway.balancing.course import Course, Ending, Move, Repetition
from tests.seeds import over_seeds

A, B = EndpointState("a"), EndpointState("b")
SENT = (Ending.LATE, Ending.BROKEN, Ending.STATUS, Ending.BUSY, Ending.AGAIN)


def a_course(may_repeat: bool = True, budget: Budget | None = None, **said: object) -> Course:
    config = Repetition(**said)  # type: ignore[arg-type]
    return Course(config, config.delays, budget, may_repeat)


@pytest.mark.parametrize("ending", [Ending.REFUSED, Ending.UNSENT])
def test_what_was_never_sent_moves_on_at_once_and_for_nothing(ending: Ending) -> None:
    nothing = Budget(RetryBudget(ratio=0.0, per_second=0.0), 0.0)
    for may_repeat in (True, False):
        course = a_course(may_repeat, nothing)
        assert (Move.NEXT, 0.0) == course.after(ending, A, None, True, 0.0, 0.5)
        assert ({A}, 0) == (course.tried, course.trail.sent)
        assert (Move.STOP, 0.0) == course.after(ending, B, None, False, 0.0, 0.5)


@pytest.mark.parametrize("ending", SENT)
def test_what_was_sent_goes_on_only_if_that_does_no_harm(ending: Ending) -> None:
    assert Move.STOP is not a_course(True).after(ending, A, 1.0, True, 0.0, 0.5)[0]
    assert Move.STOP is a_course(False).after(ending, A, 1.0, True, 0.0, 0.5)[0]
    assert Move.STOP is Course(None, None, None, True).after(ending, A, 1.0, True, 0.0, 0.5)[0]


def test_there_are_no_more_attempts_than_were_asked_for() -> None:
    course = a_course(attempts=2)
    assert course.could_repeat()
    assert Move.NEXT is course.after(Ending.BROKEN, A, None, True, 0.0, 0.5)[0]
    assert not course.could_repeat()
    assert Move.STOP is course.after(Ending.BROKEN, B, None, True, 0.0, 0.5)[0]


def test_the_same_endpoint_is_asked_again_after_a_growing_delay_and_then_the_next() -> None:
    course = a_course(attempts=9, per_endpoint=3, base=0.1, max_delay=10.0)
    assert [(Move.SAME, 0.1), (Move.SAME, 0.2), (Move.NEXT, 0.0), (Move.SAME, 0.1)] == [
        course.after(Ending.BROKEN, each, None, True, 0.0, 1.0) for each in (A, A, A, B)]
    assert (Move.NEXT, 0.0) == a_course(per_endpoint=3).after(Ending.LATE, A, None, True, 0.0, 1.0)


def test_a_busy_endpoint_is_waited_for_only_if_there_is_no_other_and_it_asks_for_little() -> None:
    assert (Move.NEXT, 0.0) == a_course().after(Ending.BUSY, A, 0.5, True, 0.0, 1.0)
    assert (Move.SAME, 0.5) == a_course().after(Ending.BUSY, A, 0.5, False, 0.0, 1.0)
    assert (Move.STOP, 0.0) == a_course(max_delay=1.0).after(Ending.BUSY, A, 1.5, False, 0.0, 1.0)
    assert (Move.STOP, 0.0) == a_course().after(Ending.BUSY, A, None, False, 0.0, 1.0)


def test_a_token_that_paid_for_nothing_goes_back() -> None:
    one = Budget(RetryBudget(ratio=0.0, per_second=0.1, window=10.0), 0.0)  # one in ten seconds
    course = a_course(budget=one)
    assert Move.NEXT is course.after(Ending.BROKEN, A, None, True, 0.0, 0.5)[0]
    assert Move.STOP is course.after(Ending.UNSENT, B, None, False, 0.0, 0.5)[0]
    course.stop()
    again = a_course(budget=one)
    assert Move.NEXT is again.after(Ending.BROKEN, A, None, True, 0.0, 0.5)[0]
    assert Move.STOP is a_course(budget=one).after(Ending.BROKEN, A, None, True, 0.0, 0.5)[0]


@over_seeds(100)
def test_random_histories_agree_with_the_rules_as_they_are_written(seed: int) -> None:
    dice = random.Random(seed)
    attempts, per_endpoint, may_repeat = dice.randrange(1, 6), dice.randrange(1, 4), dice.random() < 0.8
    tokens = dice.choice((0, 1, 2, 100))
    budget = Budget(RetryBudget(ratio=0.0, per_second=tokens / 10.0, window=10.0), 0.0)
    course = a_course(may_repeat, budget, attempts=attempts, per_endpoint=per_endpoint, base=0.1, max_delay=1.0)
    endpoints = [EndpointState(f"e{number}") for number in range(dice.randrange(1, 5))]
    at, here, sent, left, holds = 0, 0, 0, tokens, False
    while True:
        ending, asked = dice.choice(list(Ending)), dice.choice((None, 0.5, 5.0))
        has_other = at + 1 < len(endpoints)
        move, delay = course.after(ending, endpoints[at], asked, has_other, 0.0, 1.0)
        if ending in (Ending.REFUSED, Ending.UNSENT):
            expected = Move.NEXT if has_other else Move.STOP
        else:
            holds = False
            sent, here = sent + 1, here + 1
            if ending is Ending.BUSY:
                same = not has_other and asked == 0.5
            elif ending is Ending.AGAIN:
                same = asked != 5.0
            else:
                same = ending is not Ending.LATE and here < per_endpoint
            if not may_repeat or sent >= attempts or not (same or has_other) or not left:
                expected = Move.STOP
            else:
                left, holds = left - 1, True
                expected = Move.SAME if same else Move.NEXT
                asks = asked if ending in (Ending.BUSY, Ending.AGAIN) else None
                assert delay == (0.0 if not same else min(1.0, 0.1 * 2 ** (here - 1)) if asks is None else asks)
        assert expected is move
        if move is Move.STOP:
            course.stop()
            break
        if move is Move.NEXT:
            at, here = at + 1, 0
    left += holds
    for _ in range(left):
        assert budget.withdraw(0.0)
    assert not budget.withdraw(0.0)


def test_what_makes_no_sense_is_refused() -> None:
    for wrong in ({"attempts": 0}, {"statuses": ("teapot",)}, {"base": 5.0, "max_delay": 1.0}, {"budget": 3}):
        with pytest.raises(ConfigError):
            Repetition(**wrong)  # type: ignore[arg-type]
