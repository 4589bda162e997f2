"""Changes of the limit that fell between two steps of acquire() or settle()."""

import threading

import pytest

from resilience.core.bulkhead import Bulkhead, Slots
from resilience.core.outcome import SUCCESS
from resilience.errors import BulkheadFullError


class Interrupted:
    """A lock before which something else gets its turn, once."""

    def __init__(self, meanwhile):
        self.lock, self.meanwhile = threading.Lock(), meanwhile

    def __enter__(self):
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        self.lock.acquire()

    def __exit__(self, *_):
        self.lock.release()


def admitted(slots, tries=10):
    count = 0
    for _ in range(tries):
        try:
            slots.acquire(0.0)
        except BulkheadFullError:
            continue
        count += 1
    return count


def test_a_limit_set_while_an_unlimited_bulkhead_mints_a_token_holds():
    slots = Slots(Bulkhead(None), key="k")
    slots._lock = Interrupted(lambda: slots.configure(Bulkhead(2)))
    slots.acquire(0.0)

    assert 1 == admitted(slots)
    assert 2 == slots.in_flight


def test_a_limit_lowered_while_a_token_comes_back_holds():
    slots = Slots(Bulkhead(3), key="k")
    for _ in range(3):
        slots.acquire(0.0)

    class Tokens(list):
        def __iadd__(self, tokens):
            slots.configure(Bulkhead(1))
            return super().__iadd__(tokens)

    slots.tokens = Tokens()
    slots.settle(slots.tokens, SUCCESS, 0.0, 0.0)

    assert 2 == slots.in_flight
    with pytest.raises(BulkheadFullError):
        slots.acquire(0.0)
    slots.settle(slots.tokens, SUCCESS, 0.0, 0.0)
    slots.settle(slots.tokens, SUCCESS, 0.0, 0.0)
    assert 1 == admitted(slots)
