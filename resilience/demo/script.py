"""The demo's script: who falls ill when, and how."""

from __future__ import annotations

from typing import Final

import attrs

SERVICES: Final = ("inventory", "pricing", "reviews")


@attrs.frozen
class Cue:
    """At ``at`` seconds into a round, ``service`` becomes ``mood``; ``line`` is what the terminal says."""

    at: float
    service: str
    mood: str
    line: str


#: One round. Recoveries come after the default 5 s that a circuit stays open, so that probes fail first, then succeed.
CUES: Final = (
    Cue(5.0, "inventory", "hang", "inventory hangs: it accepts connections and never answers"),
    Cue(14.0, "inventory", "well", "inventory is well again"),
    Cue(22.0, "pricing", "fail", "pricing answers 500 to two requests in three"),
    Cue(30.0, "pricing", "well", "pricing is well again"),
    Cue(37.0, "reviews", "slow", "reviews becomes slow: 150 ms instead of 5"),
    Cue(43.0, "reviews", "well", "reviews is well again"),
)
ROUND_S: Final = 50.0


def cues_between(start: float, end: float) -> list[Cue]:
    """The cues due after *start* and up to *end*, seconds since the demo began; rounds repeat."""
    due = []
    for round_ in range(int(start // ROUND_S), int(end // ROUND_S) + 1):
        due += [cue for cue in CUES if start < round_ * ROUND_S + cue.at <= end]
    return due
