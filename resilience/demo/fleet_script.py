"""The script of the demo's fleet: which hosts there would be, and who is killed, cut short or restarted when."""

from __future__ import annotations

import enum
from typing import Final

import attrs

GATEWAYS: Final = ("gateway-1", "gateway-2", "gateway-3")
#: Instances of the one service; the last one comes later.
INSTANCES: Final = ("inventory-1", "inventory-2", "inventory-3", "inventory-4")
REGISTRY: Final = "registry"
REDIS: Final = "redis"
#: Requests a second that all gateways together let through to the limited route.
LIMIT: Final = 30


class Act(enum.Enum):
    """What is done to a program."""

    START = "start"
    STOP = "stop"  # as an operator stops it
    KILL = "kill"  # as a crash does
    RESTART = "restart"  # stop and start


@attrs.frozen
class FleetCue:
    """At ``at`` seconds into a round, something is done to a program; ``line`` is what the terminal says."""

    at: float
    program: str
    act: Act
    line: str


#: The lease of an instance lasts for so long after its last renewal.
LEASE_S: Final = 3.0
#: One round. The script's time stands still while something is done that takes long: starting a gateway, say.
FLEET_CUES: Final = (
    FleetCue(3.0, "inventory-1", Act.KILL, "inventory-1 is killed. The registry lists it until its lease runs out; the "
             "gateways pass over it at once"),
    FleetCue(8.0, "inventory-1", Act.START, "inventory-1 is started again, and registers itself"),
    FleetCue(11.0, "inventory-4", Act.START, "inventory-4 is started in addition, and registers itself"),
    FleetCue(15.0, "inventory-4", Act.STOP, "inventory-4 is told to end: it leaves the registry first"),
    FleetCue(17.0, "gateway-1", Act.RESTART, "rolling restart: gateway-1 is told to end, and started again"),
    FleetCue(17.5, "gateway-2", Act.RESTART, "rolling restart: gateway-2"),
    FleetCue(18.0, "gateway-3", Act.RESTART, "rolling restart: gateway-3"),
    FleetCue(20.0, "registry", Act.KILL, "the registry is killed. The gateways keep what it has listed last"),
    FleetCue(24.0, "registry", Act.START, "the registry is started again, and knows nobody. Instances register anew"),
    FleetCue(27.0, "redis", Act.KILL, "Redis is killed. Each gateway has its share of the limit now"),
    FleetCue(32.0, "redis", Act.START, "Redis is started again, and knows nothing. The gateways share one limit again"),
    FleetCue(36.0, "gateway-2", Act.KILL, "gateway-2 is killed. Its worker process notices, and ends after what it has "
             "in flight"),
    FleetCue(39.0, "gateway-2", Act.START, "gateway-2 is started again"),
)
FLEET_ROUND_S: Final = 43.0


class Script:
    """Says which cue is due. Pure: it is told the time."""

    def __init__(self) -> None:
        """The first round begins with the first question."""
        self._at, self._before, self._next = 0.0, 0.0, 0

    def next(self, now: float, *, is_busy: bool) -> FleetCue | None:
        """The cue that is due, if there is one; the next question goes on from there.

        Args:
            now: Seconds since the beginning.
            is_busy: Whether what an earlier cue has begun is not done yet: then no time passes for the script.
        """
        passed, self._before = now - self._before, now
        if is_busy:
            return None
        self._at += passed
        if self._next == len(FLEET_CUES):
            if self._at >= FLEET_ROUND_S:
                self._at, self._next = 0.0, 0
            return None
        cue = FLEET_CUES[self._next]
        if self._at < cue.at:
            return None
        self._at, self._next = cue.at, self._next + 1
        return cue
