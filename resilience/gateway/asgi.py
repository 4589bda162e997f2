"""ASGI: what a server says of a request, for the gateway, and the way back.

HTTP/2 and 3 need not say in a header that a body follows, and ASGI has no other word for it. So of such a request
without a Content-Length the first message is waited for, which tells.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

from ..drivers.async_timeouts import AsyncTimeout
from .logs.observed_request import CLIENT_GONE
from .messages.disconnect import Disconnects, Flight, Receive
from .messages.exchange import Header, Piece
from .messages.inbound import BodyBrokenError, ClientGoneError, HopRequest, RequestHead
from .messages.request_body import within
from .messages.tunnel import TunnelEnd

Send = Callable[[Any], Awaitable[None]]

_ADDED_BY_SERVERS: Final = (b"date", b"server")
_SAFE: Final = "/%:@!$&'()*+,;=~-._"


class AsgiInbound:
    """A request that an ASGI server has; see Inbound. ASGI has no upgrades, trailers and interim responses."""

    __slots__ = (
        "_adds", "_disconnects", "_first", "_flight", "_has_started", "_patience", "_receive", "_send", "head", "hop",
        "trailers")

    def __init__(self, scope: Any, receive: Receive, send: Send, disconnects: Disconnects,
                 patience: AsyncTimeout) -> None:
        """A request as its server gives it.

        Args:
            scope: ASGI's.
            receive: ASGI's.
            send: ASGI's.
            disconnects: Watch for a client that leaves.
            patience: Longest wait for a message that tells whether there is a body, and for each piece of an answer
                to be taken.
        """
        self._receive, self._send, self._disconnects = receive, send, disconnects
        self._patience = patience
        self._flight: Flight | None = None
        self._first: Any = None  # message, if it was looked at before
        self._has_started = False
        self.hop: HopRequest | None = None
        self.trailers: Sequence[Header] = ()
        path: bytes = scope.get("raw_path") or quote(scope["path"], safe=_SAFE).encode()
        if scope.get("root_path"):
            path = _below(path, scope["root_path"])
        # Servers add a Date and a Server of their own, whatever there is. granian does not; it alone sends files.
        self._adds = () if "http.response.pathsend" in scope.get("extensions", ()) else _ADDED_BY_SERVERS
        # No part of the value (RFC 9110, 5.5); uvicorn with httptools leaves what stands behind it.
        headers = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        self.head = RequestHead(scope["method"], path, scope.get("query_string") or b"", scope["http_version"],
                                scope["scheme"], headers, scope.get("client"), scope.get("server"))

    async def receive(self) -> tuple[bytes, bool]:
        """See Inbound."""
        message, self._first = self._first or await self._receive(), None
        if message["type"] != "http.request":  # servers say the same of clients that left and of malformed chunks
            raise BodyBrokenError
        return message.get("body", b""), message.get("more_body", False)

    def body_is_over(self) -> None:
        """See Inbound."""
        if self._flight is None:
            self._flight = self._disconnects.enter(self._receive)

    async def served_by(self, serve: Callable[[AsgiInbound], Awaitable[None]]) -> None:
        """Let *serve* answer, and end quietly if it is cancelled since the client left.

        Nobody reads what is sent then. But middlewares that wait for an answer take it for an error if there is none.

        Args:
            serve: Answers.
        """
        head = self.head
        try:
            if not head.version.startswith("1") and not any(name == b"content-length" for name, _ in head.headers):
                head.unsized = await self._has_body()
            await serve(self)
        except ClientGoneError:
            await self._close()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._flight is None or not self._flight.gone or task is None or task.uncancel():
                raise
            await self._close()
        finally:
            if self._flight is not None:
                self._disconnects.leave(self._flight)

    async def _has_body(self) -> bool:
        """Whether a body follows a head that does not say so. Who says nothing in time is taken to send one."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience.timeout):
                self._first = await self._receive()
        return self._first is None or bool(self._first.get("body")) or self._first.get("more_body", False)

    async def _close(self) -> None:
        if not self._has_started:
            with contextlib.suppress(Exception):  # as servers choose to tell that the client has left
                await self.respond(CLIENT_GONE, [(b"content-length", b"0")], b"")

    def interim(self, status: int, headers: Sequence[Header]) -> None:
        """See Inbound; nothing is sent."""

    def switch(self, headers: Sequence[Header]) -> TunnelEnd:
        """See Inbound. Under ASGI nobody is asked for an upgrade, so that no upstream may agree to one."""
        raise AssertionError("an upgrade that nobody has asked for")

    async def respond(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """See Inbound."""
        await self.start(status, headers)
        await self.end(body)

    async def start(self, status: int, headers: Sequence[Header]) -> None:
        """See Inbound."""
        if self._adds:
            headers = [header for header in headers if header[0] not in self._adds]
        if status == 426:  # nobody can upgrade here
            headers = [header for header in headers if header[0] != b"upgrade"]
        self._has_started = True
        await self._taken({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, piece: Piece) -> None:
        """See Inbound."""
        await self._taken({"type": "http.response.body", "body": bytes(piece), "more_body": True})

    async def end(self, piece: Piece, trailers: Sequence[Header] = ()) -> None:
        """See Inbound."""
        await self._taken({"type": "http.response.body", "body": bytes(piece), "more_body": False})

    async def _taken(self, message: Any) -> None:
        await within(self._patience, self._send(message), ClientGoneError)


def _below(path: bytes, root: str) -> bytes:
    """The raw *path* below *root*, where the gateway is mounted, however the client has spelt that; else the whole."""
    segments, depth = path.split(b"/"), root.rstrip("/").count("/") + 1
    if unquote_to_bytes(b"/".join(segments[:depth])) != root.rstrip("/").encode():
        return path
    return b"/" + b"/".join(segments[depth:])


async def live(receive: Receive, send: Send, known: Callable[[], Awaitable[None]], close: Callable[[], None],
               closed: Callable[[], Awaitable[None]]) -> None:
    """Speak the lifespan protocol; wait for *known* at its beginning; *close* at its end, and wait for that."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await known()
        if message["type"] == "lifespan.shutdown":
            close()
            await closed()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
