"""Tables: the tables of a gateway's file that say something of each other, and what is wrong between them.

Each of them has been read by itself. One with mistakes of its own is left out, and only what is certain all the same is
said of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import attrs

from ...shared.connection import KEY as SHARED
from .compositions import CompositionConfig, composition_conflicts
from .conflicts import table_conflicts
from .filters import FilterConfig, filter_conflicts
from .listeners import GatewaySettings
from .observing import AccessLogSettings
from .private import PrivateSide
from .routes import RouteConfig, conflicts
from .services import ServiceConfig, lost_fallbacks
from .shedding import SheddingSettings
from .sources import shared_files

_ONE_SHARED: Final = f"with a [shared] table there is a command {SHARED!r} already; give the service another name"
#: Filters, limits and logs are made once for both sides, and read X-Forwarded-For by one list.
_ONE_TRUST: Final = "must be the same as gateway.trusted_proxies: both sides have the same filters, limits and logs"


@attrs.frozen(kw_only=True)
class Tables:
    """Tables, as far as they have no mistakes of their own.

    Attributes:
        gateway: How it listens.
        private: The private side; None: there is none.
        access_log: None: there is none.
        shedding: None: nothing is shed at the door.
        is_shared: Whether there is a table that says where the shared store is.
        filters: By name; None: it has mistakes.
        services: By name; None: it has mistakes.
        compositions: By name.
        composed: Names of all compositions.
        routes: By index.
        route_names: Of both sides; None: some have mistakes.
    """

    gateway: GatewaySettings
    private: PrivateSide | None
    access_log: AccessLogSettings | None
    shedding: SheddingSettings | None
    is_shared: bool
    filters: Mapping[str, FilterConfig | None]
    services: Mapping[str, ServiceConfig | None]
    compositions: Mapping[str, CompositionConfig]
    composed: Sequence[str]
    routes: dict[int, RouteConfig]
    route_names: Sequence[str] | None

    def conflicts(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """What is wrong between them, as (path, message)."""
        names = list(self.services)
        yield from conflicts(self.routes, names, self.composed)
        yield from composition_conflicts(self.compositions, names, self.routes)
        yield from filter_conflicts(self.gateway, self.routes, self.filters, names)
        yield from lost_fallbacks(self.services)
        yield from shared_files(self.services)
        yield from table_conflicts(self.filters, self.access_log, self.shedding, self.gateway.trusted_proxies,
                                   self.route_names)
        if not self.is_shared:
            for name, each in self.filters.items():
                if each is not None and getattr(each.target, "shared", False):
                    yield ("filters", name, "shared"), "needs a [shared] table, which says where the store is"
        elif SHARED in self.services:
            yield ("services", SHARED), _ONE_SHARED
        trusted = None if self.private is None else set(self.private.settings.trusted_proxies)
        if trusted is not None and trusted != set(self.gateway.trusted_proxies):
            yield ("private", "trusted_proxies"), _ONE_TRUST
