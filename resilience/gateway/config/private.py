"""The private listener of a gateway: the ``[private]`` table, and the routes below it.

Its routes stand in the table itself, and not among the others with a mark: a route that somebody forgot to mark would
be open to the public.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from ...config import Document
from ...config.hints import unknown
from ...config.mistakes import shown
from .filters import FilterConfig, filter_conflicts
from .listeners import GatewaySettings
from .routes import RouteConfig, conflicts

_ROUTES: Final = "routes"
#: Keys of [gateway] that are about both listeners, and stand there alone.
_OF_BOTH: Final = ("drain_timeout", "filter_modules")
PRIVATE_KEYS: Final = tuple(each.name for each in attrs.fields(GatewaySettings) if each.name not in _OF_BOTH)


@attrs.frozen(kw_only=True)
class PrivateListener:
    """What the ``[private]`` table says.

    Attributes:
        settings: How it listens; the keys are those of ``[gateway]``.
        routes: Of its own.
    """

    settings: GatewaySettings
    routes: tuple[RouteConfig, ...] = ()


def read_private(document: Document, services: list[str], compositions: list[str],
                 filters: Mapping[str, FilterConfig | None]) -> PrivateListener | None:
    """The private listener; None if there is none, or it has mistakes, which are noted.

    Args:
        document: The file.
        services: Names of the services that there are.
        compositions: Names of the compositions.
        filters: By name; None: it has mistakes.
    """
    table = document.data.get("private")
    if table is None:
        return None
    if not isinstance(table, Mapping):
        document.mistake(("private",), f"must be a table ([private]), not {shown(table)}")
        return None
    if "bind" not in table:
        document.mistake(("private", "bind"), "is missing: a private listener needs an address of its own")
    for name in [*table]:
        if name in _OF_BOTH:
            document.mistake(("private", name), "is about both listeners: write it in [gateway]")
        elif name not in PRIVATE_KEYS and name != _ROUTES:
            document.mistake(("private", name), unknown(name, (*PRIVATE_KEYS, _ROUTES), path=("private",)))
    settings = document.structure(
        GatewaySettings, "private", given={name: table[name] for name in PRIVATE_KEYS if name in table})
    listed = table.get(_ROUTES, [])
    if not isinstance(listed, list) or not listed or not all(isinstance(each, Mapping) for each in listed):
        document.mistake(("private", _ROUTES), "must be a list of tables ([[private.routes]]), and have at least one")
        listed = []
    routes = {index: route for index in range(len(listed))
              if (route := document.structure(RouteConfig, "private", _ROUTES, index)) is not None}
    for where, message in (*conflicts(routes, services, compositions),
                           *filter_conflicts(settings or GatewaySettings(), routes, filters, services)):
        if where[0] != "filters":  # those of the whole file were noted
            document.mistake(("private", *(where[1:] if where[0] == "gateway" else where)), message)
    return None if settings is None else PrivateListener(settings=settings, routes=tuple(routes.values()))
