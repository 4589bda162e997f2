"""The gateway's file as a whole.

load() reads everything before it complains, so that ``resilience check`` can list
all mistakes of a file at once. What only the whole configuration can show (a
route to a service that is not there, two routes for one request) is found by
conflicts(), which also guards a GatewayConfig made in code.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from ...config import Document
from ...config.hints import unknown
from ...errors import ConfigError
from .addresses import is_shared
from .compositions import CompositionConfig, composition_conflicts
from .filters import FilterConfig, filter_conflicts, filters_in, read_filters
from .identity import IdentityHeaders
from .listeners import AdminSettings, GatewaySettings
from .observing import AccessLogSettings, TracingSettings
from .routes import RouteConfig, conflicts
from .services import ServiceConfig, lost_fallbacks, read_service
from .shedding import SheddingSettings

_TABLES: Final = ("gateway", "admin", "filters", "identity", "access_log", "tracing", "shedding", "services",
                  "compositions", "routes")
_log = logging.getLogger("resilience")


@attrs.frozen(kw_only=True)
class GatewayConfig:
    """All of a gateway's configuration.

    Attributes:
        gateway: How it listens.
        admin: None: no admin listener.
        access_log: None: there is none.
        shedding: None: nothing is shed at the door.
        tracing: None: what a request says of its trace passes through unchanged.
        filters: By name; those of the modules that gateway.filter_modules names are among them.
        identity: Headers that tell upstreams who sent a request; None: none do. The same without a table as with an
            empty one, if any filter authenticates.
        services: By name.
        compositions: By name.
        routes: In the order of the file, which means nothing: the most specific wins.
    """

    gateway: GatewaySettings = attrs.field(factory=GatewaySettings)
    admin: AdminSettings | None = None
    access_log: AccessLogSettings | None = None
    tracing: TracingSettings | None = None
    shedding: SheddingSettings | None = None
    filters: dict[str, FilterConfig] = attrs.field(factory=dict)
    identity: IdentityHeaders | None = None
    services: dict[str, ServiceConfig] = attrs.field(factory=dict)
    compositions: dict[str, CompositionConfig] = attrs.field(factory=dict)
    routes: tuple[RouteConfig, ...] = ()

    def __attrs_post_init__(self) -> None:
        routes = dict(enumerate(self.routes))
        for path, message in (*conflicts(routes, list(self.services), list(self.compositions)),
                              *composition_conflicts(self.compositions, list(self.services), routes),
                              *lost_fallbacks(self.services)):
            raise ConfigError(message, str(path[-1]))
        for path, message in filter_conflicts(self.gateway, dict(enumerate(self.routes)), self.filters,
                                              list(self.services)):
            raise ConfigError(message, str(path[-1]))

    @property
    def own_headers(self) -> frozenset[str]:
        """Names, in lower case, of headers that the gateway alone sets, and takes from every client's request."""
        identity = self.identity_headers
        names = {name for each in self.filters.values() for name in getattr(each.target, "own_headers", ())}
        return frozenset(name.lower() for name in names | set(identity.names if identity is not None else ()))

    @property
    def proxies_headers(self) -> frozenset[str]:
        """Names, in lower case, of headers of filters that only trusted proxies may send."""
        return frozenset(name.lower() for each in self.filters.values()
                         for name in getattr(each.target, "proxies_headers", ()))

    @property
    def identity_headers(self) -> IdentityHeaders | None:
        """What tells upstreams who sent a request; None: nothing does."""
        is_known = any(getattr(each.target, "authenticates", False) for each in self.filters.values())
        return IdentityHeaders() if self.identity is None and is_known else self.identity

    def with_filters(self, filters: Iterable[Any]) -> GatewayConfig:
        """The same, with filters of code that run on every route.

        Args:
            filters: Decorated functions, and instances of decorated classes.

        Raises:
            ConfigError: One is no filter, or has the name of another.
        """
        found = dict(self.filters)
        for each in filters:
            made = FilterConfig.of(each, everywhere=True)
            if made.name in found:
                raise ConfigError(f"there are two filters {made.name}; give one another name", "filters")
            found[made.name] = made
        return attrs.evolve(self, filters=found) if len(found) > len(self.filters) else self

    def weights_of(self, route: RouteConfig) -> Mapping[str, float]:
        """The services that take a route's requests, and their weights; for a composition, that of its first part.

        A composition asks services itself; its first one stands for them where a request needs one, as for max_body.

        Args:
            route: One of routes.
        """
        if route.compose is None:
            return route.weights
        return {next(iter(self.compositions[route.compose].parts.values())).service: 1.0}

    def filters_of(self, route: RouteConfig) -> tuple[str, ...]:
        """The names of the filters that run on a route, in no order.

        Args:
            route: One of this configuration.
        """
        return filters_in(self.gateway, route, self.filters)


def load(path: str | os.PathLike[str]) -> GatewayConfig:
    """Read and check a gateway's TOML file.

    Args:
        path: Path of the file.

    Raises:
        ConfigFileError: The file has mistakes; all of them are listed, each with file, line and key.
    """
    document = Document.read(path)
    for name in document.data:
        if name not in _TABLES:
            document.mistake((name,), unknown(name, _TABLES, what="table"))
    gateway = document.structure(GatewaySettings, "gateway")
    admin = document.structure(AdminSettings, "admin") if "admin" in document.data else None
    access_log = document.structure(AccessLogSettings, "access_log") if "access_log" in document.data else None
    shedding = document.structure(SheddingSettings, "shedding") if "shedding" in document.data else None
    tracing = document.structure(TracingSettings, "tracing") if "tracing" in document.data else None
    if gateway is not None and admin is not None and is_shared(gateway.bind, admin.bind):
        document.mistake(("admin", "bind"), f"{admin.bind} is what the gateway itself listens on")
    filters = read_filters(document, gateway or GatewaySettings())
    identity = document.structure(IdentityHeaders, "identity") if "identity" in document.data else None
    names = list(document.table("services"))
    services = {name: read_service(document, name) for name in names}
    compositions = {name: document.structure(CompositionConfig, "compositions", name)
                    for name in document.table("compositions")}
    routes = {index: route for index in range(len(document.tables("routes")))
              if (route := document.structure(RouteConfig, "routes", index)) is not None}
    if not names and "services" not in document.data:
        document.mistake((), "no services: a gateway needs at least one [services.NAME] table")
    if "routes" not in document.data:
        document.mistake((), "no routes: a gateway needs at least one [[routes]] table")
    composed = {name: each for name, each in compositions.items() if each is not None}
    for where, message in (*conflicts(routes, names, list(compositions)),
                           *composition_conflicts(composed, names, routes)):
        document.mistake(where, message)
    for where, message in filter_conflicts(gateway or GatewaySettings(), routes, filters, names):
        document.mistake(where, message)
    for where, message in lost_fallbacks(services, names):
        document.mistake(where, message)
    for hint in document.hints():
        _log.warning("%s", hint)
    document.finish()
    return GatewayConfig(
        gateway=gateway or GatewaySettings(), admin=admin, access_log=access_log, tracing=tracing,
        shedding=shedding, identity=identity, compositions=composed,
        routes=tuple(routes.values()),
        filters={name: each for name, each in filters.items() if each is not None},
        services={name: service for name, service in services.items() if service is not None})
