"""RetryState: what follows a failed attempt, row by row, and random histories against a plain oracle."""

from __future__ import annotations

import random

import pytest

from resilience import ConfigError, RetryBudget
from resilience.core.budget import Budget
from resilience.gateway.balancing import EndpointState
from resilience.gateway.balancing.retry_state import Ending, Repetition, RetryDecision, RetryState
from tests.seeds import over_seeds

A, B = EndpointState("a"), EndpointState("b")
SENT = (Ending.LATE, Ending.BROKEN, Ending.STATUS, Ending.BUSY, Ending.AGAIN)


def a_state(may_repeat: bool = True, budget: Budget | None = None, **said: object) -> RetryState:
    config = Repetition(**said)  # type: ignore[arg-type]
    return RetryState(config, config.delays, budget, may_repeat)


@pytest.mark.parametrize("ending", [Ending.REFUSED, Ending.UNSENT])
def test_what_was_never_sent_moves_on_at_once_and_for_nothing(ending: Ending) -> None:
    nothing = Budget(RetryBudget(ratio=0.0, per_second=0.0), 0.0)
    for may_repeat in (True, False):
        retry_state = a_state(may_repeat, nothing)
        assert (RetryDecision.NEXT, 0.0) == retry_state.after(ending, A, None, True, 0.0, 0.5)
        assert ({A}, 0) == (retry_state.tried, retry_state.so_far.sent)
        assert (RetryDecision.STOP, 0.0) == retry_state.after(ending, B, None, False, 0.0, 0.5)


@pytest.mark.parametrize("ending", SENT)
def test_what_was_sent_goes_on_only_if_that_does_no_harm(ending: Ending) -> None:
    assert RetryDecision.STOP is not a_state(True).after(ending, A, 1.0, True, 0.0, 0.5)[0]
    assert RetryDecision.STOP is a_state(False).after(ending, A, 1.0, True, 0.0, 0.5)[0]
    assert RetryDecision.STOP is RetryState(None, None, None, True).after(ending, A, 1.0, True, 0.0, 0.5)[0]


def test_there_are_no_more_attempts_than_were_asked_for() -> None:
    retry_state = a_state(attempts=2)
    assert retry_state.could_repeat()
    assert RetryDecision.NEXT is retry_state.after(Ending.BROKEN, A, None, True, 0.0, 0.5)[0]
    assert not retry_state.could_repeat()
    assert RetryDecision.STOP is retry_state.after(Ending.BROKEN, B, None, True, 0.0, 0.5)[0]


def test_the_same_endpoint_is_asked_again_after_a_growing_delay_and_then_the_next() -> None:
    retry_state = a_state(attempts=9, per_endpoint=3, base=0.1, max_delay=10.0)
    assert [(RetryDecision.SAME, 0.1), (RetryDecision.SAME, 0.2), (RetryDecision.NEXT, 0.0), (RetryDecision.SAME, 0.1)] == [
        retry_state.after(Ending.BROKEN, each, None, True, 0.0, 1.0) for each in (A, A, A, B)]
    assert (RetryDecision.NEXT, 0.0) == a_state(per_endpoint=3).after(Ending.LATE, A, None, True, 0.0, 1.0)


def test_a_busy_endpoint_is_waited_for_only_if_there_is_no_other_and_it_asks_for_little() -> None:
    assert (RetryDecision.NEXT, 0.0) == a_state().after(Ending.BUSY, A, 0.5, True, 0.0, 1.0)
    assert (RetryDecision.SAME, 0.5) == a_state().after(Ending.BUSY, A, 0.5, False, 0.0, 1.0)
    assert (RetryDecision.STOP, 0.0) == a_state(max_delay=1.0).after(Ending.BUSY, A, 1.5, False, 0.0, 1.0)
    assert (RetryDecision.STOP, 0.0) == a_state().after(Ending.BUSY, A, None, False, 0.0, 1.0)


def test_a_token_that_paid_for_nothing_goes_back() -> None:
    one = Budget(RetryBudget(ratio=0.0, per_second=0.1, window=10.0), 0.0)  # one in ten seconds
    retry_state = a_state(budget=one)
    assert RetryDecision.NEXT is retry_state.after(Ending.BROKEN, A, None, True, 0.0, 0.5)[0]
    assert RetryDecision.STOP is retry_state.after(Ending.UNSENT, B, None, False, 0.0, 0.5)[0]
    retry_state.stop()
    again = a_state(budget=one)
    assert RetryDecision.NEXT is again.after(Ending.BROKEN, A, None, True, 0.0, 0.5)[0]
    assert RetryDecision.STOP is a_state(budget=one).after(Ending.BROKEN, A, None, True, 0.0, 0.5)[0]


@over_seeds(100)
def test_random_histories_agree_with_the_rules_as_they_are_written(seed: int) -> None:
    dice = random.Random(seed)
    attempts, per_endpoint, may_repeat = dice.randrange(1, 6), dice.randrange(1, 4), dice.random() < 0.8
    tokens = dice.choice((0, 1, 2, 100))
    budget = Budget(RetryBudget(ratio=0.0, per_second=tokens / 10.0, window=10.0), 0.0)
    retry_state = a_state(may_repeat, budget, attempts=attempts, per_endpoint=per_endpoint, base=0.1, max_delay=1.0)
    endpoints = [EndpointState(f"e{number}") for number in range(dice.randrange(1, 5))]
    at, here, sent, left, holds = 0, 0, 0, tokens, False
    while True:
        ending, asked = dice.choice(list(Ending)), dice.choice((None, 0.5, 5.0))
        has_other = at + 1 < len(endpoints)
        move, delay = retry_state.after(ending, endpoints[at], asked, has_other, 0.0, 1.0)
        if ending in (Ending.REFUSED, Ending.UNSENT):
            expected = RetryDecision.NEXT if has_other else RetryDecision.STOP
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
                expected = RetryDecision.STOP
            else:
                left, holds = left - 1, True
                expected = RetryDecision.SAME if same else RetryDecision.NEXT
                asks = asked if ending in (Ending.BUSY, Ending.AGAIN) else None
                assert delay == (0.0 if not same else min(1.0, 0.1 * 2 ** (here - 1)) if asks is None else asks)
        assert expected is move
        if move is RetryDecision.STOP:
            retry_state.stop()
            break
        if move is RetryDecision.NEXT:
            at, here = at + 1, 0
    left += holds
    for _ in range(left):
        assert budget.withdraw(0.0)
    assert not budget.withdraw(0.0)


def test_what_makes_no_sense_is_refused() -> None:
    for wrong in ({"attempts": 0}, {"statuses": ("teapot",)}, {"base": 5.0, "max_delay": 1.0}, {"budget": 3}):
        with pytest.raises(ConfigError):
            Repetition(**wrong)  # type: ignore[arg-type]
