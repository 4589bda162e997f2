"""Caller keys: by what requests are told apart, for limits and for fairness.

Each word gives a part of the key; requests that agree in all of them count together.

    identity      the consumer that an authentication filter found; of an anonymous request, the address
    tenant        the tenant of that identity; without one, as identity
    api_key       the API key that it came with, by its ID: keys of one consumer count apart; without one, the address
    address       the client's address: of IPv6 its /64, through trusted proxies as they say
    route         the route
    service       the service
    header:NAME   a header; whoever can choose its value can escape the limit

An anonymous request never counts with an identity: a part says of what kind it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, Protocol

from ..client_addresses import UNKNOWN, ClientAddresses, network_of
from ..messages.inbound import RequestHead

IDENTITY_WORDS: Final = ("identity", "tenant", "api_key")
WORDS: Final = (*IDENTITY_WORDS, "address", "route", "service")
_HEADER: Final = re.compile(r"header:([A-Za-z0-9!#$%&'*+.^_`|~-]{1,64})").fullmatch
_MAX_VALUE: Final = 256  # characters of a header's value


class Caller(Protocol):
    """Who sent a request, as far as it is known.

    Attributes:
        head: The request's head.
        identity: Found by an authentication filter, an Identity; None: nobody knows.
        route: Name of the route.
        service: Name of the service.
        client: The client's address, once it was found; None: not yet.
    """

    head: RequestHead
    identity: Any
    route: str | None
    service: str | None
    client: str | None


def word_mistake(value: Any) -> str | None:
    """What is wrong with a word for callers; None if nothing is."""
    if isinstance(value, str) and (value in WORDS or _HEADER(value)):
        return None
    return f"must be {', '.join(WORDS)} or header:NAME"


class CallerKeys:
    """Says whose a request is. For one event loop."""

    def __init__(self, words: Sequence[str], addresses: ClientAddresses) -> None:
        """Remember the *words*, at least one."""
        self._addresses = addresses
        self._parts = [self._part(word) for word in words]

    def __call__(self, caller: Caller) -> Hashable:
        """The key of a request."""
        parts = self._parts
        if len(parts) == 1:
            return parts[0](caller)
        return tuple([part(caller) for part in parts])

    def _part(self, word: str) -> Callable[[Caller], Hashable]:
        header = _HEADER(word)
        if header is not None:
            return _header_part(header[1].lower().encode())
        return {"identity": self._identity, "tenant": self._tenant, "api_key": self._api_key, "address": self._address,
                "route": _route, "service": _service}[word]

    def _identity(self, caller: Caller) -> Hashable:
        identity = caller.identity
        return self._address(caller) if identity is None else ("identity", identity.consumer)

    def _tenant(self, caller: Caller) -> Hashable:
        identity = caller.identity
        if identity is None or identity.tenant is None:
            return self._identity(caller)
        return "tenant", identity.tenant

    def _api_key(self, caller: Caller) -> Hashable:
        identity = caller.identity
        if identity is None or identity.method != "api_key":
            return self._address(caller)
        return "api_key", identity.consumer, str(identity.claims.get("key", ""))  # another's filter may know no ID

    def _address(self, caller: Caller) -> Hashable:
        if caller.client is None:
            caller.client = self._addresses.client_of(caller.head)
        return "address", network_of(caller.client)


def _route(caller: Caller) -> Hashable:
    return "route", caller.route or UNKNOWN


def _service(caller: Caller) -> Hashable:
    return "service", caller.service or UNKNOWN


def _header_part(name: bytes) -> Callable[[Caller], Hashable]:
    def part(caller: Caller) -> Hashable:
        values = [value for each, value in caller.head.headers if each == name]
        return "header", b",".join(values)[:_MAX_VALUE]

    return part
