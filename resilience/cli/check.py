"""Check: the command that explains every mistake in a file, as a start would meet it."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from ..core.setting_names import nearest
from .output import fail, show

if TYPE_CHECKING:
    from ..gateway.config import ServiceConfig
    from ..gateway.listeners import Served

#: What tells a gateway's file from others. Also in gateway.config, which cannot be imported without the gateway extra.
GATEWAY_TABLES: Final = ("gateway", "private", "admin", "process", "filters", "identity", "access_log", "tracing",
                          "shedding", "services", "compositions", "routes")
#: What a registry's file has, also in gateway.config; a gateway's file may have two of them.
REGISTRY_TABLES: Final = ("registry", "listener", "tokens", "shared", "peers")
#: Above so much memory for one service's answers a file's author is told what it may come to, MiB.
_MUCH_MIB: Final = 64
_log = logging.getLogger("resilience")


def arguments(one: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    one.add_argument("config", metavar="CONFIG.toml", nargs="?", help="the file")
    one.add_argument("--schema", nargs="?", const="library", choices=("library", "gateway"), metavar="KIND",
                     help="print a JSON Schema instead: that of the library's file (library, the default) or of "
                     "the gateway's (gateway)")


def run(options: argparse.Namespace) -> int:
    """Check the file, or print a schema; the status to exit with."""
    from ..config import Document, check, schema
    from ..config.layers import TABLES

    if options.schema is not None:
        if options.schema == "gateway":
            from ..gateway.config import schema as gateway_schema

            show(gateway_schema.text(), end="")
        else:
            show(schema.text(), end="")
        return 0
    if options.config is None:
        fail("check needs a file, or --schema")
    tables = {nearest(name, (*TABLES, *GATEWAY_TABLES, *REGISTRY_TABLES))
              for name in Document.read(options.config).data}
    if not tables - {None}:
        fail(f"{options.config}: has no table that is known; a gateway's file has {_bracketed(GATEWAY_TABLES)}, a "
             f"registry's file has {_bracketed(REGISTRY_TABLES)}, and a library's file has {_bracketed(TABLES)}")
    found = ""
    if tables & {*TABLES}:
        sys.path.append("")  # the program that will read the file finds its own modules where it is started
        check(options.config)
    elif tables & {*REGISTRY_TABLES} and not tables & {*GATEWAY_TABLES}:
        _check_registry(options.config)
    else:
        found = _check_gateway(options.config)
    show(f"{options.config}: fine{found}")
    return 0


def _check_registry(file: str) -> None:
    """Check the file of a registry as a start would."""
    from ..discovery.registry import server
    from ..gateway.registry_host import RegistryHost

    host = RegistryHost(server.load(file))
    host.prepared()
    _warn_of_certificates([host.served()])


def _check_gateway(file: str) -> str:
    """Check the file of a gateway as a start would; what there is in it, in brackets."""
    from ..gateway import Gateway, config, server
    from ..gateway.registry_host import RegistryHost
    from ..registry import Registry

    sys.path.append("")  # as does the gateway, for filters
    settings = config.load(file)
    served = server.served_by(Gateway(settings, registry=Registry()))
    if settings.registry is not None:
        host = RegistryHost(settings.registry)
        host.prepared()
        served.append(host.served())
    _warn_of_certificates(served)
    _warn_of_memory(settings.services)
    routes = len(settings.routes) + (0 if settings.private is None else len(settings.private.routes))
    return f" ({_counted(len(settings.services), 'service')}, {_counted(routes, 'route')})"


def _warn_of_certificates(served: Iterable[Served]) -> None:
    """Say which certificates of listeners are, or will soon be, of no use."""
    from ..gateway.front.tls import TlsContexts

    for each in served:
        if each.settings.tls is not None:
            TlsContexts(each.settings.tls)  # says so


def _warn_of_memory(services: Mapping[str, ServiceConfig]) -> None:
    """Say what the answers that a service holds back may take, if that is much."""
    from ..gateway.services.service_command import is_per_endpoint, limit_of

    for name, service in services.items():
        number, limit = max(1, len(service.endpoints)), limit_of(service.command)
        commands = number if is_per_endpoint(service.command, 2 if service.source is not None else number) else 1
        most = service.hold * limit * commands / 2**20 if service.hold else 0.0
        if most > _MUCH_MIB:
            amount = "any amount" if limit == float("inf") else f"{most:.0f} MiB"
            where = f", at each of {number} endpoints" if commands > 1 else ""
            _log.warning("services.%s.hold: %s of memory may be held: %d bytes for each of max_concurrent requests%s",
                         name, amount, service.hold, where)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _bracketed(names: Sequence[str]) -> str:
    return ", ".join(f"[{name}]" for name in names)
