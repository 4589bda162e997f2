"""A lease: an instance is listed for as long as it is renewed. Pure: told the time."""

from __future__ import annotations

import attrs

from .entry import Entry, LeaseTimes
from .moment import Moment
from .version import NEVER, Stamp, Version


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
        version: Of what the instance says.
        said: The status that it would be listed with if no operator had set one.
        up_ms: When the instance was first up, in milliseconds since 1970; 0: not yet.
        override: The status that an operator has set; None: nobody has.
        override_stamp: When that was set or removed.
        renewals: How many there were.
        is_doubled: Whether a renewal counts twice, as it does in Netflix's server.
        is_contested: Whether another process than the one that has registered renews it.
    """

    entry: Entry
    source: str
    duration_s: int
    began: Moment
    arrived: Moment
    renewed_s: float
    renewed_ms: int
    version: Version
    said: str
    up_ms: int = 0
    override: str | None = None
    override_stamp: Stamp = NEVER
    renewals: int = 0
    is_doubled: bool = False
    is_contested: bool = False

    def contest(self, dirty_ms: int, source: str) -> bool:
        """Whether a renewal is of another process that has registered the same instance before; only once.

        Args:
            dirty_ms: The timestamp of whoever renews; 0: it says none.
            source: Its address; see claims.source_of().
        """
        is_other = 0 < dirty_ms < self.entry.instance.dirty_ms and source != self.source and self.override is None
        is_news, self.is_contested = is_other and not self.is_contested, self.is_contested or is_other
        return is_news

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
    def key(self) -> tuple[str, str]:
        """Application and instance."""
        return self.entry.instance.app, self.entry.instance.id

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
        until_s: Until when registrations from before are refused: for the time that its lease would have lasted.
        version: Of its leaving.
        override_stamp: When an operator's status was last set or removed.
    """

    left: Moment
    left_by_its_clock_ms: int
    until_s: float
    version: Version
    override_stamp: Stamp = NEVER

    @classmethod
    def of(cls, lease: Lease, now: Moment, origin: str) -> Tombstone:
        """The tombstone of a *lease* that is cancelled *now*, at the registry *origin*."""
        since_ms, known = int(max(0.0, now.s - lease.arrived.s) * 1000), lease.version
        stamp = lease.override_stamp
        return cls(now, lease.entry.instance.dirty_ms + since_ms, now.s + lease.duration_s,
                   Version(known.era_ms + since_ms, True, known.stamp.next(now.unix_ms, origin)),
                   stamp if lease.override is None else stamp.next(now.unix_ms, origin))


class Tombstones:
    """What is remembered of instances that have left, oldest first.

    Args:
        most: One more pushes out the oldest.
        least_s: How long each is kept at least, for other registries that have not heard of it.
    """

    def __init__(self, most: int, least_s: float) -> None:
        self.most, self.least_s = most, least_s
        self._found: dict[tuple[str, str], Tombstone] = {}

    def __len__(self) -> int:
        return len(self._found)

    def items(self) -> list[tuple[tuple[str, str], Tombstone]]:
        """All of them, by application and instance."""
        return list(self._found.items())

    def get(self, app: str, identity: str, now: Moment) -> Tombstone | None:
        """By what registrations from before are refused; None: nothing."""
        found = self._found.get((app, identity))
        return found if found is not None and found.until_s > now.s else None

    def any(self, app: str, identity: str) -> Tombstone | None:
        """What is remembered of an instance, although it may register with any timestamp; None: nothing."""
        return self._found.get((app, identity))

    def add(self, app: str, identity: str, tombstone: Tombstone) -> None:
        """Remember that an instance has left."""
        self.discard(app, identity)
        self._found[app, identity] = tombstone
        if len(self._found) > self.most:
            del self._found[next(iter(self._found))]

    def discard(self, app: str, identity: str) -> None:
        """Forget an instance that is back."""
        self._found.pop((app, identity), None)

    def purge(self, now: Moment) -> None:
        """Forget those whose time is over."""
        self._found = {key: each for key, each in self._found.items()
                       if max(each.until_s, each.left.s + self.least_s) > now.s}
