"""Identity of clients: how authentication filters refuse, and how upstreams are told who sent a request.

What the gateway says of an identity cannot be read as more than it is: characters that separate, and those that are
not visible ASCII, are percent-encoded in each item.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from ..config.identity import IdentityHeaders
from ..messages.exchange import Header
from ..messages.headers import values_of
from ..messages.named_values import header_values
from .context import FilterContext, Identity
from .fields import Fields

#: The scheme, and nothing that could belong to the name of another one (RFC 9110, 5.6.2).
_BEARER: Final = re.compile(r"bearer(?![!#$%&'*+.^_`|~0-9A-Za-z-])", re.IGNORECASE).match
_SAFE: Final = "!#$&'()*+-./:<=>?@[]^_`{|}~"


def quoted(value: str) -> str:
    """A *value* in visible ASCII, without spaces and commas."""
    return quote(value, safe=_SAFE, errors="replace")


def state(fields: Fields, headers: IdentityHeaders, identity: Identity) -> None:
    """Set the headers that tell an upstream of an *identity*, in the place of what a filter may have set."""
    own = {name.lower().encode() for name in headers.names}
    fields.lines[:] = [line for line in fields.lines if line[0] not in own]
    fields.lines.extend(_stated(headers, identity))


def _stated(headers: IdentityHeaders, identity: Identity) -> list[Header]:
    found: list[tuple[str | None, str]] = [
        (headers.consumer, quoted(identity.consumer)),
        (headers.scopes, _joined(identity.scopes, " ")),
        (headers.roles, _joined(identity.roles, ",")),
        (headers.tenant, "" if identity.tenant is None else quoted(identity.tenant))]
    return [(name.lower().encode(), value.encode()) for name, value in found if name is not None and value]


def _joined(values: Iterable[str], by: str) -> str:
    return by.join(sorted(quoted(value) for value in values))


def absent(context: FilterContext, challenge: str, *, optional: bool) -> None:
    """There is no credential: refuse, or, if it is *optional*, note the *challenge* for a filter that asks for more."""
    context.challenges.append(challenge)
    if not optional:
        unauthenticated(context, "this needs credentials")


def invalid(context: FilterContext, challenge: str, detail: str) -> None:
    """Refuse a credential that is not valid."""
    context.challenges.append(challenge)
    unauthenticated(context, detail)


def unauthenticated(context: FilterContext, detail: str) -> None:
    """Refuse with 401 and every challenge so far."""
    context.refuse(401, detail, [("www-authenticate", each) for each in context.challenges])


def single(context: FilterContext, name: str, *, as_written: bool = False) -> str | None:
    """The one value of a header; None: there is none. Several are refused, since two parties could read two of them.

    So they could if another spelling (X_Token) did not count. But *as_written* is what a proxy says for its clients,
    whose own spellings it lets pass. A caller looks at context.refusal after None.
    """
    wanted, lines = name.lower().encode("latin-1"), context.request.headers.lines
    values = header_values(lines, wanted) if as_written else values_of(lines, wanted)
    if len(values) > 1:
        context.refuse(400, f"the request has more than one {name.title()}")
        return None
    return values[0].decode("latin-1") if values else None


def bearer(credentials: str) -> str | None:
    """What stands after the word Bearer; None: the *credentials* are of another scheme.

    Some readers take any white space for the end of the word. What they find must not pass as if it were nothing.
    """
    return credentials[6:].strip(" ") if _BEARER(credentials) else None
