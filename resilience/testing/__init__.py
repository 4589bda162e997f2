"""For tests of code that uses resilience."""

from .assertions import assert_counts, assert_idle
from .clock import ManualClock
from .frozen_clock import frozen
from .overrides import disabled, forced_closed, forced_open, restored
from .recording import RecordedEvents
from .virtual_loop import DeadlockError, VirtualTimeLoop, virtual_time

__all__ = [
    "DeadlockError",
    "ManualClock",
    "RecordedEvents",
    "VirtualTimeLoop",
    "assert_counts",
    "assert_idle",
    "disabled",
    "forced_closed",
    "forced_open",
    "frozen",
    "restored",
    "virtual_time",
]


def __dir__() -> list[str]:
    """The public names; submodules are there to be imported, not to be listed."""
    return [*__all__]
