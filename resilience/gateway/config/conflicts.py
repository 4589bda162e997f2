"""Conflicts between tables: what one of them says, and another takes back or makes meaningless."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..logs.redaction import may_be_logged
from .checks import unknown_name
from .filters import FilterConfig
from .observing import AccessLogSettings
from .shedding import SheddingSettings

_Mistakes = Iterator[tuple[tuple[str | int, ...], str]]
_NO_PROXIES = "gateway.trusted_proxies names none"


def table_conflicts(filters: Mapping[str, FilterConfig | None], access_log: AccessLogSettings | None,
                    shedding: SheddingSettings | None, trusted_proxies: Sequence[str],
                    routes: Sequence[str] | None) -> _Mistakes:
    """What is wrong between tables, as (path, message).

    Args:
        filters: By name; None: it has mistakes.
        access_log: None: there is none.
        shedding: None: nothing is shed at the door.
        trusted_proxies: Of both sides.
        routes: Names of all routes; None: some have mistakes.
    """
    found = {name: each.target for name, each in filters.items() if each is not None}
    if access_log is not None:
        for name, target in found.items():
            yield from _logged(access_log, name, getattr(target, "credential_headers", ()))
    doors: list[tuple[tuple[str, ...], SheddingSettings]] = [] if shedding is None else [(("shedding",), shedding)]
    doors += [(("filters", name), each) for name, each in found.items() if isinstance(each, SheddingSettings)]
    for where, each in doors:
        yield from _door(where, each, trusted_proxies, routes)
    if not trusted_proxies:
        for name, target in found.items():
            if getattr(target, "proxies_headers", ()):
                yield ("filters", name, "header"), f"is believed of a trusted proxy only, and {_NO_PROXIES}"


def _logged(access_log: AccessLogSettings, name: str, secret: Sequence[str]) -> _Mistakes:
    for index, header in enumerate(access_log.headers):
        if not may_be_logged(header, secret):
            yield ("access_log", "headers", index), \
                f"{header} is where the filter {name} finds credentials, which are never logged"


def _door(where: tuple[str, ...], settings: SheddingSettings, trusted_proxies: Sequence[str],
          routes: Sequence[str] | None) -> _Mistakes:
    if not trusted_proxies:
        for index, source in enumerate(settings.priority):
            if source.startswith("header:"):
                yield (*where, "priority", index), f"{source} is believed of a trusted proxy only, and {_NO_PROXIES}"
    for route in settings.route_priority:
        if routes is not None and route not in routes:
            yield (*where, "route_priority", route), unknown_name("route", route, list(routes))
