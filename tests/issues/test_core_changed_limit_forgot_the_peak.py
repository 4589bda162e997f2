"""The most calls in flight were forgotten when the limit changed, or when owed tokens came back."""

from resilience.core.bulkhead import Bulkhead, Slots
from resilience.core.outcome import SUCCESS


def test_the_peak_before_a_change_of_the_limit_is_still_told():
    slots = Slots(Bulkhead(5), key="k")
    for _ in range(4):
        slots.acquire(0.0)
    slots.configure(Bulkhead(2))
    for _ in range(4):
        slots.settle(slots.tokens, SUCCESS, 0.0, 0.0)
    slots.configure(Bulkhead(8))

    assert 4 == slots.take_peak()
    assert 0 == slots.take_peak()
