"""Restarts: how long to wait before a worker that died is started again. Pure.

Theory of operation. The first death after a life that was long enough is answered at once: most crashes are rare, and a
missing worker costs. Each further death after a short life doubles the wait, up to a minute at most, so that a worker
which cannot live does not keep the machine busy with being started. A random share is taken off each wait: workers that
died of one cause are not all started in one moment. It never gives up; whoever watches is told how often it was.
"""

from __future__ import annotations

from typing import Final

import attrs

FIRST_S: Final = 0.2
LONGEST_S: Final = 60.0
#: A life of this length says that the worker can live.
STABLE_S: Final = 30.0
_JITTER: Final = 0.5  # at most this share of a wait is taken off


@attrs.define
class Restarts:
    """The deaths of one worker. Not thread-safe.

    Attributes:
        in_a_row: Deaths, each after a life that was shorter than STABLE_S.
        total: All deaths.
    """

    in_a_row: int = 0
    total: int = 0

    def died(self, lived_s: float, u: float) -> float:
        """How many seconds to wait before the next start.

        Args:
            lived_s: How long the worker was alive, seconds; a clock that went back is a life of no length.
            u: A random number from 0 to 1.
        """
        self.total += 1
        if lived_s >= STABLE_S:
            self.in_a_row = 0
        self.in_a_row += 1
        if self.in_a_row == 1:
            return 0.0
        return min(LONGEST_S, FIRST_S * 2.0 ** min(self.in_a_row - 2, 60)) * (1.0 - _JITTER * u)
