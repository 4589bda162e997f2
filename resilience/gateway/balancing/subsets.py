"""Subsets: of very many endpoints, each gateway uses a few, not all gateways hold connections to all. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from .hashing import score


def subset(names: Iterable[str], size: int, gateway: str) -> frozenset[str]:
    """The endpoints that one gateway uses.

    It is the *size* highest that rendezvous hashing draws for this gateway: over many gateways each endpoint is used
    equally often, and if one leaves, each gateway that used it takes exactly one other in its place.

    Args:
        names: Of all endpoints.
        size: How many to use.
        gateway: The gateway's name, different for each instance.
    """
    key = gateway.encode()
    return frozenset(sorted(names, key=lambda name: score(key, name.encode(), 1.0), reverse=True)[:size])
