"""Lag shedder: how much to turn away when the event loop itself falls behind. Pure.

A loop with more work than time comes round late: its *lag* is the wait of everything that it serves. One late round is
a garbage collection or a stall; what counts is a lag that stands. So of each window the least lag is looked at, as
CoDel does with a router's queue (Nichols and Jacobson, 2012):

    above the target            the share that is admitted falls, the more the more it is above, to half at most
    between half of it and it   nothing changes
    below half of the target    the share grows, by a fiftieth of all

The share is of all requests that come, and the most important come first (as WeChat's DAGOR does, Zhou and others,
2018): a *cutoff* lies within a level of importance; what is more important is admitted, what is less is not. How many
come of each level is known from the window before. Within the level of the cutoff, tenants share what is left as
equally as what they ask for allows (max-min fairness): who asked for no more than the cap is admitted, and who asked
for more, in that proportion.
"""

from __future__ import annotations

from collections.abc import Hashable
from math import inf
from typing import Final

from ...core.admission_queue import LEVELS

#: Seconds of one window.
WINDOW_S: Final = 0.1
#: What is taken off in one window for each target that the lag has, and the most.
LESS: Final = 0.1
MOST_LESS: Final = 0.5
#: What is added in one window.
MORE: Final = 0.02
#: Of the requests that come, this share is admitted at least: or nobody would see that there is room again.
LEAST: Final = 0.01
#: Tenants that are counted apart in one window; further ones share a count.
MAX_TENANTS: Final = 4096
_OTHERS: Final = ("", "others")


class LagShedder:
    """Says which requests are turned away. For one thread.

    Attributes:
        target_s: Lag above which there is too much, seconds.
        lag_s: Least lag of the last window.
        share: Of the requests that come, how many may be admitted; 1: all.
    """

    __slots__ = ("_asked", "_came", "_cap", "_cut", "_edge", "_fraction", "_least_s", "_tenants", "lag_s", "share",
                 "target_s")

    def __init__(self, target_s: float, now: float) -> None:
        self.target_s = target_s
        self.lag_s, self.share = 0.0, 1.0
        self._least_s, self._edge = inf, now + WINDOW_S
        self._came = [0] * LEVELS
        self._tenants: dict[Hashable, int] = {}  # how many of the cutoff's level came, in this window
        self._asked: dict[Hashable, int] = {}  # and in the last one
        self._cut, self._fraction, self._cap = LEVELS, 1.0, inf

    @property
    def sheds(self) -> bool:
        """Whether anything is turned away."""
        return self._cut < LEVELS

    def sample(self, lag_s: float, now: float) -> None:
        """The loop came round so late."""
        self._least_s = min(self._least_s, lag_s)
        if now >= self._edge:
            self._turn(now)

    def admits(self, level: int, tenant: Hashable, u: float) -> bool:
        """Whether a request is admitted.

        Args:
            level: Its importance; 0 is the most.
            tenant: Whose it is; None: tenants are not told apart.
            u: A random number in [0, 1).
        """
        self._came[level] += 1
        if level != self._cut:
            return level < self._cut
        if tenant is None:
            return u < self._fraction
        tenants = self._tenants
        if tenant not in tenants and len(tenants) >= MAX_TENANTS:
            tenant = _OTHERS
        tenants[tenant] = tenants.get(tenant, 0) + 1
        asked = self._asked.get(tenant)
        return u < self._fraction if asked is None else u * asked < self._cap

    def _turn(self, now: float) -> None:
        """Begin another window."""
        came, lag_s, share = sum(self._came), self._least_s, self.share
        if lag_s > self.target_s:
            share *= max(1.0 - MOST_LESS, 1.0 - LESS * lag_s / self.target_s)
        elif lag_s < 0.5 * self.target_s:
            share = min(1.0, share + MORE) if came else 1.0
        self.share = max(share, LEAST)
        self._cut_at(self.share * came)
        self.lag_s, self._least_s = lag_s, inf
        self._came, self._tenants = [0] * LEVELS, {}
        self._edge = now + WINDOW_S

    def _cut_at(self, room: float) -> None:
        """Let the cutoff be where so many are admitted, if as many come as in the last window."""
        if self.share < 1.0:
            for level, count in enumerate(self._came):
                if room < count:
                    self._asked = self._tenants if level == self._cut else {}
                    self._cut, self._fraction = level, room / count
                    self._cap = _cap(list(self._asked.values()), room)
                    return
                room -= count
        self._cut = LEVELS


def _cap(asked: list[int], room: float) -> float:
    """How many each may have, so that all together have *room*."""
    left, many = room, len(asked)
    for count in sorted(asked):
        if count * many >= left:
            return left / many
        left -= count
        many -= 1
    return inf
