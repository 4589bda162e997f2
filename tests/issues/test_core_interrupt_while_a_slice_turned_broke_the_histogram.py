"""An interrupt while a histogram began a new slice left it without the slice's sum: reset() and every scrape raised."""

from resilience import Registry, command
from resilience.testing import ManualClock
from tests.interrupts import interrupted


def test_an_interrupt_anywhere_in_a_call_that_turns_a_slice_leaves_statistics_that_can_be_read_and_reset():
    clock = ManualClock()
    fn = command(key="k", timeout=None, registry=Registry(clock=clock))(lambda: 1)
    for _ in interrupted(fn):
        assert fn.resilience.in_flight == 0
        fn.resilience.snapshot()
        fn.resilience.reset()
        clock.advance(100.0)
