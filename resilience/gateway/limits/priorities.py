"""Priorities: how important a request is, 0 (the most) to 9. Pure.

The first of the sources that says anything decides:

    header:NAME   a header, but only of a trusted proxy: others would all be important
    claim:NAME    a claim of the identity, where an authentication filter has run before
    route         what ``route_priority`` says of the route
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ...core.admission_queue import LEVELS
from ..client_addresses import ClientAddresses
from ..logs.observed_request import ObservedRequest
from ..messages.exchange import Header
from ..messages.headers import folded, without
from ..messages.inbound import RequestHead

_SOURCE: Final = re.compile(r"(header|claim):([A-Za-z0-9!#$%&'*+.^_`|~-]{1,64})").fullmatch
_LEVEL: Final = re.compile(rb"[0-9]").fullmatch


def source_mistake(value: Any) -> str | None:
    """What is wrong with a source of priorities; None if nothing is."""
    if value == "route" or (isinstance(value, str) and _SOURCE(value)):
        return None
    return "must be route, header:NAME or claim:NAME"


class Priorities:
    """Says how important requests are. Immutable.

    Attributes:
        headers: Names of the headers that say it; those of strangers are not to reach an upstream, either.
    """

    def __init__(self, sources: Sequence[str], by_route: Mapping[str, int], default: int,
                 addresses: ClientAddresses) -> None:
        self._by_route, self._default, self._addresses = dict(by_route), default, addresses
        self._sources = [self._source(each) for each in sources]
        self.headers = frozenset(each[7:].lower().encode() for each in sources if each.startswith("header:"))
        self._folded = frozenset(map(folded, self.headers))

    def __call__(self, observed: ObservedRequest) -> int:
        """The priority of a request."""
        for source in self._sources:
            level = source(observed)
            if level is not None:
                return level
        return self._default

    def cleaned(self, head: RequestHead, headers: Sequence[Header]) -> Sequence[Header]:
        """The *headers* for an upstream, without a stranger's claim to be important, in every spelling."""
        if not self.headers or self._addresses.peer_is_trusted(head):
            return headers
        return without(headers, self._folded)

    def _source(self, source: str) -> Callable[[ObservedRequest], int | None]:
        found = _SOURCE(source)
        if found is None:
            return lambda observed: self._by_route.get(observed.route or "")
        name = found[2]
        if found[1] == "claim":
            return lambda observed: _of_claim(observed.identity, name)
        header = name.lower().encode()

        def of_header(observed: ObservedRequest) -> int | None:
            values = [value for each, value in observed.head.headers if each == header]
            if len(values) != 1 or not self._addresses.peer_is_trusted(observed.head) or not _LEVEL(values[0]):
                return None
            return int(values[0])

        return of_header


def _of_claim(identity: Any, name: str) -> int | None:
    value = None if identity is None else identity.claims.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LEVELS else None
