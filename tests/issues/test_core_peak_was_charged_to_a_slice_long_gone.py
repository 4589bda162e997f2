"""After an idle time, the most calls in flight were noted in the slice of the last call, and left with it."""

from resilience.core.bulkhead import Bulkhead, Slots
from resilience.core.outcome import SUCCESS
from resilience.metrics.recorder import Recorder


def test_a_call_after_a_pause_counts_into_most_in_flight():
    slots = Slots(Bulkhead(10), key="k")
    recorder = Recorder(now=0.0, take_peak=slots.take_peak)
    for _ in range(5):
        slots.acquire(14.0)
    for _ in range(5):
        slots.settle(slots.tokens, SUCCESS, 14.0, 14.5)
        recorder.success(14.0, 14.5)

    assert 5 == recorder.read(14.6).max_in_flight
    assert 5 == recorder.read(23.9).max_in_flight
    assert 0 == recorder.read(24.1).max_in_flight
