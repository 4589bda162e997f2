"""Unread: what has come over an idle connection, and the event loop has not read yet.

An upstream that closes an idle connection, or sends something that nobody has asked for, is noticed when the loop gets
to it, which may have other requests to begin first. One that begins on such a connection fails, or is taken to be
answered by what was there before it.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Any, cast

#: Windows has none, and has to do without.
_poll: Any = getattr(select, "poll", None)


class Unread:
    """Knows whether something has come over one connection, its end included. Of one event loop."""

    __slots__ = ("_ask", "_transport")

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        """Ask nothing yet: most connections to a sick endpoint are never asked.

        Args:
            transport: Of the connection, which is open whenever somebody asks.
        """
        self._transport = transport
        self._ask: Callable[[int], list[Any]] | None = None

    def __bool__(self) -> bool:
        ask = self._ask
        if ask is None:
            ask = self._ask = _asking(self._transport)
        return bool(ask(0))


def _asking(transport: asyncio.BaseTransport) -> Callable[[int], list[Any]]:
    """What says, within so many milliseconds, what there is to read; nothing, where nobody can tell."""
    sock = transport.get_extra_info("socket")
    if sock is None or _poll is None:
        return lambda _: []
    poll = _poll()
    poll.register(sock.fileno(), select.POLLIN)
    return cast("Callable[[int], list[Any]]", poll.poll)
