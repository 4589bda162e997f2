"""The demo's script: which services there are, who falls ill when, and how."""

from __future__ import annotations

from typing import Final

import attrs


@attrs.frozen
class Service:
    """A service of the gateway, and the programs that answer for it.

    Attributes:
        name: Of the service and of its route.
        private: Whether its route is on the private listener.
        backup: Whether there is a second endpoint, asked while the first is not available.
        canary: Whether one request in five goes to a new version, in whose place the old one answers if it fails.
    """

    name: str
    private: bool = False
    backup: bool = False
    canary: bool = False

    @property
    def programs(self) -> tuple[str, ...]:
        """Those that answer for it, the one that usually does first."""
        if self.backup:
            return f"{self.name}-primary", f"{self.name}-backup"
        return (self.name, f"{self.name}-canary") if self.canary else (self.name,)


SERVICES: Final = (Service("inventory"), Service("orders", backup=True), Service("pricing", canary=True),
                   Service("ledger", private=True))
PROGRAMS: Final = tuple(program for service in SERVICES for program in service.programs)


@attrs.frozen
class Cue:
    """At ``at`` seconds into a round, ``program`` becomes ``mood``; ``line`` is what the terminal says."""

    at: float
    program: str
    mood: str
    line: str


#: One round. Who is sick is so for longer than the 4 s that a circuit stays open: a probe fails before one succeeds.
CUES: Final = (
    Cue(3.0, "inventory", "hang", "inventory hangs: it accepts connections and never answers"),
    Cue(9.5, "inventory", "well", "inventory is well again"),
    Cue(13.5, "orders-primary", "dead", "orders-primary dies: it refuses connections"),
    Cue(17.5, "orders-primary", "well", "orders-primary has been started again"),
    Cue(19.5, "pricing-canary", "fail", "pricing-canary, the new version for one request in five, answers 500 to two "
        "in three; pricing answers in its place"),
    Cue(29.5, "pricing-canary", "well", "pricing-canary is well again"),
    Cue(36.0, "ledger", "slow", "ledger, on the private listener, becomes slow: 150 ms instead of 5"),
    Cue(42.0, "ledger", "well", "ledger is well again"),
)
ROUND_S: Final = 50.0


def cues_between(start: float, end: float) -> list[Cue]:
    """The cues due after *start* and up to *end*, seconds since the demo began; rounds repeat."""
    due = []
    for round_ in range(int(start // ROUND_S), int(end // ROUND_S) + 1):
        due += [cue for cue in CUES if start < round_ * ROUND_S + cue.at <= end]
    return due
