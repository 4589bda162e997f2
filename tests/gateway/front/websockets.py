"""Clients that open WebSockets on streams of HTTP/2 (RFC 8441), by the library h2. What goes through is any bytes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

from .serving import Serving
from .test_http2 import Raw

CONNECT = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":scheme", b"http"), (b":authority", b"gw")]


class Tunnelled:
    """A tunnel on a stream. It is read, and its windows are opened, only by who waits for something of it.

    Attributes:
        raw: The client's connection, which other streams may share.
        number: Of the stream.
        head: Of the answer.
    """

    def __init__(self, connection: Raw, number: int) -> None:
        self.raw, self.number = connection, number
        self.head: dict[bytes, bytes] = {}
        self._pending, self._ends = bytearray(), False
        self._read = 0

    async def hear(self, check: Any) -> Any:
        """Send what the windows allow, and read, until it is true."""

        def sent_and_checked() -> Any:
            self.push()
            return check()

        return await self.raw.hear(sent_and_checked)

    def send(self, data: bytes) -> Tunnelled:
        self._pending += data
        self.push()
        return self

    def half_close(self) -> None:
        self._ends = True
        self.push()

    def reset(self) -> None:
        self.raw.h2.reset_stream(self.number, ErrorCodes.CANCEL)
        self.raw.flush()

    def leave(self) -> None:
        self.raw.client.leave()

    async def until(self, mark: bytes) -> bytes:
        """What comes, up to and with *mark*."""
        await self.hear(lambda: mark in self.raw.body(self.number)[self._read:])
        found = self.raw.body(self.number)[self._read:].partition(mark)[0] + mark
        self._read += len(found)
        return found

    async def all(self) -> bytes:
        """What comes until the front ends the stream, whichever way."""
        with contextlib.suppress(ProtocolError):  # h2 takes nothing after GOAWAY
            await self.hear(self.ended)
        return self.raw.body(self.number)[self._read:]

    def ended(self) -> bool:
        return bool(self.raw.of(StreamEnded, self.number) or self.raw.of(StreamReset, self.number))

    def push(self) -> None:
        """Send what the windows allow."""
        if self.raw.of(StreamReset, self.number):
            return
        h2 = self.raw.h2
        while self._pending and (room := min(h2.local_flow_control_window(self.number), h2.max_outbound_frame_size)) > 0:
            h2.send_data(self.number, bytes(self._pending[:room]))
            del self._pending[:room]
        if self._ends and not self._pending:
            self._ends = False
            h2.end_stream(self.number)
        self.raw.flush()


async def asked(connection: Raw, path: bytes, more: bytes = b"", headers: Any = ()) -> Tunnelled:
    """A tunnel that was asked for, and has been answered, or has not."""
    number = connection.ask([*CONNECT, (b":path", path), (b"sec-websocket-version", b"13"), *headers], ends=False)
    tunnel = Tunnelled(connection, number).send(more)
    await tunnel.hear(lambda: connection.of(ResponseReceived, number) or tunnel.ended() or connection.of(ConnectionTerminated))
    for answer in connection.of(ResponseReceived, number):
        tunnel.head = dict(answer.headers)
    return tunnel


async def opened(front: Serving, path: bytes, more: bytes = b"", **how: Any) -> Tunnelled:
    """A tunnel on a connection of its own."""
    return await asked(Raw(await front.client(**how)), path, more)


async def answer(tunnel: Tunnelled) -> tuple[int, bytes]:
    """Status and body of an answer that opens no tunnel."""
    return int(tunnel.head[b":status"]), await asyncio.wait_for(tunnel.all(), 10.0)
