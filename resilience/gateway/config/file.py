"""The gateway's file as a whole.

load() reads everything before it complains, so that ``resilience check`` can list all mistakes of a file at once. What
only the whole configuration can show (a route to a service that is not there, two routes for one request) is found in
conflicts.py, which also guards a GatewayConfig made in code.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

import attrs

from ...config import Document
from ...config.hints import unknown
from ...config.mistakes import mistake_at
from ...errors import ConfigError
from ..logs.log_writer import folder_trouble
from .addresses import is_shared
from .compositions import CompositionConfig
from .conflicts import conflicts_in
from .filters import FilterConfig, filters_in, read_filters
from .identity import IdentityHeaders
from .listeners import AdminSettings, GatewaySettings
from .observing import AccessLogSettings, TracingSettings
from .private import PrivateListener, read_private
from .process import ProcessSettings
from .registry import RegistryConfig, read_embedded
from .routes import RouteConfig, names_of
from .services import ServiceConfig, read_service
from .shared import SharedSettings
from .shedding import SheddingSettings

#: Also in resilience.cli.check, but for those that a registry's file has, too.
TABLES: Final = ("gateway", "private", "admin", "process", "filters", "identity", "access_log", "tracing", "shedding",
                 "registry", "shared", "services", "compositions", "routes")
_log = logging.getLogger("resilience")
_T = TypeVar("_T")


@attrs.frozen(kw_only=True)
class GatewayConfig:
    """All of a gateway's configuration.

    Attributes:
        gateway: How it listens.
        private: The private listener; None: there is none.
        admin: None: no admin listener.
        access_log: None: there is none.
        shedding: None: no load is shed.
        shared: Where it keeps what it shares with other gateways; None: it shares nothing.
        tracing: None: what a request says of its trace passes through unchanged.
        filters: By name; those of the modules that gateway.filter_modules names are among them.
        identity: Headers that tell upstreams who sent a request; None: none do. The same without a table as with an
            empty one, if any filter authenticates.
        registry: The service registry that is embedded in it; None: there is none.
        process: How many processes serve it, and how they end.
        services: By name.
        compositions: By name.
        routes: In the order of the file, which means nothing: the most specific wins.
        other_routes: Names of the other listener's routes, if this is what of_private_listener() gives.
    """

    gateway: GatewaySettings = attrs.field(factory=GatewaySettings)
    private: PrivateListener | None = None
    admin: AdminSettings | None = None
    access_log: AccessLogSettings | None = None
    tracing: TracingSettings | None = None
    shedding: SheddingSettings | None = None
    shared: SharedSettings | None = None
    filters: dict[str, FilterConfig] = attrs.field(factory=dict)
    identity: IdentityHeaders | None = None
    registry: RegistryConfig | None = None
    process: ProcessSettings = attrs.field(factory=ProcessSettings)
    services: dict[str, ServiceConfig] = attrs.field(factory=dict)
    compositions: dict[str, CompositionConfig] = attrs.field(factory=dict)
    routes: tuple[RouteConfig, ...] = ()
    other_routes: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        for path, message in conflicts_in(
                gateway=self.gateway, private=self.private, filters=self.filters, services=self.services,
                compositions=self.compositions, routes=dict(enumerate(self.routes)), access_log=self.access_log,
                shedding=self.shedding, shares=self.shared is not None,
                route_names=[*names_of(self.routes), *self.other_routes,
                             *names_of(() if self.private is None else self.private.routes)]):
            raise ConfigError(message, str(path[-1]))
        self.of_private_listener()

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
    def stated_headers(self) -> frozenset[str]:
        """Names, in lower case, of all headers that upstreams take the gateway's word for; no trailer may have one."""
        filters = {name for each in self.filters.values() for name in getattr(each.target, "stated_headers", ())}
        endpoints = {name for service in self.services.values() for each in service.endpoints for name in each.headers}
        id_name = None if self.tracing is None else self.tracing.request_id
        names = filters | endpoints | ({id_name} if id_name is not None else set[str]()) \
            | set(() if self.shedding is None else self.shedding.stated_headers)
        return self.own_headers | self.proxies_headers | {name.lower() for name in names}

    @property
    def most_connections(self) -> int:
        """How many connections of clients one of its listeners may have at a time."""
        public = self.gateway.max_connections
        return public if self.private is None else max(public, self.private.settings.max_connections)

    @property
    def observed_log(self) -> AccessLogSettings | None:
        """What is logged of requests: parameters in which filters find credentials are redacted, too."""
        names = {name for each in self.filters.values() for name in getattr(each.target, "credential_parameters", ())}
        log = self.access_log
        return log if log is None or not names else attrs.evolve(log, redact=(*log.redact, *sorted(names)))

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

    def filters_of(self, route: RouteConfig | None) -> tuple[str, ...]:
        """The names of the filters that run on a route, in no order.

        Args:
            route: One of this configuration; None: those that run on every route.
        """
        return filters_in(self.gateway, route, self.filters)

    def of_private_listener(self) -> GatewayConfig | None:
        """The private listener as a gateway's whole configuration; None if there is none."""
        if self.private is None:
            return None
        return attrs.evolve(self, gateway=self.private.settings, routes=self.private.routes, private=None,
                            other_routes=tuple(names_of(self.routes)))


def load(path: str | os.PathLike[str]) -> GatewayConfig:
    """Read and check a gateway's TOML file.

    Args:
        path: Path of the file.

    Raises:
        ConfigFileError: The file has mistakes; all of them are listed, each with file, line and key.
    """
    document = Document.read(path)
    config = read_for_start(document)
    log_hints(document)
    return config


