"""A snapshot: the registry at one version, from which the full list, the delta and the hash are all made. Pure.

It never changes, so that the three belong together however long they take to send. Entries of an application lie in
buckets by their id; a bucket that has not changed is the same object in the next snapshot, and so is its text.
"""

from __future__ import annotations

import functools
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import attrs

from .entry import Entry
from .instance import Instance

Bucket = tuple[Entry, ...]
#: An application up to this size is one bucket; the buckets of a larger one have half as many, or more.
_MOST_IN_BUCKET: Final = 64


@attrs.frozen
class Application:
    """The entries of one application.

    Attributes:
        name: In upper case.
        buckets: Its entries.
        statuses: How many entries have each status.
    """

    name: str
    buckets: tuple[Bucket, ...] = attrs.field(eq=False)
    statuses: Mapping[str, int] = attrs.field(eq=False)

    @classmethod
    def of(cls, name: str, entries: Sequence[Entry], before: Application | None = None) -> Application:
        """Put *entries* into buckets, and take over those of *before* that are the same."""
        count = 1
        while len(entries) > count * _MOST_IN_BUCKET:
            count *= 2
        piles: list[list[Entry]] = [[] for _ in range(count)]
        for entry in entries:
            piles[zlib.crc32(entry.instance.id.encode()) & (count - 1) if count > 1 else 0].append(entry)
        buckets = [tuple(pile) for pile in piles]
        if before is not None and len(before.buckets) == count:
            buckets = [old if old == new else new for old, new in zip(before.buckets, buckets, strict=True)]
        return cls(name, tuple(buckets), Counter(entry.instance.status for entry in entries))

    @property
    def entries(self) -> list[Entry]:
        """All of them."""
        return [entry for bucket in self.buckets for entry in bucket]


@attrs.frozen(slots=False)
class Snapshot:
    """The registry at one version.

    Attributes:
        version: Grows with each snapshot.
        applications: By name.
        changed: What has lately changed, by application: the delta.
    """

    version: int
    applications: Mapping[str, Application] = attrs.field(eq=False)
    changed: Mapping[str, Application] = attrs.field(eq=False)

    @functools.cached_property
    def hashcode(self) -> str:
        """How many instances have which status, such as "DOWN_1_UP_3_"."""
        return hashcode(self.applications.values())

    @functools.cached_property
    def by_id(self) -> Mapping[str, Entry]:
        """Entries by the id of their instance; of several with one id, the first."""
        found: dict[str, Entry] = {}
        for application in self.applications.values():
            for entry in application.entries:
                found.setdefault(entry.instance.id, entry)
        return found

    @functools.cached_property
    def by_vip(self) -> Mapping[str, Mapping[str, list[Entry]]]:
        """Entries by virtual address and application."""
        return self._index(lambda instance: instance.vips)

    @functools.cached_property
    def by_secure_vip(self) -> Mapping[str, Mapping[str, list[Entry]]]:
        """Entries by virtual address for HTTPS and application."""
        return self._index(lambda instance: instance.secure_vips)

    def _index(self, names: Callable[[Instance], Iterable[str]]) -> Mapping[str, Mapping[str, list[Entry]]]:
        found: dict[str, dict[str, list[Entry]]] = {}
        for application in self.applications.values():
            for entry in application.entries:
                for name in set(names(entry.instance)):
                    found.setdefault(name, {}).setdefault(application.name, []).append(entry)
        return found


def hashcode(applications: Iterable[Application]) -> str:
    """The protocol's hash of *applications*: statuses by name, each with its count."""
    total: Counter[str] = Counter()
    for application in applications:
        total.update(application.statuses)
    return "".join(f"{status}_{count}_" for status, count in sorted(total.items()) if count)


class SnapshotBuilder:
    """Makes the next snapshot when it is asked for one, from the applications that have changed since the last.

    Args:
        version: Of the first. One that begins with the time is higher than all that were there before a restart, so
            that no client takes the new registry for the one that it knows.
    """

    def __init__(self, version: int) -> None:
        self._snapshot = Snapshot(version, {}, {})
        self._listed: set[str] = set()
        self._changed: set[str] = set()

    def list_changed(self, app: str) -> None:
        """The instances of an application have changed."""
        self._listed.add(app)

    def changes_changed(self, apps: Iterable[str]) -> None:
        """What is told of these applications' changes has changed."""
        self._changed.update(apps)

    def snapshot(self, entries: Callable[[str], Sequence[Entry]],
                 changes: Callable[[], Mapping[str, Sequence[Entry]]]) -> Snapshot:
        """The snapshot of now.

        Args:
            entries: Returns those of an application.
            changes: Returns the entries that have lately changed, by application.
        """
        if self._listed or self._changed:
            before = self._snapshot
            applications, changed = dict(before.applications), dict(before.changed)
            for app in self._listed:
                _put(applications, app, entries(app))
            recent = changes()
            for app in self._changed:
                _put(changed, app, recent.get(app, ()))
            self._snapshot = Snapshot(before.version + 1, applications, changed)
            self._listed, self._changed = set(), set()
        return self._snapshot


def _put(applications: dict[str, Application], app: str, entries: Sequence[Entry]) -> None:
    if entries:
        applications[app] = Application.of(app, entries, applications.get(app))
    else:
        applications.pop(app, None)
