"""Population: how many instances there are and how much they say, and how many and how much there may be."""

from __future__ import annotations

from collections import Counter

from .refusal import RefusedError
from .settings import RegistrySettings


class Population:
    """How many instances there are, in all and by the address that registered them. Not thread-safe.

    Attributes:
        number: In all.
        characters: That they say, all of them together.
        settings: Say how many there may be.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        """Nobody is there yet; the *settings* say how many there may be."""
        self.settings, self.number, self.characters = settings, 0, 0
        self._by_source: Counter[str] = Counter()

    def check_room(self, of_application: int, source: str) -> None:
        """See that another instance may come.

        Args:
            of_application: How many its application has.
            source: The address that it comes from.

        Raises:
            RefusedError: There are as many as there may be.
        """
        settings = self.settings
        for count, most, what in (
                (self.number, settings.max_instances, "in all"),
                (of_application, settings.max_instances_per_application, "of this application"),
                (self._by_source[source], settings.max_instances_per_address, "from this address")):
            if count >= most:
                raise RefusedError(429, "too_many", f"there are {most} instances {what}, and no more are taken")

    def check_size(self, before: int, now: int) -> None:
        """See that an instance may say as much as it does.

        Args:
            before: How many characters it has said; 0: it was not there.
            now: How many it says now.

        Raises:
            RefusedError: All together would say more than they may, or more still.
        """
        most = self.settings.max_characters
        if now > before and self.characters + now - before > most:
            raise RefusedError(429, "too_many", f"all instances together may have {most} characters, and no more are "
                                                "taken")

    def came(self, source: str) -> None:
        """An instance has come from this address."""
        self.number += 1
        self._by_source[source] += 1

    def moved(self, before: str, now: str) -> None:
        """An instance has come from one address *before*, and comes from another *now*."""
        self.left(before)
        self.came(now)

    def left(self, source: str) -> None:
        """An instance has left that came from this address."""
        self.number -= 1
        self._by_source[source] -= 1
        if not self._by_source[source]:
            del self._by_source[source]
