"""An allowance: how much of what is cheap to ask for one connection may ask. Pure: told the time."""

from __future__ import annotations

from typing import Final

#: Frames that cost their sender nothing, and are no part of a message: a second, and at once.
CHEAP_FRAMES: Final = (200.0, 1000)


def earned(size: int) -> int:
    """How many such frames a piece of *size* bytes that we send allows the other end.

    Two window updates, of the stream and of the connection, and a PING to measure; and one for each KiB. Go's net/http
    opens both windows again for each 4 KiB that its program has read (before Go 1.20: for each read), and takes frames
    of up to 1 MiB, so that many may follow one frame of ours. Envoy allows ten for each of its frames, of 16 KiB.
    """
    return 3 + size // 1024


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
