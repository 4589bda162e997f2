"""Sticky sessions: a client that was given an endpoint comes back to it while it is available. Pure.

That holds for an endpoint whose weight has become 0, too: it gets no new clients, and keeps those that it has. So does
one that is full: a request goes elsewhere, and its client comes back when there is room, as with HAProxy, whose
requests wait for the client's server meanwhile. (NGINX gives the client to another server.) A client whose endpoint
fails, or is left out, is given the one that answers instead.
"""

from __future__ import annotations

from collections.abc import Sequence

from .balancer import Balancer, S, weighted
from .endpoint_state import EndpointState
from .hashing import hashed


def token_of(name: str) -> bytes:
    """What a client is given to remember; it does not tell the endpoint's address."""
    return b"%016x" % hashed(b"sticky", name.encode())


class Sticky:
    """The endpoint that the request's key names, if it is available; else the one that another balancer picks."""

    wants_key = True

    def __init__(self, otherwise: Balancer) -> None:
        self._otherwise = otherwise
        self.wants_times = otherwise.wants_times
        self._names: dict[bytes, str] = {}

    def adopt(self, states: Sequence[EndpointState]) -> None:
        """See Balancer."""
        self._names = {token_of(state.name): state.name for state in states}
        self._otherwise.adopt(states)

    def pick(self, candidates: Sequence[S], u: float, key: bytes | None) -> S:
        """See Balancer."""
        name = None if key is None else self._names.get(key)
        if name is not None:
            for state in candidates:
                if state.name == name:
                    return state
        return self._otherwise.pick(weighted(candidates), u, None)
