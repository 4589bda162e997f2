"""EndpointState: what balancing knows of one endpoint. Pure: it is told the time.

It belongs to one event loop. Whoever sends a request counts it in ``in_flight``, and takes it out again in a
``finally``, whatever has become of it.
"""

from __future__ import annotations

from math import exp
from typing import Final

import attrs

from ...core.circuit import Circuit
from ...core.failover import Rest

#: Kong's, APISIX's and Finagle's: what was seen so many seconds ago weighs 1/e.
DECAY_S: Final = 10.0


@attrs.frozen
class RestTime:
    """For how long an endpoint rests; a policy of core.failover.Rest.

    Attributes:
        grace: Seconds.
        weights: None: the balancer shares the requests out, and not the rest.
        max_wait: No request waits for a rest to end.
    """

    grace: float
    weights: tuple[float, ...] | None = None
    max_wait: float | None = 0.0


class EndpointState:
    """What balancing knows of one endpoint.

    Attributes:
        name: Unique in its service, such as "127.0.0.1:9001".
        weight: Its share of the requests in proportion to those of the others.
        share: The weight that is in force: less while it starts slowly.
        zone: Where it stands; empty: nobody said.
        priority: Endpoints with a higher number get requests only while none with a lower one is available.
        in_flight: Requests that were sent to it and have not ended.
        failures: Failures since its last success.
        good: Successes since the last look at outliers.
        bad: Failures since the last look at outliers.
        ejections: How often it was ejected, less those that are forgiven.
        returned_at: When its last ejection ended.
        rest: Whether it is left out because it failed, or asked for it.
        is_healthy: What its active checks say.
        circuit: What its own command asks before anything else; None: there is no such circuit.
        since: When it came, or came back, if it starts slowly; None: it is warm.
        answers: Answers that were timed.
        seconds: The sum of their times to the head.
        ewma_s: Their moving average, which rises at once with a slow one and falls slowly.
    """

    __slots__ = ("_ewma_at", "answers", "bad", "circuit", "ejections", "ewma_s", "failures", "good", "in_flight",
                 "is_healthy", "name", "priority", "rest", "returned_at", "seconds", "share", "since", "weight", "zone")

    def __init__(self, name: str, *, weight: float = 1.0, zone: str = "", priority: int = 0) -> None:
        self.name, self.weight, self.zone, self.priority = name, weight, zone, priority
        self.share = weight
        self.in_flight = self.failures = self.good = self.bad = self.ejections = self.answers = 0
        self.returned_at = self.seconds = self.ewma_s = self._ewma_at = 0.0
        self.rest = Rest(RestTime(1.0))
        self.is_healthy = True
        self.since: float | None = None
        self.circuit: Circuit | None = None

    def __repr__(self) -> str:
        return f"<endpoint {self.name} {self.rest.state.value}, {self.in_flight} in flight>"

    @property
    def is_calm(self) -> bool:
        """Whether it may be sent requests without a question: it is available, healthy and warm, its circuit closed."""
        return self.rest.calm and self.is_healthy and self.since is None and (
            self.circuit is None or self.circuit.term.passes)

    def refuses(self, now: float) -> bool:
        """Whether its own circuit lets nobody pass now."""
        return self.circuit is not None and self.circuit.refuses(now)

    def is_well(self, now: float) -> bool:
        """Whether nothing speaks against it, unless it is full: it has not failed last, and nobody leaves it out."""
        return not self.failures and self.rest.calm and self.is_healthy and not self.refuses(now)

    def time(self, seconds: float, now: float) -> None:
        """Note that the head of an answer took so many *seconds*."""
        self.answers += 1
        self.seconds += seconds
        if seconds >= self.ewma_s:  # a peak counts at once
            self.ewma_s = seconds
        else:
            kept = exp(-max(0.0, now - self._ewma_at) / DECAY_S)
            self.ewma_s = self.ewma_s * kept + seconds * (1.0 - kept)
        self._ewma_at = now
