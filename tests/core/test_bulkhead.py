"""Slots against a number that is raised and lowered."""

import random

import pytest

from resilience.core.bulkhead import Bulkhead, Slots
from resilience.core.outcome import SUCCESS
from resilience.errors import BulkheadFullError
from tests.seeds import over_seeds


@over_seeds(100)
def test_any_history_admits_and_counts_as_a_plain_number_does(seed):
    rng = random.Random(seed)
    limit = rng.choice([None, 1, 3, 10])
    slots, held, peak = Slots(Bulkhead(limit), key="k"), 0, 0
    for _ in range(250):
        dice = rng.random()
        if dice < 0.04:
            limit = rng.choice([None, 1, 2, 5, 10, 30])
            slots.configure(Bulkhead(limit))
        elif dice < 0.1:
            assert peak == slots.take_peak()
            peak = held
        elif dice < 0.5 and held:
            slots.settle(slots.tokens, SUCCESS, 0.0, 0.0)
            held -= 1
        elif limit is None or held < limit:
            slots.acquire(0.0)
            held += 1
            peak = max(peak, held)
        else:
            with pytest.raises(BulkheadFullError) as caught:
                slots.acquire(0.0)
            assert "k" == caught.value.key
        assert held == slots.in_flight
        assert limit == slots.limit


def test_calls_above_a_smaller_limit_run_on_and_none_joins_them():
    slots = Slots(Bulkhead(3), key="k")
    for _ in range(3):
        slots.acquire(0.0)
    slots.configure(Bulkhead(1))
    for still in (2, 1):
        slots.settle(slots.tokens, SUCCESS, 0.0, 0.0)
        assert still == slots.in_flight
        with pytest.raises(BulkheadFullError):
            slots.acquire(0.0)
    slots.settle(slots.tokens, SUCCESS, 0.0, 0.0)
    slots.acquire(0.0)

    assert 1 == slots.in_flight


def test_renewed_slots_are_all_free():
    slots = Slots(Bulkhead(2), key="k")
    slots.acquire(0.0)
    slots.renew()
    slots.acquire(0.0)
    slots.acquire(0.0)

    assert 2 == slots.in_flight


def test_a_permit_is_the_sack_that_its_token_came_from():
    slots = Slots(Bulkhead(1), key="k")

    assert slots.acquire(0.0) is slots.tokens


def test_a_call_too_many_in_shadow_mode_is_told_runs_and_is_counted_until_it_ends():
    slots, told = Slots(Bulkhead(2), key="k"), []
    slots.shadow = lambda: told.append(slots.in_flight)
    for _ in range(4):
        slots.acquire(0.0)

    assert ([2, 3], 4, 2) == (told, slots.in_flight, slots.owed)
    for still in (3, 2, 1, 0):
        slots.settle(slots.tokens, SUCCESS, 0.0, 0.0)
        assert still == slots.in_flight
    slots.acquire(0.0)
    assert ([2, 3], 1, 0, 1) == (told, slots.in_flight, slots.owed, len(slots.tokens))
    assert 4 == slots.take_peak()


def test_a_refusal_tells_how_many_calls_are_in_flight_also_above_a_limit_that_was_lowered():
    slots = Slots(Bulkhead(5), key="k")
    for _ in range(5):
        slots.acquire(0.0)
    slots.configure(Bulkhead(2))
    slots.settle(slots.tokens, SUCCESS, 0.0, 0.0)
    full = slots.full()

    assert (2, 4, 0) == (full.limit, full.in_flight, full.waiting)
    assert (2, 0) == (Slots(Bulkhead(2), key="k").full().limit, Slots(Bulkhead(2), key="k").full().in_flight)


@pytest.mark.parametrize(("free", "owed"), [(2, 0), (1, 0), (0, 1)])
def test_a_token_is_taken_anyway_and_owed_if_there_is_none(free, owed):
    slots, taken = Slots(Bulkhead(2), key="k"), []
    for _ in range(2 - free):
        slots.acquire(0.0)
    slots.take_anyway(taken)

    assert [slots.tokens] == taken
    assert (3 - free, owed, max(0, free - 1)) == (slots.in_flight, slots.owed, len(slots.tokens))
    slots.settle(taken[0], SUCCESS, 0.0, 0.0)
    assert (3 - free, 2 - free) == (slots.take_peak(), slots.in_flight)


def test_a_token_that_is_taken_anyway_is_noted_once():
    slots, taken = Slots(Bulkhead(2), key="k"), []
    slots.take_anyway(taken)
    slots.take_anyway(taken)

    assert ([slots.tokens], 1) == (taken, slots.in_flight)


def test_a_limit_that_is_taken_away_with_tokens_owed_owes_none():
    slots = Slots(Bulkhead(3), key="k")
    for _ in range(3):
        slots.acquire(0.0)
    slots.configure(Bulkhead(1))
    slots.configure(Bulkhead(None))

    assert (3, 0) == (slots.in_flight, slots.owed)
    slots.settle(slots.tokens, SUCCESS, 0.0, 0.0)
    assert (2, 1) == (slots.in_flight, len(slots.tokens))
    slots.configure(Bulkhead(3))
    assert 1 == len(slots.tokens)


@pytest.mark.parametrize(("held", "limit", "free", "owed"), [
    (0, 3, 3, 0), (0, 2, 2, 0), (0, 1, 1, 0), (0, 5, 5, 0), (2, 2, 0, 0), (2, 1, 0, 1), (2, 5, 3, 0)])
def test_free_tokens_are_taken_out_and_put_in_with_the_change_of_the_limit(held, limit, free, owed):
    slots = Slots(Bulkhead(3), key="k")
    for _ in range(held):
        slots.acquire(0.0)
    slots.configure(Bulkhead(limit))

    assert (free, owed) == (len(slots.tokens), slots.owed)


def test_a_bulkhead_without_a_limit_mints_a_token_for_each_call_at_once():
    slots = Slots(Bulkhead(None), key="k")
    assert [] == slots.tokens
    for _ in range(3):
        slots.acquire(0.0)

    assert (3, [], 3) == (slots.in_flight, slots.tokens, slots.take_peak())
    slots.renew()
    assert (0, [], 0) == (slots.in_flight, slots.tokens, slots.take_peak())
