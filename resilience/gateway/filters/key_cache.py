"""Key cache: which keys of an issuer are known, and when to ask for them again. Pure: told the time.

    no keys yet               ask, and wait; after a failure, not before RETRY_S have passed
    keys older than refresh   ask in the background, and go on with those that there are
    a key that is not there   ask and wait, but not within min_interval of the last time: tokens with invented key
                              IDs cost the issuer nothing
    asking failed             the last good keys stay, until they are older than keep_for

An answer replaces all keys: a key that the issuer has withdrawn is gone with the next answer.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Final, Generic, TypeVar

_K = TypeVar("_K")

#: Seconds after a failure without any keys.
RETRY_S: Final = 1.0


class Ask(enum.Enum):
    """Whether the issuer is to be asked for its keys."""

    NO = "no"
    BEHIND = "in the background"
    WAIT = "and wait for the answer"


class KeyCache(Generic[_K]):
    """The keys of one issuer by key ID. Of one thread.

    Attributes:
        generation: Changes with the keys, so that what was verified by others can be forgotten.
    """

    def __init__(self, *, refresh: float, min_interval: float, keep_for: float | None) -> None:
        """No keys are known yet.

        Args:
            refresh: Seconds after which keys are asked for again in the background.
            min_interval: Seconds between two times that a key which is not there makes somebody ask.
            keep_for: Seconds that keys stay without an answer; None: for ever.
        """
        self._refresh, self._min_interval, self._keep_for = refresh, min_interval, keep_for
        self._keys: Mapping[str | None, Sequence[_K]] | None = None
        self._answered = self._asked = float("-inf")
        self._failed = False
        self.generation = 0

    def ask(self, key_id: str | None, now: float) -> Ask:
        """Whether to ask for the key of a token; who asks says so by asked()."""
        if self._keep_for is not None and self._keys is not None and now - self._answered > self._keep_for:
            self._keys = None
            self.generation += 1
        since = now - self._asked
        if self._keys is None:
            return Ask.WAIT if not self._failed or since >= RETRY_S else Ask.NO
        if key_id is not None and key_id not in self._keys:
            return Ask.WAIT if since >= self._min_interval else Ask.NO
        is_due = now - self._answered >= self._refresh and since >= min(self._refresh, self._min_interval)
        return Ask.BEHIND if is_due else Ask.NO

    def asked(self, now: float) -> None:
        """The issuer is being asked."""
        self._asked = now

    def answered(self, keys: Mapping[str | None, Sequence[_K]], now: float) -> None:
        """The issuer has answered with these *keys*; those without an ID are under None."""
        if keys != self._keys:
            self.generation += 1
        self._keys, self._answered, self._failed = keys, now, False

    def failed(self) -> None:
        """The issuer has given no valid answer."""
        self._failed = True

    @property
    def is_empty(self) -> bool:
        """Whether no keys are known."""
        return self._keys is None

    def find(self, key_id: str | None) -> Sequence[_K]:
        """The keys that may have signed a token; without a key ID, all that there are."""
        keys = self._keys or {}
        if key_id is None:
            return [key for each in keys.values() for key in each]
        return keys.get(key_id, ())
