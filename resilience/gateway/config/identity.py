"""Identity: the ``[identity]`` table, by which headers upstreams learn who sent a request."""

from __future__ import annotations

import re
from typing import Any, Final

import attrs

from ..messages.headers import CLAIMS, HOP_BY_HOP, OF_CERTIFICATES
from .checks import checked

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}").fullmatch
_REFUSED: Final = HOP_BY_HOP | (CLAIMS - OF_CERTIFICATES) | {
    b"host", b"content-length", b"trailer", b"via", b"cookie", b"authorization"}


def own_header_mistake(value: Any) -> str | None:
    """What is wrong with the name of a header that the gateway alone is to set; None if nothing is."""
    if not isinstance(value, str) or not _NAME(value):
        return "must be the name of a header: letters, digits and hyphens"
    if value.lower().encode() in _REFUSED:
        return "must be a header that has no meaning of its own"
    return None


@attrs.frozen(kw_only=True)
class IdentityHeaders:
    """The ``[identity]`` table: names of headers; None (``false``) for one that is not to be sent.

    Attributes:
        consumer: Has the name of the consumer.
        scopes: Has its scopes, between spaces.
        roles: Has its roles, between commas.
        tenant: Has its tenant.
    """

    consumer: str | None = attrs.field(default="X-Consumer", validator=checked(own_header_mistake, optional=True))
    scopes: str | None = attrs.field(default="X-Scopes", validator=checked(own_header_mistake, optional=True))
    roles: str | None = attrs.field(default="X-Roles", validator=checked(own_header_mistake, optional=True))
    tenant: str | None = attrs.field(default="X-Tenant", validator=checked(own_header_mistake, optional=True))

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are sent."""
        return tuple(each for each in (self.consumer, self.scopes, self.roles, self.tenant) if each is not None)
