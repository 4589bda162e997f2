"""A peer that says nothing: since when, and whether it is doubted.

A connection that breaks on the way says nothing of it; requests are sent into it, and given up after their time limits.
So when an exchange is given up, and nothing at all has come to what was asked for SILENCE_S, the peer is doubted: it
gets a PING, and if nothing comes within the patience of its connection, that is cut.

Servers count PINGs to which they have nothing to add, and end a connection that sends them often (gRPC: three in five
minutes). So there is one between two frames of answers, and who is doubted once more is left instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

SILENCE_S: Final = 0.2


class Silence:
    """Of one connection.

    Attributes:
        may_ping: Whether a frame of an answer has come since the last PING.
    """

    __slots__ = ("_loop", "_patience_s", "_since", "_timer", "may_ping")

    def __init__(self, loop: asyncio.AbstractEventLoop, patience_s: float) -> None:
        """Nothing was asked yet; a peer that is doubted has *patience_s* to say something."""
        self._loop, self._patience_s = loop, patience_s
        self._since: float | None = None  # when the first request was sent since something came
        self._timer: asyncio.TimerHandle | None = None
        self.may_ping = True

    @property
    def is_doubted(self) -> bool:
        """Whether it was sent a PING, and nothing has come since."""
        return self._timer is not None

    @property
    def is_long(self) -> bool:
        """Whether nothing has come to what was asked, for long enough to doubt the peer."""
        return self._since is not None and self._loop.time() - self._since >= SILENCE_S

    def asked(self) -> None:
        """Something was sent that is to be answered."""
        if self._since is None:
            self._since = self._loop.time()

    def heard(self) -> None:
        """Something came, or nothing more will."""
        self._since = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def doubt(self, cut: Callable[[], None]) -> None:
        """A PING was sent: *cut* the connection unless something comes in time."""
        self.may_ping = False
        self._timer = self._loop.call_later(self._patience_s, cut)
