"""Unread: what has come over an idle connection, and the event loop has not read yet.

An upstream that closes an idle connection, or sends something that nobody has asked for, is noticed when the loop gets
to it, which may have other requests to begin first. One that begins on such a connection fails, or is taken to be
answered by what was there before it.
"""

from __future__ import annotations

import asyncio
import select
from typing import Any

#: Windows has none, and has to do without.
_poll: Any = getattr(select, "poll", None)


class Unread:
    """Knows whether something has come over one connection, its end included. Of one event loop."""

    __slots__ = ("_ask",)

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        """Ask nothing yet.

        Args:
            transport: Of the connection, which is open whenever somebody asks.
        """
        sock = transport.get_extra_info("socket")
        self._ask: Any = None
        if sock is not None and _poll is not None:
            poll = _poll()
            poll.register(sock.fileno(), select.POLLIN)
            self._ask = poll.poll

    def __bool__(self) -> bool:
        return self._ask is not None and bool(self._ask(0))
