"""The bridge to an ASGI application: what the admin listener and the dashboard are served by.

A client that leaves, and a server that stops, are told to the application as ``http.disconnect``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote_to_bytes

from ..messages.inbound import BodyBrokenError, ClientGoneError, Inbound

App = Callable[[Any, Any, Any], Awaitable[None]]


class _ClientLeftError(ClientGoneError, OSError):
    """Also an OSError, which is what ASGI lets send() raise, and so what applications expect of it."""


class AsgiBridge:
    """Serves an ASGI 3 application. For one event loop."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Tell every request under way that its client has left: streams have no other end."""
        self._stopped.set()

    async def serve(self, inbound: Inbound) -> None:
        """Let the application answer one request.

        Raises:
            ClientGoneError: It did not answer to the end.
        """
        answer = _Answer(inbound)
        await self._app(_scope(inbound), _Receiving(inbound, self._stopped), answer.send)
        if not answer.ended:
            raise ClientGoneError


class _Receiving:
    """receive() of ASGI."""

    def __init__(self, inbound: Inbound, stopped: asyncio.Event) -> None:
        self._inbound, self._stopped = inbound, stopped

    async def __call__(self) -> dict[str, Any]:
        piece = asyncio.ensure_future(self._inbound.receive())
        stopped = asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait((piece, stopped), return_when=asyncio.FIRST_COMPLETED)
            if piece.done():
                body, more = piece.result()
                return {"type": "http.request", "body": bytes(body), "more_body": more}
        except BodyBrokenError:
            pass
        finally:
            piece.cancel()
            stopped.cancel()
        return {"type": "http.disconnect"}


class _Answer:
    """send() of ASGI, and how far it has come."""

    def __init__(self, inbound: Inbound) -> None:
        self._inbound = inbound
        self._head: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self.ended = False

    async def send(self, message: Any) -> None:
        """Send a message on.

        Raises:
            OSError: The client left, or stopped taking; also a ClientGoneError.
        """
        if message["type"] == "http.response.start":
            headers = [(bytes(name).lower(), bytes(value)) for name, value in message.get("headers", ())]
            self._head = message["status"], headers
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        head, self._head = self._head, None
        try:
            if head is not None and not more:
                await self._inbound.respond(*head, body)
            else:
                if head is not None:
                    await self._inbound.start(*head)
                await (self._inbound.write(body) if more else self._inbound.end(body))
        except ClientGoneError:
            raise _ClientLeftError from None
        self.ended = not more


def _scope(inbound: Inbound) -> dict[str, Any]:
    head = inbound.head
    path = unquote_to_bytes(head.path).decode("utf-8", "replace")
    return {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": head.version,
        "method": head.method, "scheme": head.scheme, "path": path, "raw_path": head.path, "query_string": head.query,
        "root_path": "", "headers": list(head.headers), "client": head.client, "server": head.server}
