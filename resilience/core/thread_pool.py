"""ThreadPool: how many threads a group's isolated calls share."""

from __future__ import annotations

import attrs

from .checks import number, strict


@strict
@attrs.frozen(kw_only=True)
class ThreadPool:
    """The threads that a group's isolated calls share.

    Attributes:
        size: Threads at most.
        max_queue: Calls that may wait for a thread; what has expired while waiting never starts.
    """

    size: int = attrs.field(default=10, validator=number(least=1, most=10_000, whole=True))
    max_queue: int = attrs.field(default=0, validator=number(least=0, most=1_000_000, whole=True))
