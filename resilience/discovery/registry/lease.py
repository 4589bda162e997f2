"""A lease: an instance is listed for as long as it is renewed. Pure: told the time."""

from __future__ import annotations

import attrs

from .entry import Entry, LeaseTimes
from .moment import Moment


@attrs.define(eq=False)
class Lease:
    """The lease of one instance.

    Attributes:
        entry: The instance as it is listed.
        source: The address that registered it; see claims.source_of().
        duration_s: How long the lease lasts after a renewal.
        began: When.
        arrived: When the registration came that the instance's timestamp is of.
        renewed_s: When it was last renewed; registering is one.
        renewed_ms: The same in milliseconds since 1970.
        up_ms: When the instance was first up, in milliseconds since 1970; 0: not yet.
        override: The status that an operator has set; None: nobody has.
        renewals: How many there were.
        is_doubled: Whether a renewal counts twice, as it does in Netflix's server.
    """

    entry: Entry
    source: str
    duration_s: int
    began: Moment
    arrived: Moment
    renewed_s: float
    renewed_ms: int
    up_ms: int = 0
    override: str | None = None
    renewals: int = 0
    is_doubled: bool = False

    def renew(self, now: Moment) -> None:
        """It lasts for its duration from *now* on."""
        self.renewed_s, self.renewed_ms = now.s, now.unix_ms
        self.renewals += 1

    def times(self, evicted_ms: int = 0) -> LeaseTimes:
        """What is told of it.

        Args:
            evicted_ms: When it was evicted, in milliseconds since 1970; 0: it was not.
        """
        return LeaseTimes(self.began.unix_ms, self.renewed_ms, self.up_ms, evicted_ms)

    def current_entry(self) -> Entry:
        """The entry with the times of now; what lists have are those of its last change."""
        entry = self.entry
        return Entry(entry.instance, entry.action, entry.updated_ms, self.times())

    @property
    def ends_s(self) -> float:
        """When it runs out unless it is renewed."""
        twice = 2 if self.is_doubled and self.renewals else 1
        return self.renewed_s + self.duration_s * twice


@attrs.frozen
class Tombstone:
    """What is remembered of an instance that has left.

    A registration that was sent before it left, and comes after, would bring it back for the time of a lease. Its
    timestamp is by the clock of the instance, which may be hours off; so the end is counted by that clock, too.

    Attributes:
        left: When.
        left_by_its_clock_ms: The timestamp of its last registration, and the time that passed since that came.
        until_s: When it is forgotten: after the time that its lease would have lasted.
    """

    left: Moment
    left_by_its_clock_ms: int
    until_s: float

    @classmethod
    def of(cls, lease: Lease, now: Moment) -> Tombstone:
        """The tombstone of a *lease* that is cancelled *now*."""
        since_ms = int(max(0.0, now.s - lease.arrived.s) * 1000)
        return cls(now, lease.entry.instance.dirty_ms + since_ms, now.s + lease.duration_s)



class Tombstones:
    """What is remembered of instances that have left, oldest first.

    Args:
        most: One more pushes out the oldest.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: dict[tuple[str, str], Tombstone] = {}

    def __len__(self) -> int:
        return len(self._found)

    def get(self, app: str, identity: str, now: Moment) -> Tombstone | None:
        """What is remembered of an instance; None: nothing."""
        found = self._found.get((app, identity))
        return found if found is not None and found.until_s > now.s else None

    def add(self, app: str, identity: str, tombstone: Tombstone) -> None:
        """Remember that an instance has left."""
        self.discard(app, identity)
        self._found[app, identity] = tombstone
        if len(self._found) > self._most:
            del self._found[next(iter(self._found))]

    def discard(self, app: str, identity: str) -> None:
        """Forget an instance that is back."""
        self._found.pop((app, identity), None)

    def purge(self, now: Moment) -> None:
        """Forget those whose time is over."""
        self._found = {key: each for key, each in self._found.items() if each.until_s > now.s}
