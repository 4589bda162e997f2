"""Tunnels: bytes both ways between a client and an upstream that have switched protocols (101).

Two transports are given to one tunnel, which moves what each sends to the other, reads no more than the other takes,
and passes the end of one direction on, so that a half-closed side still gets its answer. It ends

    when both directions have ended, or one side was closed        what was sent before is written first, for CLOSE_S
    when the upstream has ended, and the client, which has taken   after CLOSE_S: not all browsers end a WebSocket then
    all that was sent to it, is silent
    when one side was reset                                        the other is reset, too
    when nothing has come from either for idle_s seconds           both are cut
    when one side's machine has vanished, which says nothing       as if it was reset, after GONE_S
    when its task is cancelled, as a draining server does          both are cut

and whatever ends it, both transports are closed then.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Final

import attrs

#: What is left of the time of a tunnel of which one side has gone, or of which the upstream has no more to say.
CLOSE_S: Final = 5.0
#: Seconds without any sign of life of a side's machine, or without room for what it is sent, until it has vanished. TCP
#: alone takes a quarter of an hour to say so of a connection over which something is sent (Linux's tcp_retries2), which
#: the other side may do for as long with pings; of one over which nothing is sent it says nothing at all.
GONE_S: Final = 120
_QUIET_S: Final = 60
_PROBES: Final = 4


@attrs.define(eq=False)
class TunnelEnd:
    """One side of a tunnel, as its connection gives it away.

    Attributes:
        transport: Of the connection; its protocol is replaced.
        leftover: What had come already.
        ended: Whether nothing more will come.
        is_full: Whether it has been told to stop writing, and not yet to go on.
    """

    transport: asyncio.Transport
    leftover: bytes = b""
    ended: bool = False
    is_full: bool = False


class Tunnel:
    """A tunnel between two ends. Of one task."""

    def __init__(self, client: TunnelEnd, upstream: TunnelEnd, idle_s: float) -> None:
        """Nothing is moved yet.

        Args:
            client: One end.
            upstream: The other.
            idle_s: Longest time without a byte of either, seconds.
        """
        self._ends, self._idle_s = (client, upstream), idle_s

    async def run(self) -> None:
        """Move bytes until the tunnel ends."""
        loop = asyncio.get_running_loop()
        watch = _Watch(loop, self._idle_s)
        for end in self._ends:
            _notice_vanishing(end.transport)
        client, upstream = self._ends
        sides = [_Side(client, watch), _Side(upstream, watch, lambda: watch.hurry(client.transport))]
        try:
            for side, other in (sides, reversed(sides)):
                side.join(other)
            for side in sides:
                side.begin()
            await watch.ended
        finally:
            watch.stop()
            for side in sides:
                side.transport.abort()


def _notice_vanishing(transport: asyncio.Transport) -> None:
    """Let the system find out whether the machine at the other end is still there, if it can."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        for level, option, value in _vanishing():
            with contextlib.suppress(OSError):  # the connection is gone, or the system does not do that
                sock.setsockopt(level, option, value)


def _vanishing() -> Iterator[tuple[int, int, int]]:
    """The options of a socket: keepalive for one over which nothing is sent, a bound on waiting for one that is."""
    yield socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1
    quiet = "TCP_KEEPIDLE" if hasattr(socket, "TCP_KEEPIDLE") else "TCP_KEEPALIVE"  # of macOS
    for name, value in ((quiet, _QUIET_S), ("TCP_KEEPINTVL", (GONE_S - _QUIET_S) // _PROBES),
                        ("TCP_KEEPCNT", _PROBES), ("TCP_USER_TIMEOUT", GONE_S * 1000)):
        if hasattr(socket, name):
            yield socket.IPPROTO_TCP, getattr(socket, name), value


class _Watch:
    """When a tunnel ends: its one timer, and how many of its sides are left."""

    def __init__(self, loop: asyncio.AbstractEventLoop, idle_s: float) -> None:
        self._loop, self._idle_s = loop, idle_s
        self._left = 2
        self._taking: asyncio.Transport | None = None  # of a client whose upstream has ended
        self.ended: asyncio.Future[None] = loop.create_future()
        self.clock = loop.time
        self.last = self.clock()
        self._timer = loop.call_later(idle_s, self._look)

    def _look(self) -> None:
        quiet, taking = self.clock() - self.last, self._taking
        is_short = taking is not None and not taking.get_write_buffer_size()
        longest = min(CLOSE_S, self._idle_s) if is_short else self._idle_s
        if quiet >= longest:
            self._end()
        else:
            left = longest - quiet
            self._timer = self._loop.call_later(left if taking is None else min(CLOSE_S, left), self._look)

    def hurry(self, taking: asyncio.Transport) -> None:
        """From now on it ends soon, once a client has taken all that was sent by this transport, and is silent."""
        self.last, self._taking = self.clock(), taking
        self._timer.cancel()
        self._look()

    def lost(self) -> None:
        """A side has gone."""
        self._left -= 1
        if not self._left:
            self._end()
        else:
            self._timer.cancel()
            self._timer = self._loop.call_later(min(CLOSE_S, self._idle_s), self._end)

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def stop(self) -> None:
        """It is over."""
        self._timer.cancel()


class _Side(asyncio.Protocol):
    """One side: what comes here goes to the other. It is read only while the other is not full."""

    def __init__(self, end: TunnelEnd, watch: _Watch, hurry: Callable[[], None] = lambda: None) -> None:
        self.transport, self._leftover, self._ended, self._watch = end.transport, end.leftover, end.ended, watch
        self._hurry = hurry
        self._other, self._is_full = self, end.is_full
        self._lost = False

    def join(self, other: _Side) -> None:
        """Hear what becomes of the transport, before anything is written to it: it says only once that it is full."""
        self._other = other
        self.transport.set_protocol(self)

    def begin(self) -> None:
        """Move what has come already, and then all that comes."""
        other = self._other
        if self._leftover:
            other.transport.write(self._leftover)
        if self.transport.is_closing():
            self.connection_lost(None)
        elif self._ended:
            self._pass_end_on()
        elif not other._is_full:
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._watch.last = self._watch.clock()
        if not self._other.transport.is_closing():  # pieces that come in one turn of the loop go on after it has failed
            self._other.transport.write(data)

    def eof_received(self) -> bool:
        """See asyncio.Protocol."""
        self._ended = True
        return self._pass_end_on()

    def _pass_end_on(self) -> bool:
        """End the other side's sending; whether this side may still be sent something."""
        other = self._other
        if other._ended or not self.transport.can_write_eof() or not other.transport.can_write_eof():
            other.transport.close()
            return False
        self._hurry()
        try:
            other.transport.write_eof()
        except OSError:  # it was reset, and nobody has noticed that yet
            other.transport.abort()
        return True

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._is_full = True
        if not self._other._lost:
            self._other.transport.pause_reading()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._watch.last = self._watch.clock()
        self._is_full = False
        if not self._other._lost and not self._other._ended:
            self._other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        if self._lost:
            return
        self._lost = True
        if exc is not None:
            self._other.transport.abort()
        else:
            self._other.transport.close()
        self._watch.lost()
