"""ASGI middleware for Starlette, FastAPI and the like: deadlines, a limit for all requests, refusals as HTTP answers.

    app.add_middleware(ResilienceMiddleware, deadline=5.0, limit=AdaptiveLimit(priorities=importance))

It is a pure ASGI middleware: it starts no task, and sees an exception of the application as it was raised. What happens
to a request, in which order, stands in request_guard.

| scope | deadline | limit | refusals |
|---|---|---|---|
| http | yes | yes | answered, unless the response has begun: then raised again |
| websocket | no | no | answered before the session is accepted, then raised again |
| lifespan | no | no | raised again |

A deadline would end a whole WebSocket session by what its handshake was given, and a session would hold a slot for
hours.

The slot of a request is given back when the application returns, raises or is cancelled. So a streaming response counts
for as long as it lasts, and so do background tasks that run within the application's call. The deadline is over when
the response has been sent: nobody waits for the tasks that follow. A client that leaves ends
that call by whatever the server makes of it: a cancellation, an error of ``send``, or the message ``http.disconnect``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from ..core.adaptive import AdaptiveLimit
from ..core.bulkhead import Bulkhead
from ..core.http_problem import HttpProblem, http_problem
from ..drivers.deadline_context import DEADLINE_HEADER, cease
from ..registry import Registry, default_registry
from .request_guard import GRPC_HEADER, LIMIT_KEY, RequestGuard

__all__ = ["ResilienceMiddleware"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_DENIAL: Final = "websocket.http.response"  # the extension, and how its messages begin
_BEGINS: Final = frozenset(("http.response.start", "websocket.accept", "websocket.close", f"{_DENIAL}.start"))
_ENDS: Final = ("http.response.body", "http.response.pathsend")  # the latter: an extension, the server sends a file
_TRY_AGAIN_LATER: Final = 1013  # IANA's registry of WebSocket close codes


class ResilienceMiddleware:
    """Runs an ASGI application within a deadline and a limit for all requests, and answers its refusals.

    Immutable; it serves any number of requests at once.

    Args:
        app: The application.
        deadline: Seconds that a request may take, unless a header allows less; None: what the header says, if anything.
        limit: A Bulkhead or an AdaptiveLimit for all requests together; its ``priorities`` are called with the scope.
            None: all requests run.
        limit_key: Key of the limit's command.
        exempt: Called with the scope; a request for which it returns True, such as a health check, does not count.
        show_command: Whether a body says, as ``command``, which command refused.
        registry: Where the limit's command is kept, and whose clock the deadlines go by.

    Raises:
        ConfigError: *deadline* or *limit* is out of range, *exempt* is no plain function, or another function has the
            key and another limit.
    """

    def __init__(self, app: App, *, deadline: float | None = None, limit: Bulkhead | AdaptiveLimit | None = None,
                 limit_key: str = LIMIT_KEY, exempt: Callable[[Scope], object] | None = None,
                 show_command: bool = False,
                 registry: Registry = default_registry) -> None:
        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            await app(scope, receive, send)

        self._app = app
        self._guard = RequestGuard(serve, deadline=deadline, limit=limit, limit_key=limit_key, exempt=exempt,
                                   request="a scope", show_command=show_command, registry=registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        kind = scope["type"]
        if kind not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        begun = False

        async def tracked(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            if message["type"] in _BEGINS:
                begun = True
            await send(message)

        try:
            if kind == "http":
                await self._serve(scope, receive, tracked)
            else:
                await self._app(scope, receive, tracked)
        except Exception as error:
            problem = None if begun else http_problem(error)
            if problem is None:
                raise
            await self._answer(problem, scope, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application on an HTTP request."""
        app: App = self._guard.limited(scope) or self._app
        end = self._guard.deadline_of(_header(scope, DEADLINE_HEADER), _header(scope, GRPC_HEADER))
        if end is None:
            await app(scope, receive, send)
            return

        async def in_time(message: MutableMapping[str, Any]) -> None:
            await send(message)
            if message["type"] in _ENDS and not message.get("more_body"):
                cease(end)

        with end:
            await app(scope, receive, in_time)

    async def _answer(self, problem: HttpProblem, scope: Scope, send: Send) -> None:
        said, body = self._guard.answer(problem)
        headers = [(name.encode(), value.encode()) for name, value in said]
        kind = "http.response"
        if scope["type"] == "websocket":
            if _DENIAL not in (scope.get("extensions") or ()):
                await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER, "reason": problem.title})
                return
            kind = _DENIAL
        await send({"type": f"{kind}.start", "status": problem.status, "headers": headers})
        await send({"type": f"{kind}.body", "body": b"" if scope.get("method") == "HEAD" else body, "more_body": False})


def _header(scope: Scope, name: str) -> str | None:
    """The first value of a header, or None."""
    wanted = name.encode()
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == wanted), None)
