"""Hash balancers: requests with the same key go to the same endpoint: ring, maglev, rendezvous. Pure.

If an endpoint leaves, its keys are spread over the others, and (nearly) all other keys stay where they are. With a
bound on the load ("consistent hashing with bounded loads", Mirrokni and others, 2016), an endpoint that has more than
``load_factor`` times its share of the requests in flight passes them on to the next in the order of the key, so that
one popular key cannot drown it.

A request without a key goes to any endpoint by chance.
"""

from __future__ import annotations

import abc
import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from math import ceil, inf, log
from typing import Final

from .balancer import S, drawn, weighted
from .endpoint_state import EndpointState

_POINTS: Final = 160  # on the ring for an endpoint with an average weight: libketama's
_PRIMES: Final = (251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521)
_ENTRIES: Final = 100  # of the table for an endpoint: "Maglev" (2016), section 5.3: within 1 % of even


def hashed(*parts: bytes) -> int:
    """A number of 64 bits that is the same in every process."""
    return int.from_bytes(hashlib.blake2b(b"\0".join(parts), digest_size=8).digest(), "big")


class _Hashing(abc.ABC):
    """What the three have in common: the order in which a key asks the endpoints, and the bound on the load."""

    wants_times = False
    wants_key = True

    def __init__(self, load_factor: float | None = None) -> None:
        self._factor = load_factor

    def pick(self, candidates: Sequence[S], u: float, key: bytes | None) -> S:
        """See Balancer."""
        if key is None:
            return drawn(candidates, u)
        available = {state.name: state for state in candidates}
        full: S | None = None
        shares = sum(state.share for state in candidates)
        whole = shares or len(candidates)
        in_flight = sum(state.in_flight for state in candidates)
        for name in self._order(key) if shares else _evenly(key, available):
            state = available.get(name)
            if state is None:
                continue
            share = state.share if shares else 1.0
            if self._factor is None or state.in_flight < ceil(self._factor * (in_flight + 1) * share / whole):
                return state
            full = full or state
        return full if full is not None else drawn(candidates, u)

    @abc.abstractmethod
    def adopt(self, states: Sequence[EndpointState]) -> None:
        """See Balancer."""

    @abc.abstractmethod
    def _order(self, key: bytes) -> Iterator[str]:
        """Names of endpoints, those that the key prefers first; repetitions do no harm."""


class RingHash(_Hashing):
    """Each endpoint has points on a ring; a key belongs to the next point (Karger and others, 1997)."""

    def adopt(self, states: Sequence[EndpointState]) -> None:
        """See Balancer."""
        states = weighted(states)
        mean = sum(state.weight for state in states) / len(states) or 1.0
        ring = sorted((hashed(state.name.encode(), b"%d" % point), state.name) for state in states
                      for point in range(max(1, round(_POINTS * state.weight / mean))))
        self._points, self._names = [point for point, _ in ring], [name for _, name in ring]

    def _order(self, key: bytes) -> Iterator[str]:
        start = bisect_left(self._points, hashed(key))
        yield from self._names[start:]
        yield from self._names[:start]


class Maglev(_Hashing):
    """A table that the endpoints fill in turn, each in an order of its own (Eisenbud and others, 2016)."""

    def adopt(self, states: Sequence[EndpointState]) -> None:
        """See Balancer."""
        states = weighted(states)
        size = next((prime for prime in _PRIMES if prime >= _ENTRIES * len(states)), _PRIMES[-1])
        most = max(state.weight for state in states) or 1.0
        orders = {state.name: _permutation(state.name, size) for state in states}
        credit = dict.fromkeys(orders, 0.0)
        table: list[str | None] = [None] * size
        left = size
        while left:
            for state in states:
                credit[state.name] += max(state.weight, most * 1e-3) / most
                if credit[state.name] < 1.0:
                    continue
                credit[state.name] -= 1.0
                table[next(place for place in orders[state.name] if table[place] is None)] = state.name
                left -= 1
                if not left:
                    break
        self._table = [name for name in table if name is not None]

    def _order(self, key: bytes) -> Iterator[str]:
        start = hashed(key) % len(self._table)
        yield from self._table[start:]
        yield from self._table[:start]


def _permutation(name: str, size: int) -> Iterator[int]:
    """All places of a table, in an order of the endpoint's own."""
    offset = hashed(name.encode(), b"offset") % size
    skip = hashed(name.encode(), b"skip") % (size - 1) + 1
    return ((offset + turn * skip) % size for turn in range(size))


class Rendezvous(_Hashing):
    """Each endpoint draws a number for each key, and the highest wins (Thaler and Ravishankar, 1998)."""

    def adopt(self, states: Sequence[EndpointState]) -> None:
        """See Balancer."""
        self._weights = [(state.name, state.name.encode(), state.weight) for state in states]

    def _order(self, key: bytes) -> Iterator[str]:
        scores = [(score(key, name, weight), plain) for plain, name, weight in self._weights]
        return (name for _, name in sorted(scores, reverse=True))


def _evenly(key: bytes, names: Iterable[str]) -> list[str]:
    """The order in which a key asks endpoints that all have no weight: they are for when there is no other."""
    return sorted(names, key=lambda name: score(key, name.encode(), 1.0), reverse=True)


def score(key: bytes, name: bytes, weight: float) -> float:
    """What an endpoint draws for a key; a heavier one draws higher, and one without weight lowest."""
    if weight <= 0.0:
        return -inf
    return weight / -log(((hashed(key, name) >> 12) + 0.5) / 2.0**52)  # a float of more bits might be 1
