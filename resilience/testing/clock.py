"""ManualClock: time that passes when the test says so."""

from __future__ import annotations

import math


class ManualClock:
    """A clock for ``Registry(clock=...)`` that stands still until advanced.

    Args:
        start: Its first reading, seconds.
    """

    __slots__ = ("_now",)

    def __init__(self, start: float = 0.0) -> None:
        self._now = float(start)

    def __call__(self) -> float:
        """The time, seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Args:
            seconds: How much.

        Raises:
            ValueError: *seconds* is negative or not finite: a monotonic clock never steps back.
        """
        if not seconds >= 0 or math.isinf(seconds):
            raise ValueError(f"seconds must be at least 0 and finite, not {seconds!r}")
        self._now += seconds

    def sleep(self, seconds: float) -> None:
        """Sleep as a retry does between two attempts: by letting time pass.

        Args:
            seconds: How much.
        """
        self.advance(seconds)

    def __repr__(self) -> str:
        return f"ManualClock({self._now:g})"
