"""The pipeline of one connection of HTTP/1.1: requests wait in it for their turn.

A client may send requests before those that came before them are answered (RFC 9112, 9.3.2). While many wait, or a body
is not taken, no more is read.
"""

from __future__ import annotations

import asyncio
from typing import Final

from ..config.listeners import GatewaySettings
from ..messages.large_reads import LargeReads, ReadMemory
from .accepted import Accepted
from .parser import Incoming, RequestParser

HIGH_WATER: Final = 128 * 1024  # of a body that is not taken
MAX_WAITING: Final = 4  # requests that wait while more is read


class Pipeline(RequestParser):
    """The parser of a connection's requests, and how much is read of them."""

    __slots__ = ("_is_paused", "_memory", "_transport")

    def __init__(self, transport: asyncio.Transport, accepted: Accepted, settings: GatewaySettings,
                 memory: ReadMemory) -> None:
        super().__init__(accepted, max_head_bytes=settings.max_header_bytes, max_headers=settings.max_headers)
        self._transport, self._memory, self._is_paused = transport, memory, False

    def _go_past_llhttp(self, left: int) -> None:
        super()._go_past_llhttp(left)
        LargeReads(self._transport, left, self._memory)

    def take(self) -> Incoming:
        """The next request."""
        request = self.waiting.popleft()
        if self._is_paused:
            self.flow()
        return request

    def body_was_taken(self) -> None:
        """There is room for more of the body."""
        if self._is_paused and self.refusal is None:
            self.flow()

    def break_off(self) -> None:
        """Nothing more comes, or counts: a body that is not complete never will be."""
        if self.incoming is not None:
            self.incoming.broken = True

    def flow(self) -> None:
        """Read, or do not, as there is room."""
        body = self.incoming
        if (len(self.waiting) > MAX_WAITING or (body is not None and body.buffered > HIGH_WATER)
                or len(self.leftover or b"") > HIGH_WATER):
            self.stop()
        else:
            self.go_on()

    def stop(self) -> None:
        """Read no more for now."""
        if not self._is_paused and not self.is_closed:
            self._is_paused = True
            self._transport.pause_reading()

    def go_on(self) -> None:
        """Read again."""
        if self._is_paused and not self.is_closed:
            self._is_paused = False
            self._transport.resume_reading()
