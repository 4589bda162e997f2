"""For tests of code that uses resilience."""

from .clock import ManualClock

__all__ = ["ManualClock"]
