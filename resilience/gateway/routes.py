"""Routes: what the router finds for a request, and the service that one with several services chooses. Pure."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from .balancing.hashing import score
from .config import RouteConfig
from .messages.inbound import RequestHead
from .messages.named_values import cookie_values, header_value
from .mirroring import Mirror
from .routing.patterns import Pattern, Rewrite
from .routing.predicates import Address
from .services.service import Service

SourceOf = Callable[[RequestHead], Address | None]


@attrs.frozen(eq=False)
class Route:
    """A route, and the service that takes its requests; one with several services is one Route for each of them.

    Attributes:
        name: What statistics and logs call it.
        service: Takes its requests; with a composition, that of the first part.
        answers: What statistics, logs and limits take for the service: that, or the composition, which waits for others
            as well.
        settings: What the file says.
        filters: The chain that its requests and responses pass through; None: there is none.
        pattern: Of its path.
        rewrite: What it does to a path; None: nothing.
        mirror: Copies its requests; None: nobody does.
    """

    name: str
    service: Service
    answers: str
    settings: RouteConfig
    filters: Any
    pattern: Pattern
    rewrite: Rewrite | None
    mirror: Mirror | None

    @classmethod
    def each_of(cls, settings: RouteConfig, name: str, services: Mapping[str, Service],
                random: Callable[[], float], *, weights: Mapping[str, float], filters: Any,
                before: Mirror | None = None) -> dict[Route, float]:
        """The routes to the services that have *weights*, and these; *random* draws for their mirror.

        Args:
            settings: Of the route.
            name: Of the route.
            services: By name.
            random: A number from 0 to 1, 1 excluded.
            weights: Of the services, by name.
            filters: See Route.
            before: The mirror of the route in the former configuration.
        """
        pattern, rewrite, wanted = Pattern.parse(settings.path), settings.rewriting(), settings.mirror
        mirror = None if wanted is None else Mirror(
            services[wanted.service], wanted.share, wanted.max_concurrent, random, before)
        composed = None if settings.compose is None else f"composition.{settings.compose}"
        return {cls(name, services[service], composed or service, settings, filters, pattern, rewrite, mirror): weight
                for service, weight in weights.items()}


class Split:
    """Chooses among the services of one route, by weight.

    A request with a sticky key always gets the same service while the weights stay, in every process: each service
    draws a number for the key, and the highest wins (weighted rendezvous hashing). If one weight changes, clients move
    only to that service, or only from it, and no more than must. If several change at once, whatever has no memory must
    move some more, in the worst case nearly twice as many; of these choices, none moves fewer in every case (Moulton
    and Jiang, "Maximally consistent sampling and the Jaccard index of probability distributions", 2018).
    """

    def __init__(self, routes: Mapping[Route, float], name: str, sticky: str | None, source: SourceOf,
                 random: Callable[[], float]) -> None:
        """A choice that is random for requests without a key.

        Args:
            routes: And their weights.
            name: Of the route: clients fall differently for each.
            sticky: "address", "header:NAME", "cookie:NAME" or None.
            source: Says what a client's address is.
            random: A number from 0 to 1, 1 excluded.
        """
        total = sum(routes.values())
        there = [(route, weight) for route, weight in routes.items() if weight]
        self._routes = [route for route, _ in there]
        self._ends = [end / total for end in itertools.accumulate(weight for _, weight in there)][:-1]
        self._weights = [(route, route.service.name.encode(), weight / total) for route, weight in there]
        self._salt, self._random = name.encode() + b"\0", random
        self._key = None if sticky is None else _key_of(sticky, source)

    def choose(self, head: RequestHead) -> Route:
        """The route for a request."""
        key = None if self._key is None else self._key(head)
        if key is None:
            return self._routes[bisect.bisect_right(self._ends, self._random())]
        salted = self._salt + key
        return max(self._weights, key=lambda each: score(salted, each[1], each[2]))[0]


def _key_of(sticky: str, source: SourceOf) -> Callable[[RequestHead], bytes | None]:
    kind, _, name = sticky.partition(":")
    if kind == "address":
        return lambda head: None if (address := source(head)) is None else address.packed
    if kind == "header":
        header = name.lower().encode()
        return lambda head: header_value(head.headers, header)
    cookie = name.encode()
    return lambda head: next(cookie_values(head.headers, cookie), None)
