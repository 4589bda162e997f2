"""Sending: how a request gets to the connection pool of a transport of httpx or httpx2, and its response back.

An HTTPTransport makes a request of httpcore of one of httpx, which httpcore checks again, and the reverse of the
response. It turns httpcore's errors into httpx's: with a context manager for each request and for each body, and one
more generator around the body. The guarded exchange is such a generator already. So requests go past the transport, to
its pool; what is known of them is not checked again, and an error is translated when there is one.

That is right only while the transport does nothing else. Tools that record, trace or mock requests replace its method,
so each request asks whether it is the library's own. Whether that does what it is known to do is told by the names that
it uses. If anything is different, requests go through the transport, which is the same and a little slower.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any, Final

#: Classes of errors that httpx and httpcore have in common.
ERRORS: Final = (
    "TimeoutException", "ConnectTimeout", "ReadTimeout", "WriteTimeout", "PoolTimeout", "NetworkError", "ConnectError",
    "ReadError", "WriteError", "ProxyError", "UnsupportedProtocol", "ProtocolError", "LocalProtocolError",
    "RemoteProtocolError")
#: What a transport's method names, besides itself, its library, and what it only asserts.
_HANDLES: Final = frozenset((
    "Request", "method", "URL", "url", "raw_scheme", "raw_host", "port", "raw_path", "headers", "raw", "stream",
    "extensions", "map_httpcore_exceptions", "_pool", "Response", "status"))
_ASSERTS: Final = frozenset(("isinstance", "typing", "Iterable", "AsyncIterable", "SyncByteStream", "AsyncByteStream"))
#: What httpcore's classes name where they are initialized.
_INITIALIZES: Final = {
    "Request": frozenset((
        "method", "url", "headers", "stream", "extensions", "enforce_bytes", "enforce_url", "enforce_headers",
        "enforce_stream", "URL", "scheme", "host", "port")),
    "URL": frozenset((
        "urllib", "parse", "urlparse", "enforce_bytes", "scheme", "hostname", "host", "port", "path", "query",
        "target")),
}


class Sending:
    """How the requests of one transport are sent. Safe from any thread.

    Attributes:
        send: Given a request: its answer, or the coroutine of it; received() makes the response of that.
        errors: What sending, and reading the response, may raise for translated() to make an error of httpx of it;
            empty if all requests go through the transport.
    """

    def __init__(self, inner: Any, library: Any, method: str) -> None:
        """Find out how to send.

        Args:
            inner: The transport.
            library: httpx or httpx2.
            method: Of the transport, and of its pool: ``handle_request`` or ``handle_async_request``.
        """
        core = _core_of(inner, library, method)
        self._response, self._answer = library.Response, core and core.Response
        self._theirs: dict[type[Exception], type[Exception]] = {}
        if core is not None:
            self._theirs = {getattr(core, name): getattr(library, name) for name in ERRORS}
        self.errors = tuple(self._theirs)
        self.send = _through(inner, method) if core is None else _past(inner, library, method, core)

    def received(self, answer: Any) -> Any:
        """The response that *answer* is, or contains."""
        if answer.__class__ is not self._answer:  # it came through the transport
            return answer
        return self._response(answer.status, headers=answer.headers, stream=answer.stream, extensions=answer.extensions)

    def translated(self, error: Exception) -> Exception:
        """The error of httpx for one of ``errors``: it is to be raised from that."""
        theirs = self._theirs
        return next(theirs[each] for each in type(error).__mro__ if each in theirs)(str(error))


def _through(inner: Any, method: str) -> Callable[[Any], Any]:
    """What sends a request through the transport *inner*, whose *method* may be replaced at any time."""
    def send(request: Any) -> Any:
        return getattr(inner, method)(request)

    return send


def _past(inner: Any, library: Any, method: str, core: Any) -> Callable[[Any], Any]:
    """What sends a request to the pool of the transport *inner*, as long as nobody has replaced its *method*."""
    transport = type(inner)
    own = getattr(transport, method)
    replaced = vars(inner)
    stream_class = library.AsyncByteStream if "async" in method else library.SyncByteStream
    request_class, url_class = _classes(core)

    def send(request: Any) -> Any:
        stream, extensions = request.stream, request.extensions
        try:
            verb = request.method.encode("ascii")
        except (AttributeError, UnicodeError):
            verb = None
        if (verb is None or getattr(transport, method) is not own or method in replaced
                or not isinstance(stream, stream_class) or "target" in extensions):
            return getattr(inner, method)(request)
        url = request.url
        url = url_class(url.raw_scheme, url.raw_host, url.port, url.raw_path)
        return getattr(inner._pool, method)(request_class(verb, url, request.headers.raw, stream, extensions))

    return send


def _classes(core: Any) -> tuple[Any, Any]:
    """Classes of requests and of addresses of httpcore whose parts are as they have to be."""

    class Request(core.Request):  # type: ignore[misc]
        def __init__(self, method: bytes, url: Any, headers: Any, stream: Any, extensions: Any) -> None:
            self.method, self.url, self.headers = method, url, headers
            self.stream, self.extensions = stream, extensions

    class URL(core.URL):  # type: ignore[misc]
        def __init__(self, scheme: bytes, host: bytes, port: int | None, target: bytes) -> None:
            self.scheme, self.host, self.port, self.target = scheme, host, port, target

    return Request, URL


def _core_of(inner: Any, library: Any, method: str) -> Any:
    """The httpcore, or httpcore2, of the transport *inner*; None: requests have to go through that."""
    transport = library.AsyncHTTPTransport if "async" in method else library.HTTPTransport
    own = vars(transport).get(method)
    core = sys.modules.get(library.__name__.replace("httpx", "httpcore"))
    if type(inner) is not transport or core is None or not hasattr(inner, "_pool"):
        return None
    handles = _names(own) - _ASSERTS - {core.__name__, method, "ResponseStream", "AsyncResponseStream"}
    if handles != _HANDLES or any(
            _names(vars(getattr(core, name)).get("__init__")) != names for name, names in _INITIALIZES.items()):
        return None
    return core if all(hasattr(module, name) for name in ERRORS for module in (core, library)) else None


def _names(function: Any) -> frozenset[str]:
    return frozenset(function.__code__.co_names) if type(function) is FunctionType else frozenset()
