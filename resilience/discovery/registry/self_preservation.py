"""Self-preservation: when many renewals are missing, the network is at fault rather than the instances. Pure.

Of N instances, each of which renews every 30 s, ``int(N * (60 / 30) * 0.85)`` renewals a minute must come; with fewer,
no lease is evicted. N grows by one with each new lease and shrinks by one with each that ends, and every 15 minutes it
is set to what the registry has, if that is more than 85 % of N: a count that has fallen by more than that is a reason
to keep what is there, not to forget it.
"""

from __future__ import annotations

from typing import Final

import attrs

MINUTE_S: Final = 60


class RenewalRate:
    """How many renewals came in the last 60 whole seconds."""

    def __init__(self) -> None:
        self._counts = [0] * MINUTE_S
        self._second = 0
        self._total = 0
        self._now = 0

    def add(self, now_s: float) -> None:
        """One more."""
        self._move(now_s)
        self._now += 1

    def last_minute(self, now_s: float) -> int:
        """How many there were in the 60 seconds before this one."""
        self._move(now_s)
        return self._total

    def _move(self, now_s: float) -> None:
        second = int(now_s)
        passed = second - self._second
        if passed <= 0:
            return
        for each in range(min(passed, MINUTE_S + 1)):
            place = (self._second + each) % MINUTE_S
            self._total += self._now - self._counts[place]
            self._counts[place], self._now = self._now, 0
        self._second = second


@attrs.define
class SelfPreservation:
    """The number of leases that should be renewed, and what follows from it.

    Attributes:
        enabled: Whether it may keep leases at all.
        renewal_interval_s: How often each instance is expected to renew.
        threshold_ratio: Share of the expected renewals that must come.
        expected: How many instances should renew: N.
        counts_from_zero: Whether N grows from 0, too; if not, a registry that starts with N = 0 never evicts.
    """

    enabled: bool
    renewal_interval_s: float
    threshold_ratio: float
    expected: int
    counts_from_zero: bool

    @property
    def threshold(self) -> int:
        """Renewals a minute; more must come for leases to be evicted."""
        return int(self.expected * (60.0 / self.renewal_interval_s) * self.threshold_ratio)

    def lease_began(self) -> None:
        """There is one more."""
        if self.expected > 0 or self.counts_from_zero:
            self.expected += 1

    def lease_ended(self) -> None:
        """There is one less."""
        if self.expected > 0:
            self.expected -= 1

    def recount(self, leases: int) -> None:
        """Set N to the number of *leases* that there are, unless too many are missing."""
        if leases > self.threshold_ratio * self.expected:
            self.expected = leases

    def allows_eviction(self, renewals: int) -> bool:
        """Whether leases may be evicted after so many *renewals* in the last minute."""
        return not self.enabled or 0 < self.threshold < renewals
