"""Seen signatures: those that were taken already, of which none is taken twice.

What is remembered outlives the filter that a changed file replaces, or each reload would let everything be sent again
that was signed lately. Whatever was forgotten under a shorter window is not taken under a longer one: it may have been
sent before.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

from ...registry import Registry
from ..change import Act, LastingParts, at_once


class SeenSignatures:
    """What was taken already of one key, by hashes, as long as it is good and up to a number. Pure: told the time.

    Times are those of the clock that signatures are made by: if that is put back, what is good for longer is remembered
    for longer.
    """

    def __init__(self, good_for: float, most: int) -> None:
        """Nothing was taken yet.

        Args:
            good_for: Seconds from its creation on that a signature may be taken.
            most: How many are remembered.
        """
        self.good_for, self.most = good_for, most
        self._created: dict[bytes, float] = {}

    def take(self, digest: bytes, created: float, now: float) -> bool | None:
        """Take a signature; False: it was taken before; None: there is no room to remember it."""
        self.forget(now)
        if digest in self._created:
            return False
        if len(self._created) >= self.most:
            return None
        self._created[digest] = created
        return True

    def forget(self, now: float) -> None:
        """Forget those that are good no more, the first that were taken first."""
        while self._created:
            first = next(iter(self._created))
            if self._created[first] + self.good_for >= now:
                break
            del self._created[first]

    def __len__(self) -> int:
        return len(self._created)


class SignatureMemory:
    """What was taken already of all keys of one filter, and of those that it had before. For one event loop.

    Attributes:
        complete_from: Of signatures that were made earlier, it may be forgotten whether they were taken.
    """

    def __init__(self) -> None:
        """Nothing was taken yet."""
        self.complete_from = -inf
        self._good_for, self._most = 0.0, 0
        self._keys: dict[str, SeenSignatures] = {}

    def configure(self, good_for: float, most: int, now: float) -> None:
        """Remember for another time.

        Args:
            good_for: Seconds from its creation on that a signature may be taken.
            most: How many of each key are remembered.
            now: The time.
        """
        if self._keys:
            self.complete_from = max(self.complete_from, now - self._good_for)
        self._good_for, self._most = good_for, most
        for key_id, seen in list(self._keys.items()):
            seen.forget(now)
            seen.good_for, seen.most = good_for, most
            if not seen:
                del self._keys[key_id]

    def take(self, key_id: str, digest: bytes, created: float, now: float) -> bool | None:
        """Take a signature of a key; False: it was taken before, or may have been; None: there is no room."""
        if created < self.complete_from:
            return False
        seen = self._keys.get(key_id)
        if seen is None:
            seen = self._keys[key_id] = SeenSignatures(self._good_for, self._most)
        return seen.take(digest, created, now)


_memories: Final = LastingParts[str, SignatureMemory]()


def memory_named(name: str, registry: Registry, configure: Callable[[SignatureMemory], object],
                 once_in_force: Callable[[Act], object] = at_once) -> SignatureMemory:
    """The memory of the filter with this *name* of the gateways with this *registry*; it goes on if it is there.

    Args:
        name: Of the filter.
        registry: Of the gateways.
        configure: Tells it how long to remember.
        once_in_force: See FilterHost.
    """
    memory = _memories.of(registry).get(name) or SignatureMemory()

    def come_into_force() -> None:
        configure(memory)
        _memories.put(registry, name, memory)

    once_in_force(come_into_force)
    return memory
