"""An allowance: how much of what is cheap to ask for one connection may ask. Pure: told the time."""

from __future__ import annotations


class Allowance:
    """A token bucket."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: int) -> None:
        """It is full.

        Args:
            rate: A second, in the long run.
            burst: At once.
        """
        self._rate, self._burst = rate, burst
        self._left, self._at = float(burst), 0.0

    def spend(self, now: float) -> bool:
        """Take one; whether there was one left."""
        self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._rate) - 1.0
        self._at = now
        return self._left >= 0.0

    def earn(self, count: int) -> None:
        """Give some for what was done for the client."""
        self._left = min(self._burst, self._left + count)
