"""WSGI middleware for Flask, Django and the like: deadlines, a limit for all requests, refusals as HTTP answers.

    app.wsgi_app = ResilienceMiddleware(app.wsgi_app, deadline=5.0, limit=Bulkhead(100))

request_guard says what happens to a request, in which order. Frameworks answer an exception of a view themselves, so
its refusals do not come this far: integrations.flask and integrations.django answer them where they are raised.

**The body.** A WSGI response is sent after the application has returned, while the server iterates the body. So the
slot of the limit is held by a generator, which ends when the body does, when the server closes it (PEP 3333 has it do
so although the client has left), or when it is dropped. The first step of the generator is the call of the application
and the first chunk of its body. It is taken before the middleware returns: PEP 3333 lets an application start its
response as late as that, but granian asks for the status as soon as the application has returned.

**The deadline.** The server runs between two steps of the body, and must not be under the request's deadline. So the
deadline is put in force for each step anew. A copy of the context would not do: Flask leaves what it has
entered in the context where its test client stands.

**Answers.** Headers are sent with the first bytes of the body (PEP 3333, "The start_response() Callable"), so a refusal
that comes earlier is still answered. The server is told of a start only when there is a chunk to send: PEP 3333 has a
second start replace the first one, but gunicorn adds its headers to those of the first. A second start follows an empty
chunk, or bytes that went out by ``write()``. Then the server knows what it has sent, and raises the refusal again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable
from typing import Any

from ..core.adaptive import AdaptiveLimit
from ..core.bulkhead import Bulkhead
from ..core.http_problem import http_problem
from ..drivers.deadline_context import DEADLINE_HEADER, Deadline, current, run_under
from ..engine.callables import flavour_of
from ..registry import Registry, default_registry
from .request_guard import GRPC_HEADER, LIMIT_KEY, RequestGuard

__all__ = ["ResilienceMiddleware"]

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]


def _environ_name(header: str) -> str:
    return f"HTTP_{header.upper().replace('-', '_')}"


_ENVOY, _GRPC = _environ_name(DEADLINE_HEADER), _environ_name(GRPC_HEADER)


class ResilienceMiddleware:
    """Runs a WSGI application within a deadline and a limit for all requests, and answers its refusals.

    Immutable; it serves any number of requests at once, from any threads.

    Args:
        app: The application.
        deadline: Seconds that a request may take, unless a header allows less; None: what the header says, if anything.
        limit: A Bulkhead or an AdaptiveLimit for all requests together; its ``priorities`` are called with the environ.
            None: all requests run.
        limit_key: Key of the limit's command.
        exempt: Called with the environ; a request for which it returns True, such as a health check, does not count.
        show_command: Whether a body says, as ``command``, which command refused.
        registry: Where the limit's command is kept, and whose clock the deadlines go by.

    Raises:
        ConfigError: *deadline* or *limit* is out of range, *exempt* is no plain function, or another function has the
            key and another limit.
    """

    def __init__(self, app: App, *, deadline: float | None = None, limit: Bulkhead | AdaptiveLimit | None = None,
                 limit_key: str = LIMIT_KEY, exempt: Callable[[Environ], object] | None = None,
                 show_command: bool = False, registry: Registry = default_registry) -> None:
        if flavour_of(app).is_async:
            raise TypeError(f"{app!r} is an ASGI application; use the class of the same name in "
                            "resilience.integrations.asgi")

        def serve(environ: Environ, start_response: StartResponse) -> Generator[bytes, None, None]:
            body = app(environ, start_response)
            try:
                for chunk in body:  # noqa: UP028 - "yield from" calls close(), too
                    yield chunk
            finally:
                close = getattr(body, "close", None)
                if close is not None:
                    close()

        self._serve = serve
        self._guard = RequestGuard(serve, deadline=deadline, limit=limit, limit_key=limit_key, exempt=exempt,
                                   request="an environ", show_command=show_command, registry=registry)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        serve = self._guard.limited(environ) or self._serve
        end = self._guard.deadline_of(environ.get(_ENVOY), environ.get(_GRPC))
        if end is None:
            return _Response(serve, environ, start_response, current(), self._guard)
        with end:
            return _Response(serve, environ, start_response, current(), self._guard)


class _Response:
    """The body of a response, for one server thread at a time; a refusal before its first bytes becomes the answer."""

    def __init__(self, serve: Callable[[Environ, StartResponse], Generator[bytes, None, None]], environ: Environ,
                 start_response: StartResponse, end: Deadline | None, guard: RequestGuard) -> None:
        self._environ, self._start_response = environ, start_response
        self._end, self._guard = end, guard
        self._head: tuple[str, list[tuple[str, str]]] | None = None  # of the application, not yet told to the server
        self._told = self._begun = False  # the server was told of a start; bytes were handed over
        self._write_out: Any = None  # what the server returned when it was told
        self._body: Generator[bytes, None, None] | None = serve(environ, self._start)
        try:
            self._ahead = self._step()
        except BaseException:  # the server gets nothing that it could close
            self.close()
            raise

    def _start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        """What the application calls as ``start_response``."""
        if self._told:
            self._start_response(status, headers, *(() if exc_info is None else (exc_info,)))
        elif self._head is not None and exc_info is None:
            raise AssertionError("the application has called start_response twice, without exc_info")
        else:
            self._head = status, headers
        return self._write

    def _write(self, data: bytes) -> None:
        self._tell()
        self._write_out(data)

    def _tell(self) -> None:
        """Tell the server of the application's start, if it has not been told."""
        if self._head is not None:
            (head, self._head), self._told = (self._head, None), True
            self._write_out = self._start_response(*head)

    def _refuse(self, error: Exception) -> list[bytes]:
        """Answer *error*, or raise it again; what there is to send of the answer's body."""
        problem = None if self._begun else http_problem(error)
        if problem is None:
            raise error
        status, (headers, body) = f"{problem.status} {problem.title}", self._guard.answer(problem)
        # Of a second start the server wants to know why, and raises that if the headers are sent already.
        self._start_response(status, headers, *((sys.exc_info(),) if self._told else ()))
        self._begun, self._head, self._body = True, None, None  # the generator has ended by its exception
        return [] if self._environ.get("REQUEST_METHOD") == "HEAD" else [body]

    def _step(self) -> list[bytes]:
        """The next chunk; empty at the end."""
        if self._body is None:
            return []
        try:
            chunk: bytes = run_under(self._end, next, self._body)
        except StopIteration:
            self._tell()
            return []
        except Exception as error:  # noqa: BLE001 - raised again if it is no refusal
            return self._refuse(error)
        self._tell()
        self._begun = self._begun or bool(chunk)
        return [chunk]

    def __iter__(self) -> _Response:
        return self

    def __next__(self) -> bytes:
        chunk = self._ahead.pop() if self._ahead else next(iter(self._step()), None)
        if chunk is None:
            raise StopIteration
        return chunk

    def close(self) -> None:
        """Let the application clean up, and give back the slot; the server calls this though the client has left."""
        if self._body is not None:
            run_under(self._end, self._body.close)
