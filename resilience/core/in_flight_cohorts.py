"""Cohorts: how many of a closed circuit's calls are under way, and slow already.

A call that hangs tells nothing until it ends, and by then as many hang beside it
as can. So with ``slow_call`` set the calls under way are counted, by when they
began: those of one eighth of ``slow_call`` are a cohort. A cohort is a list with
one token for each call; adding one and taking one away are atomic, and the
compiled wrapper writes both out as it does for a bulkhead's slot (bulkhead.py has
the reason). The first caller of the next eighth begins a new cohort, and weighs
those calls that are overdue by then: ``slow_call`` after their cohort's end, and
what they have lost to stalls, so that nobody is called slow who is not.

The caller of every method holds the circuit's lock.
"""

from __future__ import annotations

from typing import Final

from .stalls import Stalls

_PARTS: Final = 8
#: Tokens of nobody. A list that is empty but for one call would be given memory, and back again, by each call: 35 ns.
BALLAST: Final = 8


class Cohorts:
    """The calls under way of one term.

    Attributes:
        running: The cohort of those who begin now.
        edge: When it ends, seconds.
        slow_call: What it is an eighth of, seconds.
    """

    __slots__ = ("_past", "edge", "running", "slow_call")

    def __init__(self, slow_call: float, now: float) -> None:
        self._past: list[tuple[float, list[None]]] = []  # each with its end
        self._begin(slow_call, now)

    def turn(self, slow_call: float, now: float, stalls: Stalls) -> int:
        """Begin the next cohort, at once if *slow_call* is another one now; how many calls are overdue."""
        ended = min(self.edge, now), self.running
        self._past = [each for each in (*self._past, ended) if len(each[1]) > BALLAST]
        self._begin(slow_call, now)
        return sum(len(cohort) - BALLAST for end, cohort in self._past
                   if end + slow_call + stalls.lost(end, now) <= now)

    def _begin(self, slow_call: float, now: float) -> None:
        self.running: list[None] = [None] * BALLAST
        self.slow_call, self.edge = slow_call, now + slow_call / _PARTS
