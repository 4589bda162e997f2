"""Versions: which of two copies of an instance, at two registries, is the newer one. Pure.

Registries do not ask each other before they accept a change. So each change gets a version, of which of any two one is
greater, and every registry keeps the greatest that it has heard of: whatever the order in which they hear of them, and
however often, they end up with the same.

The instance's own clock comes first, as in Eureka's protocol: what an instance said before it left never brings it
back, whichever registry it reaches when. What an operator has set has a version of its own, so that a registration
which knows nothing of it does not undo it.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Stamp(NamedTuple):
    """When a registry accepted a change; greater than that of any change of the same instance that it knew.

    Attributes:
        ms: Milliseconds since 1970, by its clock, or more.
        origin: The registry.
    """

    ms: int
    origin: str

    def next(self, now_ms: int, origin: str) -> Stamp:
        """That of a change which comes after this one."""
        return Stamp(max(now_ms, self.ms + 1), origin)


class Version(NamedTuple):
    """Of what an instance says of itself, or of its having left.

    Attributes:
        era_ms: The timestamp of its registration, but no later than when that came; when it left, that and the time
            that had passed.
        has_left: Whether it has left.
        stamp: When a registry accepted that.
    """

    era_ms: int
    has_left: bool
    stamp: Stamp


NEVER: Final = Stamp(0, "")
