"""Lifespan: an ASGI application whose instance is registered while it serves.

The server's ``lifespan`` messages pass through. What is done on their way: STARTING is said at the beginning, UP once
the application has started, and DOWN before it hears that it is to end, so that nobody is sent to it any more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .registrant import InstanceStatus
from .registration import Registration

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[MutableMapping[str, Any], _Receive, _Send], Awaitable[None]]


def registered(app: _App, registration: Registration) -> _App:
    """An ASGI application that registers an instance while it serves, and otherwise is *app*.

    An application that knows no lifespan needs none.

    Args:
        app: The application; its own lifespan stays.
        registration: Which is not started.
    """
    async def application(scope: MutableMapping[str, Any], receive: _Receive, send: _Send) -> None:
        if scope["type"] == "lifespan":
            await _Lifespan(app, registration, receive, send).run(scope)
        else:
            await app(scope, receive, send)

    return application


class _Lifespan:
    """The lifespan of one application."""

    def __init__(self, app: _App, registration: Registration, receive: _Receive, send: _Send) -> None:
        self._app, self._registration, self._receive, self._send = app, registration, receive, send
        self._has_received = self._has_answered = self._has_ended = False

    async def run(self, scope: MutableMapping[str, Any]) -> None:
        """Live as long as the server says."""
        self._registration.start(InstanceStatus.STARTING)
        try:
            try:
                await self._app(scope, self._heard, self._say)
            except Exception:
                if self._has_answered:
                    raise
            if not self._has_answered:
                await self._live_alone()
        finally:
            await self._registration.leave_async()

    async def _heard(self) -> _Message:
        message = await self._receive()
        self._has_received = True
        if message["type"] == "lifespan.shutdown":
            self._has_ended = True
            await self._registration.leave_async()
        return message

    async def _say(self, message: _Message) -> None:
        self._has_answered = True
        if message["type"] == "lifespan.startup.complete":
            self._registration.set_status(InstanceStatus.UP)
        await self._send(message)

    async def _live_alone(self) -> None:
        """The application knows no lifespan: answer in its place."""
        if not self._has_received:
            await self._heard()
        await self._say({"type": "lifespan.startup.complete"})
        while not self._has_ended:
            await self._heard()
        await self._send({"type": "lifespan.shutdown.complete"})
