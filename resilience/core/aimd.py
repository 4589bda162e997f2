"""AIMD: a share that falls by a factor when a target says that it is busy, and grows by steps while it answers.

Additive increase, multiplicative decrease (Chiu and Jain, 1989; congestion avoidance in TCP) finds the rate that a
target bears, and shares it fairly among clients that do not know of each other. A decrease counts once for all calls
that were under way: those that began before it tell nothing about the rate after it.
"""

from __future__ import annotations

from math import inf
from typing import Final

#: What is left after a busy answer (Envoy's adaptive concurrency and CUBIC use factors from 0.7 to 0.9).
DECREASE: Final = 0.7
#: What is added in each second with a good answer: from the floor to the whole in 20 s.
INCREASE: Final = 0.05
STEP_S: Final = 1.0
FLOOR: Final = 0.01


class AimdShare:
    """A share, from FLOOR to 1. The caller of every method holds a lock.

    Attributes:
        share: What is in force.
    """

    __slots__ = ("_changed_at", "share")

    def __init__(self) -> None:
        self.share, self._changed_at = 1.0, -inf

    def busy(self, started: float, now: float) -> bool:
        """A call that began at *started* found the target busy; whether the share falls."""
        if started < self._changed_at or self.share <= FLOOR:
            return False
        self.share, self._changed_at = max(FLOOR, self.share * DECREASE), now
        return True

    def good(self, now: float) -> bool:
        """A call succeeded; whether the share grows."""
        if self.share >= 1.0 or now < self._changed_at + STEP_S:
            return False
        self.share, self._changed_at = min(1.0, self.share + INCREASE), now
        return True

    def clear(self) -> None:
        """Forget what was learnt."""
        self.share, self._changed_at = 1.0, -inf
