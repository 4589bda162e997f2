"""The queue of one peer: which instances it has to hear of. Pure.

Only what an instance is now matters to a peer, so an instance is in the queue once, however often it changes, and what
is sent of it is looked up when it is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from .change import Change
from .lease_table import Key


@attrs.frozen
class Pending:
    """An instance that the peer has to hear of.

    Attributes:
        key: Application and instance.
        change: What has happened to it.
        since_s: When it came into the queue.
    """

    key: Key
    change: Change
    since_s: float


class PeerQueue:
    """Instances in the order in which they came.

    Attributes:
        most: One more, and the queue is emptied: then only a comparison of everything can tell what the peer lacks.
        overflows: How often that was.
        has_overflowed: Whether it was since the last comparison.
    """

    def __init__(self, most: int) -> None:
        self.most, self.overflows, self.has_overflowed = most, 0, False
        self._pending: dict[Key, Pending] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, key: Key, change: Change, now_s: float) -> None:
        """The peer has to hear of a *change*."""
        there = self._pending.get(key)
        if there is not None:
            self._pending[key] = Pending(key, _together(there.change, change), there.since_s)
        elif len(self._pending) < self.most:
            self._pending[key] = Pending(key, change, now_s)
        else:
            self._pending.clear()
            self.overflows += 1
            self.has_overflowed = True

    def add_found(self, key: Key, change: Change, now_s: float) -> None:
        """A comparison has found that the peer lacks a *change*; without room the next comparison finds it again."""
        if len(self._pending) < self.most or key in self._pending:
            self.add(key, change, now_s)
        else:
            self.has_overflowed = True

    def take(self, most: int) -> Sequence[Pending]:
        """The oldest ones, which are no longer in the queue."""
        found = [each for _, each in zip(range(most), self._pending.values(), strict=False)]
        for each in found:
            del self._pending[each.key]
        return found

    def give_back(self, pending: Iterable[Pending]) -> None:
        """The peer has not heard of these; they are the oldest again."""
        newer, self._pending = self._pending, {each.key: each for each in pending}
        for each in newer.values():
            self.add(each.key, each.change, each.since_s)

    def discard(self, key: Key) -> None:
        """The peer need not hear of an instance."""
        self._pending.pop(key, None)

    def clear(self) -> None:
        """The peer need hear of nothing."""
        self._pending.clear()

    def oldest_s(self) -> float | None:
        """Since when the first has been waiting; None: there is none."""
        return next((each.since_s for each in self._pending.values()), None)


def _together(before: Change, after: Change) -> Change:
    """Two changes, one after the other."""
    return after if Change.LEFT in after else (before & ~Change.LEFT) | after
