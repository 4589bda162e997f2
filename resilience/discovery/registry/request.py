"""What a client asks of the registry, and what it is answered. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import parse_qsl

import attrs

from .claims import is_own
from .entry import Form
from .instance import InvalidInstanceError

Header = tuple[bytes, bytes]
#: By this header another registry says that it has accepted a change.
REPLICATION: Final = b"x-netflix-discovery-replication"
#: Fields by which a proxy says that a request is not its own.
_FORWARDED: Final = (b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via")
_MOST_FIELDS: Final = 100


@attrs.frozen(kw_only=True)
class Request:
    """What a client asks.

    Attributes:
        method: In upper case.
        path: As sent, without the query.
        query: As sent, without the question mark.
        headers: Names in lower case; of several with one name, the first.
        body: All of it.
        peer: The client's address; empty: unknown.
        server: The address that it has reached.
        is_peer: Whether it has the token of another registry.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[bytes, bytes] = attrs.field(factory=dict)
    body: bytes = b""
    peer: str = ""
    server: str = ""
    is_peer: bool = False

    def header(self, name: bytes) -> str:
        """The value of a header; empty: there is none."""
        return self.headers.get(name, b"").decode("latin-1")

    @property
    def is_replication(self) -> bool:
        """Whether another registry says so."""
        return self.header(REPLICATION).lower() == "true"

    @property
    def is_local(self) -> bool:
        """Whether it comes from this machine, and not by a proxy on it."""
        return is_own(self.peer, self.server) and not any(name in self.headers for name in _FORWARDED)

    @property
    def form(self) -> Form:
        """What it wants to read."""
        is_json, is_compact = "json" in self.header(b"accept").lower(), \
            self.header(b"x-eureka-accept").strip().lower() == "compact"
        if is_json:
            return Form.COMPACT_JSON if is_compact else Form.JSON
        return Form.COMPACT_XML if is_compact else Form.XML

    def fields(self) -> dict[str, str]:
        """The fields of the query.

        Raises:
            InvalidInstanceError: There are too many.
        """
        try:
            return dict(parse_qsl(self.query, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="replace"))
        except ValueError:
            raise InvalidInstanceError(f"the query has more than {_MOST_FIELDS} fields") from None


@attrs.frozen
class Answer:
    """What a client is answered."""

    status: int
    body: bytes = b""
    headers: Sequence[Header] = ()


#: Parts of a path, unquoted.
Parts = tuple[str, ...]
