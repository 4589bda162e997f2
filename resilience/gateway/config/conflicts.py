"""Conflicts between tables: what one of them says, and another takes back or makes meaningless.

They are found here for a file, all of them, and for a GatewayConfig that is made in code, the first of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ...shared.connection import KEY as SHARED
from ..logs.redaction import may_be_logged
from .checks import unknown_name
from .compositions import CompositionConfig, composition_conflicts
from .filters import FilterConfig, filter_conflicts
from .listeners import GatewaySettings
from .observing import AccessLogSettings
from .private import PrivateListener
from .routes import RouteConfig, conflicts
from .services import ServiceConfig, lost_fallbacks
from .shedding import SheddingSettings
from .sources import shared_files

_Mistakes = Iterator[tuple[tuple[str | int, ...], str]]
_NO_PROXIES: Final = "gateway.trusted_proxies names none"


def conflicts_in(*, gateway: GatewaySettings, private: PrivateListener | None,
                 filters: Mapping[str, FilterConfig | None], services: Mapping[str, ServiceConfig | None],
                 compositions: Mapping[str, CompositionConfig | None], routes: dict[int, RouteConfig],
                 access_log: AccessLogSettings | None, shedding: SheddingSettings | None, shares: bool,
                 route_names: Sequence[str] | None) -> _Mistakes:
    """What is wrong between the tables of one configuration, as (path, message).

    Args:
        gateway: Of the public listener.
        private: None: there is none.
        filters: By name; None: it has mistakes.
        services: By name; None: it has mistakes.
        compositions: By name; None: it has mistakes.
        routes: By their places in the file.
        access_log: None: there is none.
        shedding: None: no load is shed.
        shares: Whether there is a ``[shared]`` table.
        route_names: Of both listeners; None: some have mistakes.
    """
    names = list(services)
    yield from conflicts(routes, names, list(compositions))
    yield from composition_conflicts(
        {name: each for name, each in compositions.items() if each is not None}, names, routes)
    yield from filter_conflicts(gateway, routes, filters, names)
    yield from lost_fallbacks(services)
    yield from shared_files(services)
    if private is not None and set(private.settings.trusted_proxies) != set(gateway.trusted_proxies):
        yield ("private", "trusted_proxies"), "must be the same as gateway.trusted_proxies: both listeners have the " \
            "same filters, limits and logs"  # which are made once, and read X-Forwarded-For by one list
    if shares and SHARED in names:
        yield ("services", SHARED), f"with a [shared] table there is a command {SHARED!r} already; give the service " \
            "another name"
    if not shares:
        for name, each in filters.items():
            if each is not None and getattr(each.target, "shared", False):
                yield ("filters", name, "shared"), f"the filter {name} is shared, which needs a [shared] table, " \
                    "where the store is named"
    yield from _table_conflicts(filters, access_log, shedding, gateway.trusted_proxies, route_names)


def _table_conflicts(filters: Mapping[str, FilterConfig | None], access_log: AccessLogSettings | None,
                    shedding: SheddingSettings | None, trusted_proxies: Sequence[str],
                    routes: Sequence[str] | None) -> _Mistakes:
    """What the access log shows, or trusted proxies alone may say, by another table."""
    found = {name: each.target for name, each in filters.items() if each is not None}
    if access_log is not None:
        for name, target in found.items():
            yield from _logged(access_log, name, getattr(target, "credential_headers", ()))
    sheds: list[tuple[tuple[str, ...], SheddingSettings]] = [] if shedding is None else [(("shedding",), shedding)]
    sheds += [(("filters", name), each) for name, each in found.items() if isinstance(each, SheddingSettings)]
    for where, each in sheds:
        yield from _shedding(where, each, trusted_proxies, routes)
    if not trusted_proxies:
        for name, target in found.items():
            if getattr(target, "proxies_headers", ()):
                yield ("filters", name, "header"), f"is believed of a trusted proxy only, and {_NO_PROXIES}"


def _logged(access_log: AccessLogSettings, name: str, secret: Sequence[str]) -> _Mistakes:
    for index, header in enumerate(access_log.headers):
        if not may_be_logged(header, secret):
            yield ("access_log", "headers", index), \
                f"{header} is where the filter {name} finds credentials, which are never logged"


def _shedding(where: tuple[str, ...], settings: SheddingSettings, trusted_proxies: Sequence[str],
              routes: Sequence[str] | None) -> _Mistakes:
    if not trusted_proxies:
        for index, source in enumerate(settings.priority):
            if source.startswith("header:"):
                yield (*where, "priority", index), f"{source} is believed of a trusted proxy only, and {_NO_PROXIES}"
    for route in settings.route_priority:
        if routes is not None and route not in routes:
            yield (*where, "route_priority", route), unknown_name("route", route, list(routes))
