"""Outgoing requests: what is changed in a request for a service, whichever of its endpoints gets it. Pure."""

from __future__ import annotations

from typing import Final

import attrs

from ...drivers.deadline_context import DEADLINE_HEADER, deadline_headers
from ..messages.content import prefers_gzip
from ..messages.exchange import Request
from ..messages.headers import folded, without

_DEADLINE: Final = frozenset({folded(DEADLINE_HEADER.lower().encode())})


def with_deadline(request: Request) -> Request:
    """The request, telling how much time is left of its deadline, if it has one."""
    told = [(name.encode(), value.encode()) for name, value in deadline_headers().items()]
    names = frozenset(folded(name) for name, _ in told) or _DEADLINE
    return attrs.evolve(request, headers=[*without(request.headers, names), *told])


def for_answer_to_read(request: Request) -> Request:
    """The request, asking for an answer that the gateway can read: compressed by gzip at most."""
    coding = b"gzip" if prefers_gzip(request.headers) else b"identity"
    headers = [*(line for line in request.headers if line[0] != b"accept-encoding"), (b"accept-encoding", coding)]
    return attrs.evolve(request, headers=headers)
