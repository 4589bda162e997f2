"""Balancers that go in turn, by chance, or by the order of the file: round robin, random, first. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle

from .balancer import S, Unkeyed, drawn
from .endpoint_state import EndpointState


class RoundRobin(Unkeyed):
    """Each endpoint in turn.

    With different shares the turns are spread smoothly, as nginx does: a, a, b, a and not a, a, a, b.
    """

    def __init__(self) -> None:
        self._turns: Iterator[EndpointState] | None = None
        self._order: Sequence[EndpointState] = ()  # of the turns
        self._turn = -1
        self._seen: Sequence[EndpointState] = ()
        self._is_even = True
        self._credit: dict[EndpointState, float] = {}

    def adopt(self, states: Sequence[EndpointState]) -> None:
        """See Balancer."""
        self._end_turns()
        self._credit = {state: credit for state, credit in self._credit.items() if state in states}

    def is_even(self, candidates: Sequence[EndpointState]) -> bool:
        """Whether a pick is just the next of them."""
        return type(self) in (RoundRobin, Retry) and len({state.share for state in candidates}) == 1

    def turns(self, candidates: Sequence[S]) -> Iterator[S]:
        """The *candidates*, which are even, one after the other for ever, from the one whose turn it is."""
        self._end_turns()
        first = self._before_next(candidates) + 1
        order = (*candidates[first:], *candidates[:first])
        turns = cycle(order)
        self._order, self._turns = order, turns
        return turns

    def pick(self, candidates: Sequence[S], u: float, key: bytes | None) -> S:
        """See Balancer."""
        self._end_turns()
        if candidates is not self._seen:
            self._turn = self._before_next(candidates)
            self._seen = candidates
            self._is_even = len({state.share for state in candidates}) == 1
        if self._is_even:
            self._turn = turn = (self._turn + 1) % len(candidates)
            return candidates[turn]
        return self._smoothly(candidates)

    def _end_turns(self) -> None:
        """Who has had the turns gets others, which go on where these were."""
        if self._turns is not None:
            self._seen, self._turn = self._order, self._order.index(next(self._turns)) - 1
            self._turns = None

    def _before_next(self, candidates: Sequence[EndpointState]) -> int:
        """The place in *candidates* before that of whose turn it is: of those after the last one, the first there is.

        A place counts for nothing when others are candidates. If a request that has failed at an endpoint went to the
        next place of a list without that endpoint, one neighbour would get its own requests and all of these.
        """
        seen, turn = self._seen, self._turn
        if seen and (following := seen[(turn + 1) % len(seen)]) in candidates:  # as a rule
            return candidates.index(following) - 1
        places = {state: place for place, state in enumerate(candidates)}
        for state in (*seen[turn + 1:], *seen[:turn + 1]):
            if state in places:
                return places[state] - 1
        return -1

    def _smoothly(self, candidates: Sequence[S]) -> S:
        known = self._credit
        credit: dict[EndpointState, float] = {state: known.get(state, 0.0) + state.share for state in candidates}
        best = max(candidates, key=credit.__getitem__)
        credit[best] -= sum(state.share for state in candidates)
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
