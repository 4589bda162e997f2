"""Copies of other registries' instances are merged into the registry. Pure: told the time.

Of two copies the one with the greater version stays (version.py), and of an operator's status the one that was set or
removed last. A lease is renewed as long ago as at whichever registry heard from the instance last. So registries that
have told each other everything have the same, in whatever order they did, and an instance that reaches only one of them
stays with all.
"""

from __future__ import annotations

from enum import Flag

import attrs

from .entry import MODIFIED, Entry, LeaseTimes
from .instance import Instance
from .instance_copy import InstanceCopy
from .instance_registry import InstanceRegistry, effective
from .lease import Lease
from .moment import Moment

#: Of several renewals of one instance within so many seconds, one is counted: the others are the same, told again.
SAME_RENEWAL_S = 1.0


class Merged(Flag):
    """What has become of a copy.

    Attributes:
        TAKEN: Something of it was new here.
        OLDER: Something is newer here, and whoever has sent it should take that.
        MISSING: There is no such instance here, and a renewal does not say enough to list it.
        EXPIRED: It was not taken, for its lease has run out.
    """

    SAME = 0
    TAKEN = 1
    OLDER = 2
    MISSING = 4
    EXPIRED = 8


class Copies:
    """Merges copies.

    Args:
        registry: Gets them.
    """

    def __init__(self, registry: InstanceRegistry) -> None:
        self._registry, self._table = registry, registry.table

    def copy(self, app: str, identity: str, now: Moment) -> InstanceCopy | None:
        """What this registry says of an instance; None: nothing."""
        lease = self._table.get(app, identity)
        if lease is not None:
            return InstanceCopy.of(lease, now)
        grave = self._table.left.any(app, identity)
        return None if grave is None else InstanceCopy.of_left((app, identity), grave, now)

    def merge(self, copy: InstanceCopy, instance: Instance | None, source: str, now: Moment) -> Merged:
        """Take what is newer of a *copy*.

        Args:
            copy: What another registry says.
            instance: What the instance says; None: it has left, or is only renewed.
            source: The address that it counts for.
            now: The time.

        Raises:
            RefusedError: It may not be here, or may not say what it says; at most its lease was renewed.
        """
        for each in (copy.version.era_ms, copy.version.stamp.ms, copy.override_stamp.ms, copy.left_by_its_clock_ms,
                     0 if instance is None else instance.dirty_ms):
            self._registry.check_clock(each, now)
        lease, grave = self._table.get(*copy.key), self._table.left.any(*copy.key)
        if copy.has_left:
            return self._left(copy, lease, now)
        if lease is not None:
            return self._alive(copy, instance, lease, now)
        if grave is not None and grave.version > copy.version:
            return Merged.OLDER
        if instance is None:
            return Merged.MISSING
        if copy.renewed_ago_s >= instance.duration_s:
            return Merged.EXPIRED
        self._table.check_room(instance, source)
        self._begin(copy, instance, source, now)
        return Merged.TAKEN

    def _left(self, copy: InstanceCopy, lease: Lease | None, now: Moment) -> Merged:
        if lease is not None and lease.version > copy.version:
            return Merged.OLDER
        grave = self._table.left.any(*copy.key)
        if lease is None and grave is not None and grave.version >= copy.version:
            return Merged.SAME
        settings = self._registry.settings
        bounded = attrs.evolve(copy, duration_s=min(copy.duration_s, settings.max_lease))
        self._table.bury(copy.key, bounded.tombstone(now), now)
        return Merged.SAME if lease is None else Merged.TAKEN

    def _alive(self, copy: InstanceCopy, instance: Instance | None, lease: Lease, now: Moment) -> Merged:
        self._renew(copy, lease, now)
        found = Merged.SAME
        if copy.version < lease.version or copy.override_stamp < lease.override_stamp:
            found |= Merged.OLDER
        is_newer, is_operated = copy.version > lease.version, copy.override_stamp > lease.override_stamp
        if not is_newer and not is_operated:
            return found
        if instance is None:
            return found | Merged.MISSING
        operated = copy if is_operated else lease
        version, said, shown = lease.version, lease.said, lease.entry.instance
        if is_newer:
            self._table.check_room(instance, lease.source)
            version, said, shown = copy.version, copy.said, instance
            lease.duration_s = instance.duration_s
            lease.arrived = _ago(now, copy.arrived_ago_s)
        self._table.change(lease, attrs.evolve(shown, status=effective(said, operated.override)), MODIFIED, now,
                           version=version, said=said, override=operated.override,
                           override_stamp=operated.override_stamp)
        return found | Merged.TAKEN

    def _begin(self, copy: InstanceCopy, instance: Instance, source: str, now: Moment) -> None:
        began, renewed = _ago(now, copy.began_ago_s), _ago(now, copy.renewed_ago_s)
        shown = attrs.evolve(instance, status=effective(copy.said, copy.override))
        entry = Entry(shown, MODIFIED, now.unix_ms, LeaseTimes(began.unix_ms, renewed.unix_ms, copy.up_ms))
        self._table.begin(Lease(
            entry, source, instance.duration_s, began, _ago(now, copy.arrived_ago_s), renewed.s, renewed.unix_ms,
            copy.version, copy.said, copy.up_ms, copy.override, copy.override_stamp,
            is_doubled=self._registry.settings.original_defects), now)

    def _renew(self, copy: InstanceCopy, lease: Lease, now: Moment) -> None:
        """The lease was renewed as lately as either registry says."""
        at = _ago(now, copy.renewed_ago_s)
        if at.s <= lease.renewed_s:
            return
        if at.s - lease.renewed_s > SAME_RENEWAL_S:
            self._registry.rate.add(now.s)
            self._registry.counts["renewed_elsewhere"] += 1
            lease.renewals += 1
        lease.renewed_s, lease.renewed_ms = at.s, at.unix_ms


def _ago(now: Moment, seconds: float) -> Moment:
    return Moment(now.s - seconds, now.unix_ms - int(seconds * 1000))
