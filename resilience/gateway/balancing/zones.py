"""Zone avoidance: no requests to a zone that is down, fewer to the one with the most load. Pure.

As Ribbon's ZoneAvoidanceRule: a zone of whose endpoints none is available is left out. So is the one with the most load
per endpoint, if that is 0.2 requests in flight or more or another was left out, and if any other remains; of several by
chance. Within the zones that remain it goes in turn. ``zone`` says in which one the gateway stands: that is preferred
while it is not left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from .balancer import S
from .endpoint_state import EndpointState
from .rotation import RoundRobin

_LOAD: Final = 0.2  # Ribbon's ZoneAvoidanceRule.triggeringLoadPerServerThreshold


class ZoneAvoidance:
    """See above."""

    wants_times = False
    wants_key = False

    def __init__(self, zone: str = "", seed: float = 0.0) -> None:
        self._zone, self._seed = zone, seed
        self._turns: dict[frozenset[str], RoundRobin] = {}
        self._zones: frozenset[str] = frozenset()

    def adopt(self, states: Sequence[EndpointState]) -> None:
        """See Balancer."""
        self._zones = frozenset(state.zone for state in states)
        self._turns = {zones: turns for zones, turns in self._turns.items() if zones <= self._zones}
        for turns in self._turns.values():
            turns.adopt(states)

    def pick(self, candidates: Sequence[S], u: float, key: bytes | None) -> S:
        """See Balancer."""
        zones: dict[str, list[S]] = {}
        for state in candidates:
            zones.setdefault(state.zone, []).append(state)
        left = self._left(zones, u)
        if self._zone in left:
            left = frozenset({self._zone})
        turns = self._turns.setdefault(left, RoundRobin(self._seed))
        return turns.pick([state for state in candidates if state.zone in left], u, key)

    def _left(self, zones: Mapping[str, Sequence[EndpointState]], u: float) -> frozenset[str]:
        if len(zones) == 1:
            return frozenset(zones)
        loads = {zone: sum(each.in_flight for each in states) / len(states) for zone, states in zones.items()}
        most = max(loads.values())
        if most < _LOAD and len(zones) == len(self._zones):
            return frozenset(zones)
        worst = sorted(zone for zone in zones if loads[zone] >= most - 1e-6)
        at = u * sum(len(zones[zone]) for zone in worst)
        for zone in worst:  # by chance, by the number of its endpoints
            at -= len(zones[zone])
            if at < 0.0:
                return frozenset(zones) - {zone}
        return frozenset(zones) - {worst[-1]}
