"""Shared limiter: one limit of which several instances share the count, as one of them sees it. Pure: told the time.

It keeps a lease (lease.py) for each caller. Callers who owe nothing are the first to be forgotten when there are too
many; if none is idle, all further ones share one, as with a limit that is not shared (core.rate_limiter).

In the store a caller is a hash: what tells callers apart may be a secret, and may be long.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

from ..core.rate_limit import RateLimit
from .lease import Lease

_LOOKS: Final = 8  # callers to look at for an idle one: a bound for one request's work
_OVERFLOW: Final = "others"


class SharedLimiter:
    """The leases of one limit in one instance.

    Attributes:
        name: Of the limit: with the same name, instances share it.
        interval: Seconds of one unit.
        burst: Units that may be spent at once.
        max_wait: Seconds that a request may wait.
    """

    interval: float
    burst: float
    max_wait: float

    def __init__(self, name: str, policy: RateLimit, prefix: str) -> None:
        """Nothing is known of anybody.

        Args:
            name: Of the limit.
            policy: What is in force.
            prefix: Of the store's keys.
        """
        self.name, self._prefix = name, prefix
        self._leases: OrderedDict[Hashable, Lease] = OrderedDict()  # least recently used first
        self._overflow = Lease(self._stored(_OVERFLOW))
        self._debtors = set[Lease]()
        self.configure(policy)

    def configure(self, policy: RateLimit) -> None:
        """Go on under another policy; the store keeps what was spent."""
        self.interval, self.burst = policy.per / policy.calls, float(policy.burst or policy.calls)
        self.max_wait, self._max_keys = policy.max_wait, policy.max_keys

    @property
    def keys(self) -> int:
        """How many callers are remembered."""
        return len(self._leases)

    def lease_of(self, key: Hashable, now: float) -> Lease:
        """The lease of the caller with this *key*."""
        lease = self._leases.get(key)
        if lease is not None:
            self._leases.move_to_end(key)
            return lease
        if len(self._leases) >= self._max_keys and not self._forget_one(now):
            return self._overflow
        lease = self._leases[key] = Lease(self._stored(repr(key)))
        return lease

    def debtors(self, now: float) -> list[Lease]:
        """The leases of those who owe something that the store was not told."""
        found = [lease for lease in self._debtors if lease.owes > 0.0 or lease.local.owed(now) > 0.0]
        self._debtors = set(found)
        return found

    def owe(self, lease: Lease, units: float) -> None:
        """Book so many *units* with the next question, whatever is left; less than 0: give them back."""
        lease.owes += units
        self._debtors.add(lease)

    def owe_locally(self, lease: Lease, units: float, now: float) -> None:
        """So many *units* were admitted without the store; they are given back, if they are below 0."""
        lease.local.add(units, now)
        self._debtors.add(lease)

    def question(self, lease: Lease, now: float, *, wants: bool) -> str:
        """What to ask the store now for one caller; see Lease.question()."""
        lease.owes += lease.local.take(now)
        return lease.question(self.interval, self.burst, self.max_wait, now, wants=wants)

    def answer(self, lease: Lease, line: str, now: float) -> None:
        """What the store has answered."""
        lease.answer(line, self.interval, self.burst, now)

    def no_answer(self, lease: Lease) -> None:
        """The store did not answer, or not in time; those who wait are woken."""
        lease.no_answer()
        self._debtors.add(lease)

    def _stored(self, key: str) -> str:
        told = hashlib.blake2b(f"{self.name}\0{key}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return f"{self._prefix}limit:{{{told}}}"

    def _forget_one(self, now: float) -> bool:
        for _ in range(min(_LOOKS, len(self._leases))):
            key, lease = next(iter(self._leases.items()))
            if lease.is_idle(now):
                del self._leases[key]
                self._debtors.discard(lease)
                return True
            self._leases.move_to_end(key)
        return False
