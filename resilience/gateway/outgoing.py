"""Outgoing requests: what is changed in a request for a service, whichever of its endpoints gets it. Pure."""

from __future__ import annotations

import attrs

from ..drivers.deadline_context import DEADLINE_HEADER, deadline_headers
from .format.content import prefers_gzip
from .upstream import Request


def with_deadline(request: Request) -> Request:
    """The request, telling how much time is left of its deadline, if it has one."""
    told = [(name.encode(), value.encode()) for name, value in deadline_headers().items()]
    names = {name for name, _ in told} or {DEADLINE_HEADER.encode()}
    headers = [*(header for header in request.headers if header[0] not in names), *told]
    return attrs.evolve(request, headers=headers)


def for_answer_to_read(request: Request) -> Request:
    """The request, asking for an answer that the gateway can read: compressed by gzip at most."""
    coding = b"gzip" if prefers_gzip(request.headers) else b"identity"
    headers = [*(line for line in request.headers if line[0] != b"accept-encoding"), (b"accept-encoding", coding)]
    return attrs.evolve(request, headers=headers)
