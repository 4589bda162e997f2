"""Routes of the gateway: the ``[[routes]]`` tables.

Which of two routes takes a request that both could take is decided by the order in router.py. conflicts() finds what
that order leaves open, and the routes that it never comes to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from ...core.checks import number, text
from ..routing.authority import authority, host_mistake
from ..routing.patterns import Pattern, Rewrite
from ..routing.predicates import Predicates, method_mistake, names_mistake, wanted_mistake
from .addresses import network_mistake
from .checks import checked, filled, unknown_name

#: Compositions only read.
COMPOSED_METHODS: Final = ("GET", "HEAD")
Conflict = tuple[tuple[str | int, ...], str]


def _path_mistake(path: Any) -> str | None:
    try:
        Pattern.parse(path)
    except ValueError as error:
        return str(error)
    return None


def _weights_mistake(weights: Any) -> str | None:
    if not isinstance(weights, Mapping) or not weights:
        return "must be a table of services and their weights"
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight <= 1e9:
            return f"the weight of {name} must be a number from 0 to 1000000000"
    return None if any(weights.values()) else "must have a weight above 0; with none no service would take a request"


def _sticky_mistake(sticky: Any) -> str | None:
    if isinstance(sticky, str) and re.fullmatch(r"address|(?:header|cookie):[!#$%&'*+.^_`|~0-9A-Za-z-]+", sticky):
        return None
    return "must be address, header:NAME or cookie:NAME"


@attrs.frozen(kw_only=True)
class MirrorConfig:
    """The ``mirror`` of a route: where copies of its requests go.

    Attributes:
        service: Name of the service that gets them; its answers are thrown away.
        share: Of the requests.
        max_concurrent: Copies under way at once; further ones are left out.
    """

    service: str = attrs.field(validator=text())
    share: float = attrs.field(default=1.0, validator=number(above=0, most=1))
    max_concurrent: int = attrs.field(default=100, validator=number(least=1, most=100_000, whole=True))


@attrs.frozen(kw_only=True)
class RouteConfig:
    """A ``[[routes]]`` table.

    Attributes:
        name: What statistics and logs call it; None: named after what it takes.
        path: A path, perhaps with parameters, or with ``/*`` at its end that path and all below it.
        service: Name of the service that answers; None: there are several, or a composition answers.
        services: Names of several services and their weights.
        compose: Name of the composition that answers; None: a service does.
        sticky: What keeps a client with one of several services: "address", "header:NAME" or "cookie:NAME".
        methods: None: all. GET brings HEAD along.
        host: Only for this host, or for all below ``*.`` a domain; None: for any that has no route of its own.
        headers: By name, a value or several, or whether the header is there at all.
        query: The same of fields of the query.
        cookies: The same of cookies.
        sources: Addresses and networks that the client must be in; empty: any.
        priority: Among routes with the same host and path, the higher is tried first.
        strip_prefix: What to take off the path's front before it is forwarded.
        rewrite: What to forward instead of the path.
        mirror: None: no copies.
        filters: Names of the filters that run on this route, beside those that run on every one.
        skip_filters: Names of those that run on every route, and not on this one.
    """

    path: str = attrs.field(validator=checked(_path_mistake))
    service: str | None = attrs.field(default=None, validator=text(optional=True))
    services: Mapping[str, float] | None = attrs.field(default=None, validator=checked(_weights_mistake, optional=True))
    compose: str | None = attrs.field(default=None, validator=text(optional=True))
    sticky: str | None = attrs.field(default=None, validator=checked(_sticky_mistake, optional=True))
    name: str | None = attrs.field(default=None, validator=text(optional=True))
    methods: tuple[str, ...] | None = attrs.field(
        default=None, validator=attrs.validators.optional(
            attrs.validators.and_(filled, checked(method_mistake, each=True))))
    host: str | None = attrs.field(default=None, validator=checked(host_mistake, optional=True))
    headers: Mapping[str, Any] = attrs.field(factory=dict, validator=checked(names_mistake))
    query: Mapping[str, Any] = attrs.field(factory=dict, validator=checked(wanted_mistake))
    cookies: Mapping[str, Any] = attrs.field(factory=dict, validator=checked(names_mistake))
    sources: tuple[str, ...] = attrs.field(default=(), validator=checked(network_mistake, each=True))
    priority: int = attrs.field(default=0, validator=number(least=-1000, most=1000, whole=True))
    strip_prefix: str | None = attrs.field(default=None, validator=text(optional=True))
    rewrite: str | None = attrs.field(default=None, validator=text(optional=True))
    mirror: MirrorConfig | None = None
    filters: tuple[str, ...] = ()
    skip_filters: tuple[str, ...] = ()

    @property
    def stem(self) -> str:
        """The path without its wildcard."""
        return self.path[:-2] if self.path.endswith("/*") else self.path

    @property
    def weights(self) -> Mapping[str, float]:
        """The services that take its requests, and their weights."""
        return self.services or ({} if self.service is None else {self.service: 1.0})

    @property
    def predicates(self) -> Predicates:
        """What it asks of a request, beside host and path."""
        methods = COMPOSED_METHODS if self.methods is None and self.compose is not None else self.methods
        return Predicates.of(methods=methods, headers=self.headers, query=self.query, cookies=self.cookies,
                             sources=self.sources)

    @property
    def parameters(self) -> frozenset[str]:
        """The names of the parameters in its path."""
        return frozenset(name for name, _ in Pattern.parse(self.path).names)

    def rewriting(self) -> Rewrite | None:
        """What it does to a path; None: nothing.

        Raises:
            ValueError: It cannot be done.
        """
        if self.rewrite is not None:
            return Rewrite.parse(self.rewrite, Pattern.parse(self.path))
        return None if self.strip_prefix is None else Rewrite.stripping(self.strip_prefix)


def names_of(routes: Sequence[RouteConfig]) -> list[str]:
    """The name of each route: its own, or one after what it takes, with a number if several take the same."""
    derived = [f"{','.join(route.methods) + ' ' if route.methods else ''}{route.host or ''}{route.path}"
               for route in routes]
    taken = {route.name for route in routes if route.name is not None}
    numbers: dict[str, int] = {}
    names = []
    for route, name in zip(routes, derived, strict=True):
        found = route.name or name
        while route.name is None and found in taken:
            numbers[name] = numbers.get(name, 1) + 1
            found = f"{name} #{numbers[name]}"
        taken.add(found)
        names.append(found)
    return names


def conflicts(routes: dict[int, RouteConfig], services: Sequence[str],
              compositions: Sequence[str] = ()) -> Iterator[Conflict]:
    """What is wrong between *routes*, by index, and the names of services and compositions, as (path, message)."""
    names: dict[str, int] = {}
    groups: dict[tuple[str | None, Pattern], list[tuple[int, RouteConfig, Predicates]]] = {}
    for index, route in routes.items():
        of_route = _mistakes_of(route, services) if route.compose is None else _compose_mistakes(route, compositions)
        for key, message in of_route:
            yield ("routes", index, *key), message
        if route.name is not None and names.setdefault(route.name, index) != index:
            yield ("routes", index, "name"), f"duplicate name: routes[{names[route.name]}] is called {route.name!r} too"
        host = None if route.host is None else _host_name(route.host)
        predicates = route.predicates
        group = groups.setdefault((host, Pattern.parse(route.path)), [])
        for other, earlier, those in group:
            clash = _clash(route, predicates, other, earlier, those, index)
            if clash is not None:
                yield clash
                break
        group.append((index, route, predicates))


def _host_name(host: str) -> str:
    """A route's host in the form in which hosts are compared."""
    domain = host.removeprefix("*.")
    return host[: len(host) - len(domain)] + authority(domain.encode()).name.decode()


def _clash(route: RouteConfig, predicates: Predicates, other: int, earlier: RouteConfig, those: Predicates,
           index: int) -> Conflict | None:
    """What is wrong between two routes with the same host and path."""
    if predicates.excludes(those):
        return None
    rank, other_rank = (-route.priority, -predicates.count), (-earlier.priority, -those.count)
    if rank == other_rank:
        why = "takes the same requests" if predicates == those else (
            "some requests suit both, and neither has more predicates; give one of them a higher priority")
        return ("routes", index, "path"), f"duplicate route: routes[{other}] has {earlier.path} too, and {why}"
    if rank > other_rank and predicates.implies(those):
        shadowed, by = index, other
    elif rank < other_rank and those.implies(predicates):
        shadowed, by = other, index
    else:
        return None
    return ("routes", shadowed, "path"), f"shadowed route: routes[{by}] takes every request that this one could take"


def _mistakes_of(route: RouteConfig, services: Sequence[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    """What is wrong with one route."""
    if (route.service is None) == (route.services is None):
        yield ("service",), "is missing: name one service, or several in services" if route.service is None else \
            "stands beside services; keep one of them"
    for name in route.weights:
        if name not in services:
            key = ("service",) if route.services is None else ("services", name)
            yield key, unknown_name("service", name, services)
    if route.sticky is not None and route.services is None:
        yield ("sticky",), "is for routes with several services"
    if route.mirror is not None and route.mirror.service not in services:
        yield ("mirror", "service"), unknown_name("service", route.mirror.service, services)
    if route.strip_prefix is not None:
        mistake = _strip_mistake(route)
        if mistake is not None:
            yield ("strip_prefix",), mistake
    if route.rewrite is not None:
        try:
            route.rewriting()
        except ValueError as error:
            yield ("rewrite",), f"{error}"


def _compose_mistakes(route: RouteConfig, compositions: Sequence[str]) -> Iterator[Conflict]:
    """What is wrong with a route that a composition answers."""
    assert route.compose is not None
    if route.compose not in compositions:
        yield ("compose",), unknown_name("composition", route.compose, compositions)
    for index, method in enumerate(route.methods or ()):
        if method not in COMPOSED_METHODS:
            yield ("methods", index), f"a composition answers {' and '.join(COMPOSED_METHODS)}, not {method}"
    for name in ("service", "services", "sticky", "strip_prefix", "rewrite", "mirror"):
        if getattr(route, name) is not None:
            yield (name,), "is for routes to a service; a composition says itself whom it asks for what"


def _strip_mistake(route: RouteConfig) -> str | None:
    prefix = route.strip_prefix or ""
    if route.rewrite is not None:
        return "stands beside rewrite; keep one of them"
    if not prefix.startswith("/") or prefix.endswith("/"):
        return f"must begin with a slash and not end with one, not {prefix!r}"
    if route.stem != prefix and not route.stem.startswith(f"{prefix}/"):
        return f"{prefix!r} is no prefix, by whole segments, of the path {route.path!r}"
    return None
