"""Records: what a store must do in which registries keep their list together; a Protocol.

A record is there for as long as its lease, by the store's clock. Each write has a number that is higher than all before
it, so that what has changed since a number can be asked for: the watch. A writer says up to which number it has read;
a record that somebody else has written since is not overwritten. Small on purpose, so that a store in memory, in
virtual time, stands for Redis in tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Protocol

import attrs


@attrs.frozen
class Place:
    """How far a store was read.

    Attributes:
        token: Tells what the store has from what it had before it was wiped.
        number: Of the last write that was read; 0: none.
    """

    token: str = ""
    number: int = 0


START = Place()


@attrs.frozen
class Record:
    """What a store has of an instance.

    Attributes:
        name: Of the record.
        age_s: Since it was written.
        copy: What registries tell each other beside the instance, as JSON.
        instance: The instance, as JSON; empty: not asked for, or it has left.
    """

    name: str
    age_s: float
    copy: bytes
    instance: bytes = b""


@attrs.frozen
class News:
    """What was written to a store since it was last read.

    Attributes:
        place: How far it was read now.
        is_from_start: Whether it was read from its beginning, since nobody knew it, or it was wiped.
        is_whole: Whether a registry that has everything has found everything there within the last while.
        has_more: Whether there is more that was not read yet.
        records: In the order in which they were written, without those that the reader itself wrote last, unless it
            is read from its beginning.
    """

    place: Place
    is_from_start: bool
    is_whole: bool
    has_more: bool
    records: Sequence[Record]


@attrs.frozen
class Write:
    """A record to be written.

    Attributes:
        name: Of the record.
        lease_s: How long it is to be there.
        version: Of the instance.
        copy: See Record.
        instance: See Record; None: what is there is right if it has the same version.
    """

    name: str
    lease_s: float
    version: str
    copy: bytes
    instance: bytes | None = None


class Written(Enum):
    """What has become of a write.

    Attributes:
        DONE: It is there.
        UNREAD: Somebody else has written since the store was read; read that first.
        INCOMPLETE: The instance is needed as well.
    """

    DONE = 1
    UNREAD = 0
    INCOMPLETE = 2


class RecordsRefusedError(Exception):
    """The store is there, and knows what it knew, but refuses this question."""


class Records(Protocol):
    """A store as one registry sees it. For one event loop.

    RecordsRefusedError means that nothing has become of this question; whatever else it raises, that it is of no use.
    """

    @property
    def is_connected(self) -> bool:
        """Whether it has answered when it was last asked."""
        ...

    def start(self, name: str) -> None:
        """Begin to look for it, as the registry of this *name*."""
        ...

    def follow(self, told: Callable[[bool], object]) -> None:
        """Let *told* be called, with whether it is connected, whenever that changes; it must not fail."""
        ...

    async def news(self, place: Place, *, everything: bool, vouches: bool) -> News:
        """What was written since.

        Args:
            place: How far it was read.
            everything: Whether to tell what the reader itself wrote last, too.
            vouches: Whether the reader has everything, and has found it there.
        """
        ...

    async def read(self, names: Sequence[str]) -> Sequence[Record]:
        """Those of these records that are there, with their instances."""
        ...

    async def write(self, place: Place, writes: Sequence[Write]) -> Sequence[Written]:
        """Write records, knowing what was there up to a *place*; what has become of each."""
        ...

    def report(self) -> Mapping[str, Any]:
        """How the connection is, as plain values."""
        ...

    def close(self) -> None:
        """Ask no more."""
        ...

    async def closed(self) -> None:
        """Wait, after close(), until nothing is open."""
        ...
