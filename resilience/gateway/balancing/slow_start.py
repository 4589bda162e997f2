"""Slow start: an endpoint that has just come gets its share of the requests little by little. Pure.

A fresh process has cold caches and few connections; all of its share at once can make it fail again. The formula is
Envoy's: the weight times the share of the time that has passed, to the power of 1 / aggression, and not less than a
tenth.
"""

from __future__ import annotations

import attrs

from ...core.checks import number
from .endpoint_state import EndpointState


@attrs.frozen(kw_only=True)
class SlowStart:
    """The ``slow_start`` of a service.

    Attributes:
        window: Seconds until an endpoint has its whole share.
        aggression: 1: the share grows evenly; more: it grows faster in the beginning.
        min_share: Share of its weight that an endpoint has from the beginning.
    """

    window: float = attrs.field(default=30.0, validator=number(above=0, most=86_400))
    aggression: float = attrs.field(default=1.0, validator=number(above=0, most=100))
    min_share: float = attrs.field(default=0.1, validator=number(above=0, most=1))

    def ramp(self, age: float) -> float:
        """The share of its weight that an endpoint of this *age*, seconds, has."""
        if age >= self.window:
            return 1.0
        share: float = max(0.0, age / self.window) ** (1.0 / self.aggression)
        return max(self.min_share, share)

    def warm(self, state: EndpointState, now: float) -> None:
        """Give an endpoint the share that it has at this time."""
        if state.since is not None:
            ramp = self.ramp(now - state.since)
            state.share = state.weight * ramp
            if ramp >= 1.0:
                state.since = None
