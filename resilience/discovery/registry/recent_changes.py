"""Recent changes: what the delta tells, for a while, the last change of each instance. Pure."""

from __future__ import annotations

from .entry import Entry

Key = tuple[str, str]


class RecentChanges:
    """The last change of each instance, for some time, oldest first.

    Args:
        retention_s: How long a change stays.
        most: One more pushes out the oldest; a client that misses it sees by the hash that it must fetch everything.
    """

    def __init__(self, retention_s: float, most: int) -> None:
        self.retention_s, self.most = retention_s, most
        self._changes: dict[Key, tuple[float, Entry]] = {}

    def __len__(self) -> int:
        return len(self._changes)

    def add(self, entry: Entry, now_s: float) -> str | None:
        """Note that an instance has become this *entry*; the application whose oldest change is pushed out by it."""
        key = entry.instance.app, entry.instance.id
        self._changes.pop(key, None)
        self._changes[key] = now_s, entry
        if len(self._changes) <= self.most:
            return None
        oldest = next(iter(self._changes))
        del self._changes[oldest]
        return oldest[0]

    def purge(self, now_s: float) -> set[str]:
        """Forget what is too old; the applications that it was of."""
        old = []
        for key, (at, _) in self._changes.items():
            if at + self.retention_s > now_s:
                break
            old.append(key)
        for key in old:
            del self._changes[key]
        return {app for app, _ in old}

    def by_application(self) -> dict[str, list[Entry]]:
        """The entries, by application."""
        found: dict[str, list[Entry]] = {}
        for (app, _), (_, entry) in self._changes.items():
            found.setdefault(app, []).append(entry)
        return found
