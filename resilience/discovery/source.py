"""Source: what lists the instances of a service.

A source answers one question: who is there now? When it is asked, how long it may take, what becomes of a list that
is empty, wrong or not to be had, and how the list survives a restart, is not its business (watch.py, membership.py). So
a source of a user's own is one method.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import attrs

from ..errors import ConfigError
from .instance import Instance

#: The most entries that a list may have: each of them gets a command of its own.
MAX_INSTANCES = 1000


@attrs.frozen
class Listing:
    """What a source lists at one moment.

    Attributes:
        instances: In any order.
        mistakes: What is wrong with entries that are no instances, one sentence for each.
        ttl_s: For how many seconds this is sure to hold; None: nobody knows. The source is asked again when they are
            over, or after the interval of the watch, whichever is sooner.
        is_leased: Whether instances enter themselves at the source, so that it knows few of them after a restart.
        unavailable: Names (Instance.name) that the source knows, and does not list on purpose.
    """

    instances: tuple[Instance, ...]
    mistakes: tuple[str, ...] = ()
    ttl_s: float | None = None
    is_leased: bool = False
    unavailable: frozenset[str] = frozenset()

    @classmethod
    def of(cls, entries: Iterable[Any], ttl_s: float | None = None, *, is_leased: bool = False,
           unavailable: Iterable[str] = ()) -> Listing:
        """A listing of entries, each of which is an Instance, a URL, or a table with a URL.

        No more of them are looked at than are needed to see that there are too many.

        Args:
            entries: In any order.
            ttl_s: For how many seconds this is sure to hold; None: nobody knows.
            is_leased: See the attribute.
            unavailable: See the attribute.
        """
        instances, mistakes = list[Instance](), list[str]()
        for number, entry in enumerate(entries, 1):
            if len(instances) + len(mistakes) > MAX_INSTANCES:
                break
            try:
                instances.append(entry if isinstance(entry, Instance) else Instance.of(entry))
            except ConfigError as error:
                mistakes.append(f"entry {number}: {error}")
        return cls(tuple(instances), tuple(mistakes), ttl_s, is_leased, frozenset(unavailable))


class Source(Protocol):
    """What lists the instances of one service. For one event loop; it is asked one question at a time."""

    async def listing(self) -> Listing:
        """The instances that are there now.

        Whatever it raises means that nobody knows now: the last list that was good stays. An empty list does not
        empty a set that is in use, either. It is cancelled when it takes too long.
        """
        ...
