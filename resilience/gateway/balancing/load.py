"""Balancers that go by load: least request, peak EWMA, best available, availability filtering and others. Pure.

Least request and peak EWMA compare two that chance has chosen ("the power of two choices"): all who look for the least
loaded one at the same time would find the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .balancer import S, Unkeyed, drawn, two_drawn
from .endpoint_state import EndpointState
from .rotation import RoundRobin

#: Ribbon's AvailabilityPredicate is asked so many times before the whole list is filtered.
_PROBES: Final = 11
#: What an endpoint is taken for that nobody has timed yet, seconds: fast, so that it is tried.
_UNKNOWN_S: Final = 1e-6


class LeastRequest(Unkeyed):
    """Of two by chance, the one with fewer requests in flight for its share."""

    def pick(self, candidates: Sequence[S], u: float, key: bytes | None) -> S:
        """See Balancer."""
        one, other = two_drawn(candidates, u)
        return other if (other.in_flight + 1) * one.share < (one.in_flight + 1) * other.share else one


class PeakEwma(Unkeyed):
    """Of two by chance, the one that would answer sooner.

    That is told by its moving average of times, which heeds peaks, and its requests in flight.
    """

    wants_times = True

    def pick(self, candidates: Sequence[S], u: float, key: bytes | None) -> S:
        """See Balancer."""
        one, other = two_drawn(candidates, u)
        return other if _cost(other) * one.share < _cost(one) * other.share else one


def _cost(state: EndpointState) -> float:
    return max(state.ewma_s, _UNKNOWN_S) * (state.in_flight + 1)


class BestAvailable(Unkeyed):
    """The one with the fewest requests in flight (Ribbon's BestAvailableRule).

    Of several, any: Ribbon takes the first, so that many gateways with little to do all ask the same one.
    """

    def pick(self, candidates: Sequence[S], u: float, key: bytes | None) -> S:
        """See Balancer."""
        fewest = min(state.in_flight for state in candidates)
        best = [state for state in candidates if state.in_flight == fewest]
        return best[int(u * len(best))]


class AvailabilityFiltering(RoundRobin):
    """In turn, passing over those with too many requests in flight; if that is all of them, in turn (Ribbon's rule)."""

    def __init__(self, max_in_flight: int | None = None, seed: float = 0.0) -> None:
        super().__init__(seed)
        self._most = max_in_flight

    def pick(self, candidates: Sequence[S], u: float, key: bytes | None) -> S:
        """See Balancer."""
        most = self._most
        if most is None:
            return super().pick(candidates, u, key)
        state = super().pick(candidates, u, key)
        for _ in range(min(_PROBES, len(candidates)) - 1):
            if state.in_flight < most:
                return state
            state = super().pick(candidates, u, key)
        return next((each for each in (state, *candidates) if each.in_flight < most), state)


class WeightedResponseTime(Unkeyed):
    """By chance, the likelier the faster: each has the sum of all mean times less its own (Ribbon's rule).

    Where nobody was timed yet, or there is one endpoint, it goes in turn. An endpoint without a time is taken for as
    fast as the fastest, so that it gets one; in Ribbon its weight was that of a mean of 0.
    """

    wants_times = True

    def __init__(self, seed: float = 0.0) -> None:
        self._turns = RoundRobin(seed)

    def adopt(self, states: Sequence[EndpointState]) -> None:
        """See Balancer."""
        self._turns.adopt(states)

    def pick(self, candidates: Sequence[S], u: float, key: bytes | None) -> S:
        """See Balancer."""
        means = [state.seconds / state.answers for state in candidates if state.answers]
        if not means or len(candidates) == 1:
            return self._turns.pick(candidates, u, key)
        fastest = min(means)
        times = [state.seconds / state.answers if state.answers else fastest for state in candidates]
        whole = sum(times)
        weights = [(whole - each) * state.share for each, state in zip(times, candidates, strict=True)]
        at = u * sum(weights)
        for state, weight in zip(candidates, weights, strict=True):
            at -= weight
            if at < 0.0:
                return state
        return drawn(candidates, u)
