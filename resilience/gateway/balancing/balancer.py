"""Balancer: which of a service's available endpoints takes a request.

A balancer is pure: it is told one random number and the request's key, and asks the endpoints' states. It
never waits, and it is never asked without a candidate: which endpoints may be asked at all is decided elsewhere
(endpoint_set.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from .endpoint_state import EndpointState

S = TypeVar("S", bound=EndpointState)


class Balancer(Protocol):
    """Chooses among endpoints. Of one event loop.

    Attributes:
        wants_times: Whether it goes by the times of answers, so that they must be noted.
        wants_key: Whether it goes by something in the request.
    """

    wants_times: bool
    wants_key: bool

    def adopt(self, states: Sequence[EndpointState]) -> None:
        """These are all endpoints of the service from now on, available or not."""

    def pick(self, candidates: Sequence[S], u: float, key: bytes | None) -> S:
        """One of the *candidates*, which are not empty.

        Args:
            candidates: The endpoints that are available. The same object only if it has the same endpoints in it, with
                the same shares.
            u: A random number in [0, 1).
            key: What the request is hashed by; None: it has nothing of the kind.
        """
        ...


def weighted(states: Sequence[S]) -> Sequence[S]:
    """Those that have a weight; without any, all: an endpoint with weight 0 is for when there is no other."""
    found = [state for state in states if state.weight]
    return states if len(found) in (0, len(states)) else found


class Unkeyed:
    """A balancer that goes by nothing but the endpoints it is given."""

    wants_times = False
    wants_key = False

    def adopt(self, states: Sequence[EndpointState]) -> None:
        """See Balancer."""


def drawn(candidates: Sequence[S], u: float) -> S:
    """The one that a random number *u* hits if each has its share; of those that have none, any."""
    whole = sum(state.share for state in candidates)
    if not whole:
        return candidates[int(u * len(candidates))]
    at = u * whole
    for state in candidates:
        at -= state.share
        if at < 0.0:
            return state
    return max(candidates, key=lambda state: state.share)  # rounding


def two_drawn(candidates: Sequence[S], u: float) -> tuple[S, S]:
    """Two different ones, each pair as likely as any other; of one candidate, that twice."""
    count = len(candidates)
    first = int(u * count)
    if count == 1:
        return candidates[0], candidates[0]
    second = int((u * count - first) * (count - 1))
    return candidates[first], candidates[second if second < first else second + 1]
