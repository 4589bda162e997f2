"""The gateway's file as a whole.

load() reads everything before it complains, so that ``resilience check`` can list
all mistakes of a file at once. What only the whole configuration can show (a
route to a service that is not there, two routes for one request) is found by
conflicts(), which also guards a GatewayConfig made in code.
"""

from __future__ import annotations

import logging
import os
from typing import Final

import attrs

from ...config import Document
from ...config.hints import unknown
from ...errors import ConfigError
from .addresses import is_shared
from .listeners import AdminSettings, GatewaySettings
from .private import PrivateSide, read_private
from .process import ProcessSettings
from .routes import RouteConfig, conflicts
from .services import ServiceConfig, read_service

_TABLES: Final = ("gateway", "private", "admin", "process", "services", "routes")
_log = logging.getLogger("resilience")


@attrs.frozen(kw_only=True)
class GatewayConfig:
    """All of a gateway's configuration.

    Attributes:
        gateway: How it listens.
        private: The private side; None: there is none.
        admin: None: no admin listener.
        process: How many processes serve it, and how they end.
        services: By name.
        routes: In the order of the file, which means nothing: the most specific wins.
    """

    gateway: GatewaySettings = attrs.field(factory=GatewaySettings)
    private: PrivateSide | None = None
    admin: AdminSettings | None = None
    process: ProcessSettings = attrs.field(factory=ProcessSettings)
    services: dict[str, ServiceConfig] = attrs.field(factory=dict)
    routes: tuple[RouteConfig, ...] = ()

    def __attrs_post_init__(self) -> None:
        for routes in (self.routes, () if self.private is None else self.private.routes):
            for path, message in conflicts(dict(enumerate(routes)), list(self.services)):
                raise ConfigError(message, str(path[-1]))

    def of_private_side(self) -> GatewayConfig | None:
        """The private side as a gateway's whole configuration; None if there is none."""
        if self.private is None:
            return None
        return attrs.evolve(self, gateway=self.private.settings, routes=self.private.routes, private=None)


def load(path: str | os.PathLike[str]) -> GatewayConfig:
    """Read and check a gateway's TOML file.

    Args:
        path: Path of the file.

    Raises:
        ConfigFileError: The file has mistakes; all of them are listed, each with file, line and key.
    """
    document = Document.read(path)
    config = read(document)
    log_hints(document)
    return config


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
        if name not in _TABLES:
            document.mistake((name,), unknown(name, _TABLES, what="table"))
    gateway = document.structure(GatewaySettings, "gateway")
    admin = document.structure(AdminSettings, "admin") if "admin" in document.data else None
    process = document.structure(ProcessSettings, "process")
    names = list(document.table("services"))
    private = read_private(document, names)
    taken: list[str] = []
    listeners: tuple[tuple[str, GatewaySettings | AdminSettings | None], ...] = (
        ("gateway", gateway), ("private", None if private is None else private.settings), ("admin", admin))
    for table, listener in listeners:
        if listener is not None:
            if any(is_shared(listener.bind, each) for each in taken):
                document.mistake((table, "bind"), f"{listener.bind} is what the gateway itself listens on")
            taken.append(listener.bind)
    services = {name: read_service(document, name) for name in names}
    routes = {index: route for index in range(len(document.tables("routes")))
              if (route := document.structure(RouteConfig, "routes", index)) is not None}
    if not names and "services" not in document.data:
        document.mistake((), "no services: a gateway needs at least one [services.NAME] table")
    if "routes" not in document.data:
        document.mistake((), "no routes: a gateway needs at least one [[routes]] table")
    for where, message in conflicts(routes, names):
        document.mistake(where, message)
    document.finish()
    return GatewayConfig(
        gateway=gateway or GatewaySettings(), private=private, admin=admin, process=process or ProcessSettings(),
        routes=tuple(routes.values()),
        services={name: service for name, service in services.items() if service is not None})
