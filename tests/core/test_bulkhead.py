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
