"""The registry: leases of instances, and what became of them. Pure: told the time and the choice of victims.

    register    a lease begins, or goes on with what the instance now says of itself, unless what is there is newer
    renew       it lasts for its duration from now on; a stranger is told to register
    cancel      it ends; for the time that it would have lasted, a registration from before is refused
    override    an operator sets the status, until they remove it or the lease ends
    evict       leases that have run out end, a few at a time, unless self-preservation keeps them

The status that an instance is listed with is the first that applies: what it says itself, unless that is UP or
OUT_OF_SERVICE; what an operator has set; what it was listed with, if that was UP or OUT_OF_SERVICE; what it says.

Each change makes a new entry; snapshot() builds the lists from the entries when it is asked, once for all changes that
came meanwhile, and again only for the applications that changed. What is accepted here, and not from another registry,
is noted for the others (changed). What they know themselves is merged by copies.py. One thread at a time may use a
registry.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import attrs

from .change import Change
from .entry import ADDED, MODIFIED, Entry, LeaseTimes
from .instance import MOST_METADATA, OUT_OF_SERVICE, UNKNOWN, UP, Instance
from .lease import Lease, Tombstone
from .lease_table import REMEMBERED_S, Key, LeaseTable
from .moment import Moment
from .refusal import RefusedError
from .self_preservation import RenewalRate, SelfPreservation
from .settings import RegistrySettings
from .snapshot import Snapshot
from .version import NEVER, Version

#: A clock that is further ahead than this is counted as such, seconds.
AHEAD_S: Final = 60.0
#: How often changes that are too old leave the delta, seconds.
PURGE_EVERY_S: Final = 30.0
_TRAFFIC: Final = (UP, OUT_OF_SERVICE)

Sample = Callable[[Sequence[Lease], int], Sequence[Lease]]


class InstanceRegistry:
    """Leases of instances. Not thread-safe.

    Attributes:
        settings: See there; go_by() changes them.
        name: Of this registry among others; another one at each start.
        table: The leases.
        preservation: Whether leases are kept while too few are renewed.
        rate: How many renewals come.
        counts: Of what was done and refused, by name.
        next_eviction_s: When leases that have run out are evicted next.
        is_complete: Whether it has what other registries have, if there are any; nothing is evicted before.
        changed: Told of each change that was accepted here, and not from another registry.
    """

    def __init__(self, settings: RegistrySettings, now: Moment, name: str = "") -> None:
        self.settings = settings
        self.name = name or secrets.token_hex(8)
        self.preservation = SelfPreservation(
            settings.self_preservation, settings.expected_renewal_interval, settings.renewal_threshold,
            settings.expected_instances, not settings.original_defects)
        self.counts: Counter[str] = Counter()
        self.table = LeaseTable(settings, now, self.preservation)
        self.rate = RenewalRate()
        self.rate.last_minute(now.s)
        self.is_complete = True
        self.changed: Callable[[Key, Change], None] = _tell_nobody
        self.next_eviction_s = now.s + settings.eviction_interval
        self._evicted_s = now.s
        self._next_purge_s = now.s + PURGE_EVERY_S
        self._next_recount_s = now.s + settings.recount_interval

    def go_by(self, settings: RegistrySettings, now: Moment) -> None:
        """Go by other *settings* from *now* on; what is there stays, even if it is more than may come."""
        self.next_eviction_s = min(self.next_eviction_s, now.s + settings.eviction_interval)
        self._next_recount_s = min(self._next_recount_s, now.s + settings.recount_interval)
        self.settings = settings
        self.table.go_by(settings)
        state = self.preservation
        state.enabled, state.renewal_interval_s = settings.self_preservation, settings.expected_renewal_interval
        state.threshold_ratio, state.counts_from_zero = settings.renewal_threshold, not settings.original_defects

    def has_peers(self) -> None:
        """There are other registries: remember for them what has left."""
        self.table.left.least_s = REMEMBERED_S

    # -- looking

    def __len__(self) -> int:
        return len(self.table)

    def lease(self, app: str, identity: str) -> Lease | None:
        """The lease of an instance; None: it has none."""
        return self.table.get(app, identity)

    def leases(self) -> Iterator[Lease]:
        """All leases, by application."""
        return iter(self.table)

    def tombstone(self, app: str, identity: str, now: Moment) -> Tombstone | None:
        """By what a late registration of an instance that has left is refused; None: nothing."""
        return self.table.left.get(app, identity, now)

    def renewals_last_minute(self, now: Moment) -> int:
        """How many renewals came in the last 60 seconds."""
        return self.rate.last_minute(now.s)

    def allows_eviction(self, now: Moment) -> bool:
        """Whether leases that have run out may be evicted."""
        return self.is_complete and self.preservation.allows_eviction(self.renewals_last_minute(now))

    @property
    def eviction_quota(self) -> int:
        """How many leases may be evicted at a time."""
        return len(self) - int(len(self) * self.settings.renewal_threshold)

    @property
    def tombstones(self) -> int:
        """How many instances that have left are remembered."""
        return len(self.table.left)

    @property
    def recent_changes(self) -> int:
        """How many changes the delta has."""
        return self.table.recent_changes

    def overrides(self) -> Mapping[str, str]:
        """The statuses that operators have set, by the id of the instance."""
        return {lease.entry.instance.id: lease.override for lease in self.leases() if lease.override is not None}

    def snapshot(self) -> Snapshot:
        """The registry as it is now."""
        return self.table.snapshot()

    # -- instances

    def register(self, instance: Instance, source: str, now: Moment, *, replication: bool = False) -> None:
        """Let an *instance* be listed.

        Args:
            instance: What it says of itself.
            source: The address that it comes from; see claims.source_of().
            now: The time.
            replication: Whether another registry says so, for it has decided about the status.

        Raises:
            RefusedError: It may not be.
        """
        existing = self.lease(instance.app, instance.id)
        self._check(instance, source, existing, now)
        self.counts["registered"] += 1
        if instance.dirty_ms > now.unix_ms + AHEAD_S * 1000:
            self.counts["registered_ahead"] += 1
        arrived, said = now, instance.status
        if existing is not None and existing.entry.instance.dirty_ms > instance.dirty_ms \
                and not self._is_ahead(existing.entry.instance, now):
            self.counts["registered_outdated"] += 1
            instance, arrived, said, source = (
                existing.entry.instance, existing.arrived, existing.said, existing.source)
        override = None if existing is None else existing.override
        if override is None and instance.overridden_status != UNKNOWN:
            override = instance.overridden_status
        status = effective(instance.status, override)
        if not replication and override is None and existing is not None and status in _TRAFFIC \
                and existing.entry.instance.status in _TRAFFIC:
            status = existing.entry.instance.status
        instance = attrs.evolve(instance, status=status, overridden_status=override or UNKNOWN)
        said = status if override is None else said
        if existing is None:
            self._begin(instance, source, said, override, now)
            change = Change.REGISTERED
        else:
            change = self._goes_on(existing, instance, source, said, override, now, arrived)
        if not replication:
            self.changed((instance.app, instance.id), change)

    def _check(self, instance: Instance, source: str, existing: Lease | None, now: Moment) -> None:
        """Raise RefusedError unless an *instance* may be registered."""
        settings = self.settings
        self.check_clock(instance.dirty_ms, now)
        grave = self.tombstone(instance.app, instance.id, now)
        if existing is None and grave is not None and instance.dirty_ms <= grave.left_by_its_clock_ms \
                and not settings.original_defects:
            raise RefusedError(409, "left", "this instance has left since; register it with a new lastDirtyTimestamp")
        self.table.check_room(instance, source)

    def _is_ahead(self, instance: Instance, now: Moment) -> bool:
        """Whether an instance's own clock was ahead of ours: it would be newer than all that comes once it is right."""
        return instance.dirty_ms > now.unix_ms and not self.settings.original_defects

    def _begin(self, instance: Instance, source: str, said: str, override: str | None, now: Moment) -> None:
        grave = self.table.left.any(instance.app, instance.id)
        era_ms, stamp, operated = min(instance.dirty_ms, now.unix_ms), NEVER, NEVER
        if grave is not None:
            era_ms, stamp, operated = max(era_ms, grave.version.era_ms + 1), grave.version.stamp, grave.override_stamp
        version = Version(era_ms, False, stamp.next(now.unix_ms, self.name))
        if override is not None:
            operated = operated.next(now.unix_ms, self.name)
        self.table.begin(Lease(
            Entry(instance, ADDED, now.unix_ms, LeaseTimes(now.unix_ms, now.unix_ms, 0)), source, instance.duration_s,
            now, now, now.s, now.unix_ms, version, said, override=override, override_stamp=operated,
            is_doubled=self.settings.original_defects), now)

    def _goes_on(self, lease: Lease, instance: Instance, source: str, said: str, override: str | None, now: Moment,
                 arrived: Moment) -> Change:
        """A *lease* goes on with what its *instance* now says; whether that is anything new."""
        self.table.move(lease, source)
        lease.duration_s, lease.arrived = instance.duration_s, arrived
        lease.renewed_s, lease.renewed_ms, lease.renewals = now.s, now.unix_ms, 0
        if instance == lease.entry.instance and said == lease.said and override == lease.override:
            return Change.RENEWED
        operated = lease.override_stamp
        if override != lease.override:
            operated = operated.next(now.unix_ms, self.name)
        self.table.change(lease, instance, ADDED, now, version=self._next(lease, instance.dirty_ms, now), said=said,
                          override=override, override_stamp=operated)
        return Change.REGISTERED

    def _next(self, lease: Lease, dirty_ms: int, now: Moment) -> Version:
        """The version of a change of what a *lease*'s instance says, or is said to say."""
        known = lease.version
        return Version(max(known.era_ms, min(dirty_ms, now.unix_ms)), False,
                       known.stamp.next(now.unix_ms, self.name))

    def renew(self, app: str, identity: str, now: Moment, *, replication: bool = False) -> bool:
        """Let an instance's lease last for its duration from *now* on.

        Args:
            app: In upper case.
            identity: Of the instance.
            now: The time.
            replication: Whether another registry says so.

        Returns:
            Whether it has a lease, and need not register.
        """
        lease = self.lease(app, identity)
        if lease is None:
            self.counts["renewed_stranger"] += 1
            return False
        if lease.entry.instance.status == UNKNOWN:
            self.counts["renewed_unknown"] += 1
            return False
        self.rate.add(now.s)
        self.counts["renewed"] += 1
        lease.renew(now)
        if not replication:
            self.changed(lease.key, Change.RENEWED)
        return True

    def has_changed(self, app: str, identity: str, dirty_ms: int, now: Moment) -> bool:
        """Whether an instance with this timestamp should register, for it has changed since; not if that is refused."""
        lease = self.lease(app, identity)
        return lease is not None and lease.entry.instance.dirty_ms < dirty_ms <= self._most_ms(now)

    def cancel(self, app: str, identity: str, now: Moment, *, replication: bool = False) -> bool:
        """End an instance's lease: it leaves. Whether it had one."""
        lease = self.lease(app, identity)
        if lease is None:
            self.counts["cancelled_stranger"] += 1
            return False
        self.counts["cancelled"] += 1
        self.table.bury(lease.key, Tombstone.of(lease, now, self.name), now)
        if not replication:
            self.changed(lease.key, Change.LEFT)
        return True

    def update_metadata(self, app: str, identity: str, metadata: Mapping[str, str], now: Moment, *,
                        replication: bool = False) -> bool:
        """Put *metadata* to what an instance has; whether it has a lease, which is renewed.

        Raises:
            RefusedError: That would be too much.
        """
        lease = self.lease(app, identity)
        if lease is None:
            return False
        instance = lease.entry.instance
        merged = {**instance.metadata, **metadata}
        most = self.settings.max_body_bytes  # as if it had registered with all of it
        if len(merged) > MOST_METADATA or len("".join((*merged, *merged.values())).encode()) > most:
            raise RefusedError(400, "malformed", f"metadata must have at most {MOST_METADATA} pairs and {most} bytes")
        changed = attrs.evolve(instance, metadata=merged)
        self.table.check_room(changed, lease.source)
        self.counts["metadata_updated"] += 1
        lease.renew(now)
        if changed != instance:
            self.table.change(lease, changed, MODIFIED, now, version=self._next(lease, 0, now))
        if not replication:
            self.changed(lease.key, Change.REGISTERED)
        return True

    # -- operators

    def override(self, app: str, identity: str, status: str, dirty_ms: int, now: Moment, *,
                 replication: bool = False) -> bool:
        """Set the *status* of an instance, whatever it says; whether it has a lease, which is renewed.

        Args:
            app: In upper case.
            identity: Of the instance.
            status: One of STATUSES.
            dirty_ms: When it changed, by the instance's clock; 0: not said.
            now: The time.
            replication: Whether another registry says so.

        Raises:
            RefusedError: That is too far in the future.
        """
        lease = self._operated(app, identity, dirty_ms, now, replication)
        if lease is not None and lease.entry.instance.status != status:
            self.counts["overridden"] += 1
            self._restate(lease, status, status, dirty_ms, now)
        return lease is not None

    def remove_override(self, app: str, identity: str, status: str, dirty_ms: int, now: Moment, *,
                        replication: bool = False) -> bool:
        """Remove what an operator has set; whether the instance has a lease, which is renewed.

        Args:
            app: In upper case.
            identity: Of the instance.
            status: What it is listed with until it says more; UNKNOWN: it is asked to register by its next renewal.
            dirty_ms: When it changed, by the instance's clock; 0: not said.
            now: The time.
            replication: Whether another registry says so.

        Raises:
            RefusedError: That is too far in the future.
        """
        lease = self._operated(app, identity, dirty_ms, now, replication)
        if lease is not None and lease.override is not None:
            self.counts["override_removed"] += 1
            self._restate(lease, status, None, dirty_ms, now)
        return lease is not None

    def _operated(self, app: str, identity: str, dirty_ms: int, now: Moment, replication: bool) -> Lease | None:
        """The lease, renewed, that an operator's change is for."""
        self.check_clock(dirty_ms, now)
        lease = self.lease(app, identity)
        if lease is not None:
            lease.renew(now)
            if not replication:
                self.changed(lease.key, Change.OPERATED)
        return lease

    def _restate(self, lease: Lease, status: str, override: str | None, dirty_ms: int, now: Moment) -> None:
        instance = _dirty(attrs.evolve(lease.entry.instance, status=status), dirty_ms)
        self.table.change(lease, instance, MODIFIED, now, version=self._next(lease, dirty_ms, now), said=status,
                          override=override, override_stamp=lease.override_stamp.next(now.unix_ms, self.name))

    def check_clock(self, unix_ms: int, now: Moment) -> None:
        """See that a timestamp, in milliseconds since 1970, is not too far ahead.

        Raises:
            RefusedError: It is.
        """
        if unix_ms > self._most_ms(now):
            raise RefusedError(400, "clock_ahead", "lastDirtyTimestamp is too far in the future: is the clock right?")

    def _most_ms(self, now: Moment) -> int:
        """The latest time that anybody may speak of, in milliseconds since 1970."""
        return now.unix_ms + int(self.settings.max_clock_ahead * 1000)

    # -- time

    def tick(self, now: Moment, sample: Sample) -> list[Lease]:
        """Do what is due; call this about once a second.

        Args:
            now: The time.
            sample: Chooses so many of some leases at random.

        Returns:
            The leases that were evicted.
        """
        if now.s >= self._next_purge_s:
            self._next_purge_s = now.s + PURGE_EVERY_S
            self.table.purge(now)
            for key in self.table.put_right(self._most_ms(now), self.name, now):
                self.counts["put_right"] += 1
                self.changed(key, Change.REGISTERED)
        if now.s >= self._next_recount_s:
            self._next_recount_s = now.s + self.settings.recount_interval
            self.preservation.recount(len(self))
        return self._evict(now, sample) if now.s >= self.next_eviction_s else []

    def _evict(self, now: Moment, sample: Sample) -> list[Lease]:
        """End leases that have run out. What the last time came too early for is given the delay of this one."""
        interval = self.settings.eviction_interval
        delay = max(0.0, now.s - self._evicted_s - interval)
        self._evicted_s, self.next_eviction_s = now.s, now.s + interval
        over = [lease for lease in self.leases() if lease.ends_s + delay < now.s]
        if not over:
            return []
        if not self.allows_eviction(now):
            self.counts["evictions_prevented"] += len(over)
            return []
        victims = list(sample(over, min(len(over), self.eviction_quota)))
        for lease in victims:
            self.counts["evicted"] += 1
            self.table.end(lease, now, evicted=True)
        return victims


def effective(said: str, override: str | None) -> str:
    """The status to list an instance with that says one, and has perhaps another from an operator."""
    return override if override is not None and said in _TRAFFIC else said


def _dirty(instance: Instance, dirty_ms: int) -> Instance:
    return attrs.evolve(instance, dirty_ms=dirty_ms) if dirty_ms > instance.dirty_ms else instance


def _tell_nobody(_: Key, __: Change) -> None:
    """There are no other registries."""