def read_for_start(document: Document) -> GatewayConfig:
    """Check a gateway's file as read() does, and that lines can be written where its access log is to be.

    Log where lists of endpoints cannot be kept: a gateway serves without them, too, but for its next start. Log which
    filters no request passes: nothing is wrong with the file, but who has written one that authenticates relies on it.
    A process that begins later by the same file does not ask: better serve without a log, which says so, than not.

    Args:
        document: The file.

    Raises:
        ConfigFileError: It has mistakes.
    """
    config = read(document)
    trouble = None if config.access_log is None else config.access_log.trouble()
    if trouble is not None:
        document.mistake(("access_log", "to"), trouble)
        document.finish()
    for name, service in config.services.items():
        keep = None if service.source is None else service.source.keep
        trouble = None if keep is None else folder_trouble(os.path.dirname(os.path.realpath(keep)))
        if trouble is not None:
            place = document.place(("services", name, "source", "keep"))
            _log.warning("%s", mistake_at(place, f"{trouble}, so that no list is kept"))
    for name in _without_use(config):
        place = document.place(("filters", name))
        _log.warning("%s", mistake_at(place, "no route has this filter, so that it does nothing"))
    return config


def _without_use(config: GatewayConfig) -> list[str]:
    """The names of filters that are enabled, and that no request passes."""
    private = config.of_private_listener()
    listeners = [config] if private is None else [config, private]
    used = {name for each in listeners for route in each.routes for name in each.filters_of(route)}
    used |= {name for each in listeners if (name := each.gateway.error_endpoint) is not None}
    return [name for name, each in config.filters.items() if each.enabled and not each.everywhere and name not in used]


def log_hints(document: Document) -> None:
    """Log what a file may say, and most likely does not mean."""
    for hint in document.hints():
        _log.warning("%s", hint)


def read(document: Document) -> GatewayConfig:
    """Check a gateway's file that was read, or what stands for one.

    Args:
        document: The file; or the tables of one, which a program has made.

    Raises:
        ConfigFileError: It has mistakes; all of them are listed, each with file, line and key.
    """
    for name in document.data:
        if name not in TABLES:
            document.mistake((name,), unknown(name, TABLES, what="table"))
    gateway = document.structure(GatewaySettings, "gateway") or GatewaySettings()
    filters = read_filters(document, gateway)
    names, composed = list(document.table("services")), list(document.table("compositions"))
    private = read_private(document, names, composed, filters)
    admin = _optional(document, AdminSettings, "admin")
    registry = read_embedded(document)
    _check_listeners(document, gateway, private, admin, registry)
    services = {name: read_service(document, name) for name in names}
    compositions = {name: document.structure(CompositionConfig, "compositions", name) for name in composed}
    routes = {index: route for index in range(len(document.tables("routes")))
              if (route := document.structure(RouteConfig, "routes", index)) is not None}
    if not names and "services" not in document.data:
        document.mistake((), "no services: a gateway needs at least one [services.NAME] table")
    if "routes" not in document.data:
        document.mistake((), "no routes: a gateway needs at least one [[routes]] table")
    access_log = _optional(document, AccessLogSettings, "access_log")
    shedding = _optional(document, SheddingSettings, "shedding")
    shared = _optional(document, SharedSettings, "shared")
    for where, message in conflicts_in(
            gateway=gateway, private=private, filters=filters, services=services, compositions=compositions,
            routes=routes, access_log=access_log, shedding=shedding, shares="shared" in document.data,
            route_names=_route_names(document, routes, private)):
        document.mistake(where, message)
    tracing = _optional(document, TracingSettings, "tracing")
    identity = _optional(document, IdentityHeaders, "identity")
    process = document.structure(ProcessSettings, "process") or ProcessSettings()
    document.finish()
    return GatewayConfig(
        gateway=gateway, private=private, admin=admin, process=process, access_log=access_log,
        shedding=shedding, shared=shared, tracing=tracing, identity=identity, registry=registry,
        routes=tuple(routes.values()), compositions=_without_none(compositions), filters=_without_none(filters),
        services=_without_none(services))


def _route_names(document: Document, routes: Mapping[int, RouteConfig],
                 private: PrivateListener | None) -> list[str] | None:
    """The names of all routes of both listeners; None: some have mistakes, and may be any's."""
    found = () if private is None else private.routes
    hidden = document.data["private"].get("routes") if private is not None else []
    if len(routes) != len(document.tables("routes")) or not isinstance(hidden, list) or len(found) != len(hidden) \
            or (private is None and "private" in document.data):
        return None
    return [*names_of(tuple(routes.values())), *names_of(found)]


def _without_none(found: Mapping[str, _T | None]) -> dict[str, _T]:
    return {name: each for name, each in found.items() if each is not None}


def _optional(document: Document, cls: type[_T], table: str) -> _T | None:
    """What a *table* says that need not be there."""
    return document.structure(cls, table) if table in document.data else None


def _check_listeners(document: Document, gateway: GatewaySettings, private: PrivateListener | None,
                     admin: AdminSettings | None, registry: RegistryConfig | None) -> None:
    """Note listeners that would take connections to each other."""
    taken: list[str] = []
    for table, listener in ((("gateway",), gateway), (("private",), None if private is None else private.settings),
                            (("admin",), admin),
                            (("registry", "listener"), None if registry is None else registry.listener)):
        if listener is not None:
            if any(is_shared(listener.bind, each) for each in taken):
                document.mistake((*table, "bind"), f"{listener.bind} is what the gateway itself listens on")
            taken.append(listener.bind)
