"""Collapsed functions for callers that are threads, on a clock that waits for them."""

from resilience import Registry, collapse, command
from resilience.testing import ManualClock
from tests.drivers.until import until

LONG = 60.0  # a window that no test waits for


class Clock(ManualClock):
    """A clock on which time passes once *ready* says so, while its caller sleeps; else at the end of the test."""

    def __init__(self, ready=lambda: True):
        super().__init__()
        self.ready = ready

    def sleep(self, seconds):
        until(self.ready)
        self.advance(seconds)


def collapsed(fn, clock, **settings):
    """A collapsed function whose windows pass on *clock*, without any policy that would use a thread."""
    guarded = command(registry=Registry(clock=clock), key="k", timeout=None, max_concurrent=None, breaker=None)(fn)
    return collapse(**settings)(guarded)


def batches_of(single):
    """What is behind a collapsed plain function."""
    return next(cell.cell_contents.__self__ for cell in single.__closure__
                if hasattr(getattr(cell.cell_contents, "__self__", None), "batcher"))


def waiting(single):
    """How many callers are in the open batch."""
    batch = batches_of(single).batcher.open_in((0,))
    return 0 if batch is None else batch.callers
