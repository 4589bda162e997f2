"""The registry: leases of instances, and what became of them. Pure: told the time and the choice of victims.

    register    a lease begins, or goes on with what the instance now says of itself, unless what is there is newer
    renew       it lasts for its duration from now on; a stranger is told to register
    cancel      it ends; for the time that it would have lasted, a registration from before is refused
    override    an operator sets the status, until they remove it or the lease ends
    evict       leases that have run out end, a few at a time, unless self-preservation keeps them

The status that an instance is listed with is the first that applies: what it says itself, unless that is UP or
OUT_OF_SERVICE; what an operator has set; what it was listed with, if that was UP or OUT_OF_SERVICE; what it says.

Each change makes a new entry; snapshot() builds the lists from the entries when it is asked, once for all changes that
came meanwhile, and again only for the applications that changed. One thread at a time may use a registry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import attrs

from .entry import ADDED, DELETED, MODIFIED, Entry, LeaseTimes
from .instance import MOST_METADATA, OUT_OF_SERVICE, UNKNOWN, UP, Instance
from .lease import Lease, Tombstone, Tombstones
from .moment import Moment
from .population import Population
from .recent_changes import RecentChanges
from .refusal import RefusedError
from .self_preservation import RenewalRate, SelfPreservation
from .settings import RegistrySettings
from .snapshot import Snapshot, SnapshotBuilder

#: A clock that is further ahead than this is counted as such, seconds.
AHEAD_S: Final = 60.0
#: How often changes that are too old leave the delta, seconds.
PURGE_EVERY_S: Final = 30.0
_TRAFFIC: Final = (UP, OUT_OF_SERVICE)

Sample = Callable[[Sequence[Lease], int], Sequence[Lease]]


class InstanceRegistry:
    """Leases of instances. Not thread-safe.

    Attributes:
        settings: See there.
        preservation: Whether leases are kept while too few are renewed.
        counts: Of what was done and refused, by name.
        next_eviction_s: When leases that have run out are evicted next.
    """

    def __init__(self, settings: RegistrySettings, now: Moment) -> None:
        self.settings = settings
        self.preservation = SelfPreservation(
            settings.self_preservation, settings.expected_renewal_interval, settings.renewal_threshold,
            settings.expected_instances, not settings.original_defects)
        self.counts: Counter[str] = Counter()
        self._leases: dict[str, dict[str, Lease]] = {}
        self._population = Population(settings)
        self._left = Tombstones(settings.max_instances)
        self._changes = RecentChanges(settings.delta_retention, settings.max_instances)
        self._rate = RenewalRate()
        self._rate.last_minute(now.s)
        self._snapshots = SnapshotBuilder(now.unix_ms)
        self.next_eviction_s = now.s + settings.eviction_interval
        self._evicted_s = now.s
        self._next_purge_s = now.s + PURGE_EVERY_S
        self._next_recount_s = now.s + settings.recount_interval

    # -- looking

    def __len__(self) -> int:
        return self._population.number

    def lease(self, app: str, identity: str) -> Lease | None:
        """The lease of an instance; None: it has none."""
        return self._leases.get(app, {}).get(identity)

    def leases(self) -> Iterator[Lease]:
        """All leases, by application."""
        for leases in self._leases.values():
            yield from leases.values()

    def tombstone(self, app: str, identity: str, now: Moment) -> Tombstone | None:
        """What is remembered of an instance that has left; None: nothing."""
        return self._left.get(app, identity, now)

    def renewals_last_minute(self, now: Moment) -> int:
        """How many renewals came in the last 60 seconds."""
        return self._rate.last_minute(now.s)

    def allows_eviction(self, now: Moment) -> bool:
        """Whether leases that have run out may be evicted."""
        return self.preservation.allows_eviction(self.renewals_last_minute(now))

    @property
    def eviction_quota(self) -> int:
        """How many leases may be evicted at a time."""
        return len(self) - int(len(self) * self.settings.renewal_threshold)

    @property
    def tombstones(self) -> int:
        """How many instances that have left are remembered."""
        return len(self._left)

    @property
    def recent_changes(self) -> int:
        """How many changes the delta has."""
        return len(self._changes)

    def overrides(self) -> Mapping[str, str]:
        """The statuses that operators have set, by the id of the instance."""
        return {lease.entry.instance.id: lease.override for lease in self.leases() if lease.override is not None}

    def snapshot(self) -> Snapshot:
        """The registry as it is now."""
        return self._snapshots.snapshot(self._entries, self._changes.by_application)

    def _entries(self, app: str) -> Sequence[Entry]:
        return [lease.entry for lease in self._leases.get(app, {}).values()]

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
        arrived = now
        if existing is not None and existing.entry.instance.dirty_ms > instance.dirty_ms \
                and not self._is_ahead(existing.entry.instance, now):
            self.counts["registered_outdated"] += 1
            kept = existing.entry.instance
            arrived = existing.arrived
            instance = attrs.evolve(kept, duration_s=instance.duration_s)
        override = None if existing is None else existing.override
        if override is None and instance.overridden_status != UNKNOWN:
            override = instance.overridden_status
        status = _effective(instance.status, override, None if replication else existing)
        instance = attrs.evolve(instance, status=status, overridden_status=override or UNKNOWN)
        if existing is None:
            self._begin(instance, source, override, now)
        else:
            self._goes_on(existing, instance, source, override, now, arrived)

    def _check(self, instance: Instance, source: str, existing: Lease | None, now: Moment) -> None:
        """Raise RefusedError unless an *instance* may be registered."""
        settings = self.settings
        self._check_clock(instance.dirty_ms, now)
        if existing is not None:
            return
        grave = self.tombstone(instance.app, instance.id, now)
        if grave is not None and instance.dirty_ms <= grave.left_by_its_clock_ms and not settings.original_defects:
            raise RefusedError(409, "left", "this instance has left since; register it with a new lastDirtyTimestamp")
        self._population.check_room(len(self._leases.get(instance.app, ())), source)

    def _is_ahead(self, instance: Instance, now: Moment) -> bool:
        """Whether an instance's own clock was ahead of ours: it would be newer than all that comes once it is right."""
        return instance.dirty_ms > now.unix_ms and not self.settings.original_defects

    def _begin(self, instance: Instance, source: str, override: str | None, now: Moment) -> None:
        up_ms = now.unix_ms if instance.status == UP else 0
        entry = Entry(instance, ADDED, now.unix_ms, LeaseTimes(now.unix_ms, now.unix_ms, up_ms))
        self._leases.setdefault(instance.app, {})[instance.id] = Lease(
            entry, source, instance.duration_s, now, now, now.s, now.unix_ms, up_ms, override,
            is_doubled=self.settings.original_defects)
        self._population.came(source)
        self._left.discard(instance.app, instance.id)
        self.preservation.lease_began()
        self._note(entry, now)

    def _goes_on(self, lease: Lease, instance: Instance, source: str, override: str | None, now: Moment,
                 arrived: Moment) -> None:
        """A *lease* goes on with what its *instance* now says."""
        if lease.source != source:
            self._population.moved(lease.source, source)
            lease.source = source
        lease.override, lease.duration_s, lease.arrived = override, instance.duration_s, arrived
        lease.renewed_s, lease.renewed_ms, lease.renewals = now.s, now.unix_ms, 0
        self._set(lease, instance, ADDED, now)

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
        status = _effective(lease.entry.instance.status, lease.override, None if replication else lease)
        if status == UNKNOWN:
            self.counts["renewed_unknown"] += 1
            return False
        self._rate.add(now.s)
        self.counts["renewed"] += 1
        lease.renew(now)
        self._set_status(lease, status, now)
        return True

    def cancel(self, app: str, identity: str, now: Moment) -> bool:
        """End an instance's lease: it leaves. Whether it had one."""
        lease = self.lease(app, identity)
        if lease is None:
            self.counts["cancelled_stranger"] += 1
            return False
        self.counts["cancelled"] += 1
        self._end(lease, now, 0)
        self._left.add(app, identity, Tombstone.of(lease, now))
        return True

    def update_metadata(self, app: str, identity: str, metadata: Mapping[str, str], now: Moment) -> bool:
        """Put *metadata* to what an instance has; whether it has a lease, which is renewed.

        Raises:
            RefusedError: That would be too much.
        """
        lease = self.lease(app, identity)
        if lease is None:
            return False
        instance = lease.entry.instance
        merged = {**instance.metadata, **metadata}
        if len(merged) > MOST_METADATA:
            raise RefusedError(400, "malformed", f"metadata must have at most {MOST_METADATA} pairs")
        self.counts["metadata_updated"] += 1
        lease.renew(now)
        self._set(lease, attrs.evolve(instance, metadata=merged), MODIFIED, now)
        return True

    # -- operators

    def override(self, app: str, identity: str, status: str, dirty_ms: int, now: Moment) -> bool:
        """Set the *status* of an instance, whatever it says; whether it has a lease, which is renewed.

        Args:
            app: In upper case.
            identity: Of the instance.
            status: One of STATUSES.
            dirty_ms: When it changed, by the instance's clock; 0: not said.
            now: The time.

        Raises:
            RefusedError: That is too far in the future.
        """
        lease = self._operated(app, identity, dirty_ms, now)
        if lease is not None and lease.entry.instance.status != status:
            self.counts["overridden"] += 1
            lease.override = status
            self._restate(lease, status, status, dirty_ms, now)
        return lease is not None

    def remove_override(self, app: str, identity: str, status: str, dirty_ms: int, now: Moment) -> bool:
        """Remove what an operator has set; whether the instance has a lease, which is renewed.

        Args:
            app: In upper case.
            identity: Of the instance.
            status: What it is listed with until it says more; UNKNOWN: it is asked to register by its next renewal.
            dirty_ms: When it changed, by the instance's clock; 0: not said.
            now: The time.

        Raises:
            RefusedError: That is too far in the future.
        """
        lease = self._operated(app, identity, dirty_ms, now)
        if lease is not None and lease.override is not None:
            self.counts["override_removed"] += 1
            lease.override = None
            self._restate(lease, status, UNKNOWN, dirty_ms, now)
        return lease is not None

    def _operated(self, app: str, identity: str, dirty_ms: int, now: Moment) -> Lease | None:
        """The lease, renewed, that an operator's change is for."""
        self._check_clock(dirty_ms, now)
        lease = self.lease(app, identity)
        if lease is not None:
            lease.renew(now)
        return lease

    def _restate(self, lease: Lease, status: str, overridden: str, dirty_ms: int, now: Moment) -> None:
        instance = attrs.evolve(lease.entry.instance, status=status, overridden_status=overridden)
        self._set(lease, _dirty(instance, dirty_ms), MODIFIED, now)

    def _check_clock(self, dirty_ms: int, now: Moment) -> None:
        if dirty_ms > now.unix_ms + self.settings.max_clock_ahead * 1000:
            raise RefusedError(400, "clock_ahead", "lastDirtyTimestamp is too far in the future: is the clock right?")

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
            self._snapshots.changes_changed(self._changes.purge(now.s))
            self._left.purge(now)
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
            self._end(lease, now, now.unix_ms)
        return victims

    # -- entries

    def _set_status(self, lease: Lease, status: str, now: Moment) -> None:
        if status != lease.entry.instance.status:
            self._set(lease, attrs.evolve(lease.entry.instance, status=status), MODIFIED, now)

    def _set(self, lease: Lease, instance: Instance, action: str, now: Moment) -> None:
        """List a *lease*'s *instance* anew, if anything of it has changed."""
        if instance.status == UP and not lease.up_ms:
            lease.up_ms = now.unix_ms
        if instance is lease.entry.instance or instance == lease.entry.instance:
            return
        lease.entry = Entry(instance, action, now.unix_ms, lease.times())
        self._note(lease.entry, now)

    def _end(self, lease: Lease, now: Moment, evicted_ms: int) -> None:
        instance = lease.entry.instance
        leases = self._leases[instance.app]
        del leases[instance.id]
        if not leases:
            del self._leases[instance.app]
        self._population.left(lease.source)
        self.preservation.lease_ended()
        self._note(Entry(instance, DELETED, now.unix_ms, lease.times(evicted_ms)), now)

    def _note(self, entry: Entry, now: Moment) -> None:
        app = entry.instance.app
        self._snapshots.list_changed(app)
        pushed_out = self._changes.add(entry, now.s)
        self._snapshots.changes_changed((app,) if pushed_out is None else (app, pushed_out))


def _effective(said: str, override: str | None, existing: Lease | None) -> str:
    """The status to list an instance with; see above."""
    if said not in _TRAFFIC:
        return said
    if override is not None:
        return override
    if existing is not None and existing.entry.instance.status in _TRAFFIC:
        return existing.entry.instance.status
    return said


def _dirty(instance: Instance, dirty_ms: int) -> Instance:
    return attrs.evolve(instance, dirty_ms=dirty_ms) if dirty_ms > instance.dirty_ms else instance
