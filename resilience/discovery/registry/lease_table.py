"""The table of leases: who has one, who has left, and the lists and digests that are made of it. Pure.

A lease begins, is set and ends here and nowhere else, so that counts, lists and digests always fit what is there.

Digests tell two registries in which of 256 parts of their tables they differ. The digest of a part is made of the
versions of all its leases, whatever their order; what has left is not in it.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from .entry import ADDED, DELETED, MODIFIED, Entry
from .instance import UNKNOWN, UP, Instance
from .lease import Lease, Tombstone, Tombstones
from .moment import Moment
from .population import Population
from .recent_changes import RecentChanges
from .self_preservation import SelfPreservation
from .settings import RegistrySettings
from .snapshot import Snapshot, SnapshotBuilder
from .version import Stamp, Version

Key = tuple[str, str]
#: Parts that have a digest each.
PARTS: Final = 256
#: How long it is remembered at least that an instance has left, if there are other registries, seconds.
REMEMBERED_S: Final = 3600.0


def part_of(key: Key) -> int:
    """The part of the table that an instance is in."""
    return zlib.crc32(f"{key[0]}/{key[1]}".encode()) & (PARTS - 1)


class LeaseTable:
    """Leases by application and instance. Not thread-safe.

    Attributes:
        population: How many there may be.
        left: What is remembered of those that have left.
        preservation: Whether leases are kept while too few are renewed.
        digests: Of each part.
    """

    def __init__(self, settings: RegistrySettings, now: Moment, preservation: SelfPreservation) -> None:
        self.population = Population(settings)
        self.left = Tombstones(settings.max_instances, 0.0)
        self.preservation = preservation
        self.digests = [0] * PARTS
        self._changes = RecentChanges(settings.delta_retention, settings.max_instances)
        self._snapshots = SnapshotBuilder(now.unix_ms)
        self._leases: dict[str, dict[str, Lease]] = {}
        self._parts: list[dict[Key, Lease]] = [{} for _ in range(PARTS)]

    def __len__(self) -> int:
        return self.population.number

    def __iter__(self) -> Iterator[Lease]:
        """All leases, by application."""
        for leases in self._leases.values():
            yield from leases.values()

    def get(self, app: str, identity: str) -> Lease | None:
        """The lease of an instance; None: it has none."""
        return self._leases.get(app, {}).get(identity)

    def of_part(self, part: int) -> Sequence[Lease]:
        """The leases in a *part*."""
        return list(self._parts[part].values())

    @property
    def recent_changes(self) -> int:
        """How many changes the delta has."""
        return len(self._changes)

    def snapshot(self) -> Snapshot:
        """The lists as they are now."""
        return self._snapshots.snapshot(self._entries, self._changes.by_application)

    def _entries(self, app: str) -> Sequence[Entry]:
        return [lease.entry for lease in self._leases.get(app, {}).values()]

    # -- changes

    def go_by(self, settings: RegistrySettings) -> None:
        """Have other bounds from now on; what is there stays."""
        self.population.settings = settings
        self.left.most = self._changes.most = settings.max_instances
        self._changes.retention_s = settings.delta_retention

    def check_room(self, instance: Instance, source: str) -> None:
        """See that an *instance* may come from a *source*, or may say what it says now.

        Raises:
            RefusedError: There are as many as there may be, or they say as much.
        """
        there = self.get(instance.app, instance.id)
        if there is None:
            self.population.check_room(len(self._leases.get(instance.app, ())), source)
        self.population.check_size(0 if there is None else there.entry.instance.characters, instance.characters)

    def begin(self, lease: Lease, now: Moment) -> None:
        """A *lease* begins; its entry is made anew, with its times."""
        instance = _listed(lease, lease.entry.instance)
        if instance.status == UP and not lease.up_ms:
            lease.up_ms = now.unix_ms
        lease.entry = Entry(instance, ADDED, now.unix_ms, lease.times())
        app, identity = key = lease.key
        self._leases.setdefault(app, {})[identity] = lease
        self._parts[part_of(key)][key] = lease
        self._toggle(lease)
        self.population.came(lease.source)
        self.population.characters += instance.characters
        self.left.discard(app, identity)
        self.preservation.lease_began()
        self._note(lease.entry, now)

    def change(self, lease: Lease, instance: Instance, action: str, now: Moment, **changed: object) -> None:
        """List a *lease*'s *instance* anew, if anything of it has changed.

        Args:
            lease: Is there.
            instance: What it says now.
            action: How it came to be so.
            now: The time.
            changed: Other attributes of the lease: version, said, override, override_stamp.
        """
        self._toggle(lease)
        for name, value in changed.items():
            setattr(lease, name, value)
        self._toggle(lease)
        instance = _listed(lease, instance)
        if instance.status == UP and not lease.up_ms:
            lease.up_ms = now.unix_ms
        if instance != lease.entry.instance:
            self.population.characters += instance.characters - lease.entry.instance.characters
            lease.entry = Entry(instance, action, now.unix_ms, lease.times())
            self._note(lease.entry, now)

    def move(self, lease: Lease, source: str) -> None:
        """A *lease* is renewed from another address."""
        if lease.source != source:
            self.population.moved(lease.source, source)
            lease.source = source

    def end(self, lease: Lease, now: Moment, *, evicted: bool = False) -> None:
        """A *lease* ends."""
        app, identity = key = lease.key
        leases = self._leases[app]
        del leases[identity], self._parts[part_of(key)][key]
        if not leases:
            del self._leases[app]
        self._toggle(lease)
        self.population.left(lease.source)
        self.population.characters -= lease.entry.instance.characters
        self.preservation.lease_ended()
        times = lease.times(now.unix_ms if evicted else 0)
        self._note(Entry(lease.entry.instance, DELETED, now.unix_ms, times), now)

    def put_right(self, most_ms: int, origin: str, now: Moment) -> list[Key]:
        """Give a new version, of the registry *origin*, to what has one of a time after *most_ms*; what that was.

        It is from when the clock of a registry was wrong. None that has the right time takes it, and what comes after
        it would be later still. The same is true of a timestamp that the instance itself has said then.
        """
        stamp, found = Stamp(now.unix_ms, origin), list[Key]()
        for lease in self:
            known, operated, said = lease.version, lease.override_stamp, lease.entry.instance
            if max(known.era_ms, known.stamp.ms, operated.ms, said.dirty_ms) > most_ms:
                found.append(lease.key)
                self.change(lease, attrs.evolve(said, dirty_ms=min(said.dirty_ms, now.unix_ms)), MODIFIED, now,
                            version=Version(min(known.era_ms, now.unix_ms), False, stamp),
                            override_stamp=min(operated, stamp))
        return found

    def bury(self, key: Key, tombstone: Tombstone, now: Moment) -> None:
        """An instance has left."""
        lease = self.get(*key)
        if lease is not None:
            self.end(lease, now)
        self.left.add(*key, tombstone)

    def purge(self, now: Moment) -> None:
        """Forget what is too old."""
        self._snapshots.changes_changed(self._changes.purge(now.s))
        self.left.purge(now)

    def _toggle(self, lease: Lease) -> None:
        """Put a lease into its part's digest, or take it out."""
        said = f"{lease.key}{lease.version}{lease.override_stamp}".encode("utf-8", "surrogatepass")
        self.digests[part_of(lease.key)] ^= int.from_bytes(hashlib.blake2b(said, digest_size=8).digest())

    def _note(self, entry: Entry, now: Moment) -> None:
        app = entry.instance.app
        self._snapshots.list_changed(app)
        pushed_out = self._changes.add(entry, now.s)
        self._snapshots.changes_changed((app,) if pushed_out is None else (app, pushed_out))


def _listed(lease: Lease, instance: Instance) -> Instance:
    """The *instance* with the override of its lease, if that differs from what it has."""
    overridden = UNKNOWN if lease.override is None else lease.override
    return instance if instance.overridden_status == overridden else attrs.evolve(
        instance, overridden_status=overridden)
