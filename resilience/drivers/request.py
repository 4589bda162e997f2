"""Request: what belongs together while one request is served, and is forgotten after it.

The context is a context variable's, so tasks that are begun within it belong to it,
and so do calls on a command's worker threads. A thread of the user's own does only
if it is run in a copy of the context.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from ..core.context_managers import context_manager


class Request:
    """One request.

    Attributes:
        open: Whether it is still being served; what is left of it afterwards, a task that outlived it, say, keeps
            nothing any more.
        kept: What was put by for it, by owner.
    """

    __slots__ = ("kept", "open")

    def __init__(self) -> None:
        self.open = True
        self.kept: dict[object, Any] = {}


_current: ContextVar[Request | None] = ContextVar("resilience_request", default=None)


def current_request() -> Request | None:
    """The request that the caller serves; None: none, or one that has ended."""
    request = _current.get()
    return request if request is not None and request.open else None


@context_manager
def request_context() -> Iterator[None]:
    """Begin a request: within the block, caches of scope "request" keep answers; they are empty at its start.

    A block within a block is a request of its own.
    """
    request = Request()
    token = _current.set(request)
    try:
        yield
    finally:
        request.open = False
        request.kept.clear()
        with contextlib.suppress(ValueError):  # closed by the garbage collector, in another context
            _current.reset(token)
