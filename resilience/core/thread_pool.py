"""ThreadPool: how many threads a group's isolated calls share."""

from __future__ import annotations

import attrs

from .checks import number, strict


@strict
@attrs.frozen
class ThreadPool:
    """Thread pool settings: how many worker threads the isolated calls of a group share.

    Immutable: any number of commands and threads may share one.

    Attributes:
        size: Largest number of threads.
        max_queue: Number of calls that may wait for a free thread. A call whose time is up while it waits never starts.
    """

    size: int = attrs.field(default=10, validator=number(least=1, most=10_000, whole=True))
    max_queue: int = attrs.field(default=0, kw_only=True, validator=number(least=0, most=1_000_000, whole=True))
