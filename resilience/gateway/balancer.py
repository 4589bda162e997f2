"""Balancers: which of a service's endpoints takes the next call. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")


class RoundRobin(Generic[T]):
    """Each endpoint in turn. ``next`` may be called from any thread: it is one step of a C iterator."""

    def __init__(self, endpoints: Sequence[T]) -> None:
        if not endpoints:
            raise ValueError("a balancer needs at least one endpoint")
        self.endpoints = tuple(endpoints)
        self._turns: Iterator[T] = itertools.cycle(self.endpoints)

    def next(self) -> T:
        """The endpoint for the next call."""
        return next(self._turns)


#: By the name that ``balancer`` has in a file.
BALANCERS: Final[Mapping[str, type[RoundRobin[Any]]]] = {"round_robin": RoundRobin}
