"""Keys of requests: what hash balancers and sticky sessions go by, and the cookie of the latter. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..balancing.endpoint_state import EndpointState
from ..balancing.sticky import token_of
from ..messages.exchange import Header, Request
from ..messages.named_values import cookie_values, header_value, query_values


def key_reader(hash_by: str | None, sticky: str | None) -> Callable[[Request], bytes | None]:
    """What reads the key of a request; None: it has none.

    Args:
        hash_by: header:NAME, cookie:NAME, query:NAME, path, client or None.
        sticky: Name of the cookie of a sticky session, which then decides alone; None: there are none.
    """
    if sticky is not None:
        seat = sticky.encode()
        return lambda request: _cookie(request, seat)
    kind, _, name = (hash_by or "").partition(":")
    wanted = name.lower().encode() if kind == "header" else name.encode()
    readers: dict[str, Callable[[Request], bytes | None]] = {
        "header": lambda request: header_value(request.headers, wanted),
        "cookie": lambda request: _cookie(request, wanted),
        "query": lambda request: next(query_values(request.target.partition(b"?")[2], wanted), None),
        "path": lambda request: request.target.partition(b"?")[0],
        "client": lambda request: request.client,
    }
    return readers.get(kind, lambda _: None)


def sticky_cookie(request: Request, name: bytes, answering: EndpointState, endpoints: Iterable[EndpointState],
                  now: float) -> list[Header]:
    """The header that gives a client the cookie *name*, which names the *answering* endpoint.

    There is none for a client that has it already, or has that of another of the *endpoints*, which would have answered
    if it had not been full, or busy, or slower.
    """
    token, known = token_of(answering.name), _cookie(request, name)
    if known == token or any(each.is_well(now) and token_of(each.name) == known for each in endpoints if known):
        return []
    return [(b"set-cookie", b"%b=%b; Path=/; HttpOnly; SameSite=Lax" % (name, token))]


def _cookie(request: Request, name: bytes) -> bytes | None:
    return next(cookie_values(request.headers, name), None)
