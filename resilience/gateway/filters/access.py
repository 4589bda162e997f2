"""Authorization: what a consumer must have, and where a request must come from, on a route.

Every kind that is set must hold. Without any, an identity is enough.

Where a request comes from is the last address that no trusted proxy has added: what stands before it in
X-Forwarded-For may be anybody's invention.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Callable
from typing import Final

import attrs

from ..config.addresses import network_mistake
from ..config.checks import checked, meaningless
from ..routing.predicates import Address, within
from .context import FilterContext, Identity
from .declare import FilterHost, inbound_filter
from .identity import quoted, unauthenticated

_ADDRESSES_KEPT: Final = 4096


@inbound_filter(name="access", order=20, fail_closed=True, always=True)
@attrs.frozen(kw_only=True)
class Access:
    """The settings of an ``access`` filter.

    Attributes:
        scopes: The consumer must have all of these.
        roles: The consumer must have one of these.
        consumers: The consumer must be one of these.
        tenants: The consumer must belong to one of these.
        addresses: The request must come from one of these addresses or networks.
        denied_addresses: The request must come from none of these.
        anonymous: Whether nobody in particular may pass; only addresses count then.
    """

    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    consumers: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    addresses: tuple[str, ...] = attrs.field(default=(), validator=checked(network_mistake, each=True))
    denied_addresses: tuple[str, ...] = attrs.field(default=(), validator=checked(network_mistake, each=True))
    anonymous: bool = False

    def __attrs_post_init__(self) -> None:
        if self.anonymous:
            meaningless(self, ("scopes", "roles", "consumers", "tenants"),
                        "with anonymous = true, by which everybody may pass")

    def bind(self, host: FilterHost) -> Callable[[FilterContext], None]:
        """The filter, which is a plain function."""
        allowed = [ipaddress.ip_network(each) for each in self.addresses]
        denied = [ipaddress.ip_network(each) for each in self.denied_addresses]

        @functools.lru_cache(maxsize=_ADDRESSES_KEPT)
        def is_permitted(address: Address | None) -> bool:
            return address is not None and not within(address, denied) and (not allowed or within(address, allowed))

        def access(context: FilterContext) -> None:
            request = context.request
            if (allowed or denied) and not is_permitted(host.addresses.address_stated(
                    request.peer, request.headers.get("x-forwarded-for") or "")):
                context.refuse(403, "this cannot be reached from your address")
                return
            if self.anonymous:
                return
            if context.identity is None:
                unauthenticated(context, "this needs credentials")
            else:
                self._authorise(context, context.identity)

        return access

    def _authorise(self, context: FilterContext, identity: Identity) -> None:
        if self.scopes and not identity.scopes.issuperset(self.scopes):
            wanted = " ".join(quoted(each) for each in self.scopes)
            challenge = f'Bearer error="insufficient_scope", scope="{wanted}"'
            context.refuse(403, "your credentials lack a scope that this needs", {"www-authenticate": challenge})
        elif self.roles and identity.roles.isdisjoint(self.roles):
            context.refuse(403, "your credentials have no role that this needs")
        elif self.consumers and identity.consumer not in self.consumers:
            context.refuse(403, "this is not for you")
        elif self.tenants and identity.tenant not in self.tenants:
            context.refuse(403, "this is not for your tenant")

