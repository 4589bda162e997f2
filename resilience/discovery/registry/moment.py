"""A moment: what the pure parts of the registry are told of the time. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Moment(NamedTuple):
    """Now, by two clocks.

    Attributes:
        s: Seconds of a clock that only goes forward; leases are measured by it.
        unix_ms: Milliseconds since 1970, as timestamps of the protocol are; this clock may be set at any time.
    """

    s: float
    unix_ms: int
