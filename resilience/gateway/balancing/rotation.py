"""Balancers that go in turn, by chance, or by the order of the file: round robin, random, first. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import cycle
from math import inf

from .balancer import S, Unkeyed, drawn
from .endpoint_state import EndpointState


class RoundRobin(Unkeyed):
    """Each endpoint in turn.

    Turns go round a circle on which each endpoint has its place for good, whoever else is there. So nobody is passed
    over or gets two turns because the list has changed, and what fails at one goes to whose turn it is.

    Gateways must not all go round the same circle. They would begin at the same endpoint; and what finds the same
    endpoints dead would go on to the same ones after these. So chance gives each gateway an order of its own.

    With different shares the turns are spread smoothly, as nginx does: a, a, b, a and not a, a, a, b.
    """

    def __init__(self, seed: float = 0.0) -> None:
        """Nobody had a turn yet.

        Args:
            seed: A number from which the order comes; 0: that in which endpoints were seen first.
        """
        self._seed = repr(seed).encode() if seed else b""
        self._places: dict[EndpointState, float] = {}
        self._seen = 0
        self._last = -inf  # the place of the one that had the last turn
        self._turns: Iterator[EndpointState] | None = None
        self._among: Sequence[EndpointState] = ()  # whose shares were looked at
        self._is_even = True
        self._credit: dict[EndpointState, float] = {}

    def adopt(self, states: Sequence[EndpointState]) -> None:
        """See Balancer."""
        self._end_turns()
        self._among, there = (), set(states)
        self._places = {state: place for state, place in self._places.items() if state in there}
        self._credit = {state: credit for state, credit in self._credit.items() if state in there}

    def is_even(self, candidates: Sequence[EndpointState]) -> bool:
        """Whether a pick is just the next of them."""
        return type(self) in (RoundRobin, Retry) and len({state.share for state in candidates}) == 1

    def turns(self, candidates: Sequence[S]) -> Iterator[S]:
        """The *candidates*, which are even, one after the other for ever, from the one whose turn it is."""
        self._end_turns()
        order = sorted(candidates, key=self._place)
        first = next((at for at, state in enumerate(order) if self._places[state] > self._last), 0)
        turns = cycle((*order[first:], *order[:first]))
        self._turns = turns
        return turns

    def pick(self, candidates: Sequence[S], u: float, key: bytes | None) -> S:
        """See Balancer."""
        self._end_turns()
        if candidates is not self._among:
            self._among = candidates
            self._is_even = len({state.share for state in candidates}) == 1
        return self._next(candidates) if self._is_even else self._smoothly(candidates)

    def _next(self, candidates: Sequence[S]) -> S:
        """The first one after the place that had the last turn, or of all, if that was the last."""
        places, last = self._places, self._last
        after: S | None = None
        first, least, lowest = candidates[0], inf, inf
        for state in candidates:
            place = places.get(state)
            if place is None:
                place = self._place(state)
            if last < place < least:
                after, least = state, place
            if place < lowest:
                first, lowest = state, place
        if after is None:
            after, least = first, lowest
        self._last = least
        return after

    def _place(self, state: EndpointState) -> float:
        """The place of a *state* on the circle."""
        place = self._places.get(state)
        if place is None:
            if self._seed:
                digest = blake2b(state.name.encode("utf-8", "surrogatepass"), key=self._seed, digest_size=7).digest()
                place = int.from_bytes(digest, "big") / (1 << 56)
            else:
                place = float(self._seen)
                self._seen += 1
            self._places[state] = place
        return place

    def _end_turns(self) -> None:
        """Who has had the turns gets others, which go on where these were."""
        if self._turns is not None:
            following = self._place(next(self._turns))
            before = [place for place in self._places.values() if place < following]
            self._last = max(before, default=-inf)
            self._turns = None

    def _smoothly(self, candidates: Sequence[S]) -> S:
        known = self._credit
        whole = sum(state.share for state in candidates)
        credit: dict[EndpointState, float] = {}
        for state in candidates:
            begun = known.get(state)
            if begun is None:
                begun = self._place(state) * whole if self._seed else 0.0
            credit[state] = begun + state.share
        best = max(candidates, key=credit.__getitem__)
        credit[best] -= whole
        known.update(credit)
        return best


class Retry(RoundRobin):
    """Ribbon's RetryRule: in turn, and an endpoint that is not available is passed over.

    That is what every balancer here does, since none is given an endpoint that is not available. It has its name for
    those who come with it.
    """


class Random(Unkeyed):
    """Any endpoint, by its share."""

    def pick(self, candidates: Sequence[S], u: float, key: bytes | None) -> S:
        """See Balancer."""
        return drawn(candidates, u)


class First(Unkeyed):
    """The first available in the order of the file: a primary, then its backups."""

    def pick(self, candidates: Sequence[S], u: float, key: bytes | None) -> S:
        """See Balancer."""
        return candidates[0]
