"""Routes of the gateway: the ``[[routes]]`` tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from ...core.checks import text
from ..routing import host_mistake, path_mistake
from .checks import checked, filled, one_of, unknown_name

#: Compositions only read.
COMPOSED_METHODS: Final = ("GET", "HEAD")
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


@attrs.frozen(kw_only=True)
class RouteConfig:
    """A ``[[routes]]`` table.

    Attributes:
        path: A path, or with ``/*`` at its end that path and all below it.
        service: Name of the service that answers; None: a composition does.
        compose: Name of the composition that answers; None: a service does.
        methods: None: all. GET brings HEAD along.
        host: Only for this host; None: for any that has no route of its own.
        strip_prefix: What to take off the path's front before it is forwarded.
        filters: Names of the filters that run on this route, beside those that run on every one.
        skip_filters: Names of those that run on every route, and not on this one.
    """

    path: str = attrs.field(validator=checked(path_mistake))
    service: str | None = attrs.field(default=None, validator=text(optional=True))
    compose: str | None = attrs.field(default=None, validator=text(optional=True))
    methods: tuple[str, ...] | None = attrs.field(
        default=None, validator=attrs.validators.optional(
            attrs.validators.and_(filled, checked(one_of(METHODS, "a method"), each=True))))
    host: str | None = attrs.field(default=None, validator=checked(host_mistake, optional=True))
    strip_prefix: str | None = attrs.field(default=None, validator=text(optional=True))
    filters: tuple[str, ...] = ()
    skip_filters: tuple[str, ...] = ()

    @property
    def stem(self) -> str:
        """The path without its wildcard."""
        return self.path[:-2] if self.path.endswith("/*") else self.path

    def accepted(self) -> tuple[str, ...]:
        """The methods, spelt out."""
        if self.methods is None:
            return METHODS if self.compose is None else COMPOSED_METHODS
        return (*self.methods, "HEAD") if "GET" in self.methods and "HEAD" not in self.methods else self.methods


def conflicts(routes: dict[int, RouteConfig], services: Sequence[str], compositions: Sequence[str] = (),
              ) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What is wrong between *routes*, by index, and the names of *services* and *compositions*, as (path, message)."""
    taken: dict[tuple[str | None, str, str], int] = {}
    for index, route in routes.items():
        where = ("routes", index)
        if (route.service is None) == (route.compose is None):
            yield where, "needs a service, or compose with the name of a composition, and not both"
        if route.service is not None and route.service not in services:
            yield (*where, "service"), unknown_name("service", route.service, services)
        if route.compose is not None:
            yield from _compose_mistakes(route, where, compositions)
        if route.strip_prefix is not None:
            mistake = _strip_mistake(route)
            if mistake is not None:
                yield (*where, "strip_prefix"), mistake
        host = None if route.host is None else route.host.lower()
        others = {taken.setdefault((host, route.path, method), index) for method in route.accepted()} - {index}
        if others:
            yield (*where, "path"), f"duplicate route: routes[{min(others)}] has {route.path} and such a method too"


def _compose_mistakes(route: RouteConfig, where: tuple[str | int, ...], compositions: Sequence[str],
                      ) -> Iterator[tuple[tuple[str | int, ...], str]]:
    assert route.compose is not None
    if route.compose not in compositions:
        yield (*where, "compose"), unknown_name("composition", route.compose, compositions)
    for index, method in enumerate(route.methods or ()):
        if method not in COMPOSED_METHODS:
            yield (*where, "methods", index), f"a composition answers {' and '.join(COMPOSED_METHODS)}, not {method}"
    if route.strip_prefix is not None:
        yield (*where, "strip_prefix"), "a composition has paths of its own; there is none to strip"


def _strip_mistake(route: RouteConfig) -> str | None:
    prefix = route.strip_prefix or ""
    if not prefix.startswith("/") or prefix.endswith("/"):
        return f"must begin with a slash and not end with one, not {prefix!r}"
    if route.stem != prefix and not route.stem.startswith(f"{prefix}/"):
        return f"{prefix!r} is no prefix, by whole segments, of the path {route.path!r}"
    return None
