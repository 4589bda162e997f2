"""Dashboard: the ASGI application that serves the page, its configuration and the relayed streams.

Theory of operation. Five kinds of paths, all GET or HEAD, all relative to where the application is mounted:

    /               the page (and its css, js and svg files)
    /config.json    which streams to open and the page's time settings
    /stream/<n>     the n-th configured stream, if it is absolute: relayed byte by byte
    /streams        all that are absolute, over one response (carrier.py)
    anything else   404

`<n>` is an index into the operator's list: no request can name an address. A relay costs one connection to each of its
streams for each open page; it ends when the browser goes away, and the page comes back by itself.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterable, MutableMapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from .carrier import Carrier
from .files import SAFETY, Headers, load_page
from .source import StreamSource
from .upstream import Limits, UpstreamError, open_upstream

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_RELAY_PATH = re.compile(r"/stream/(0|[1-9][0-9]{0,3})", re.ASCII)
_MAX_RELAYS = 256  # open pages
_MAX_CONNECTIONS = 4096  # to their streams; a page that has begun is never refused a part of them
_TEXT = b"text/plain; charset=utf-8"


@dataclass(frozen=True, kw_only=True, slots=True)
class PageSettings:
    """Times of the page, in milliseconds, and its title. They reach the page through `/config.json`."""

    title: str
    stale_after_ms: int
    forget_after_ms: int
    sort_every_ms: int
    hold_ms: int
    retry_min_ms: int
    retry_max_ms: int


class Dashboard:
    """An ASGI 3 application. Make it with `app`; safe to use from any number of concurrent requests of one loop."""

    def __init__(
        self,
        sources: tuple[StreamSource, ...],
        settings: PageSettings,
        limits: Limits,
        tls_context: ssl.SSLContext | None,
    ) -> None:
        self._sources = sources
        self._limits = limits
        self._tls_context = tls_context
        self._waits = (settings.retry_min_ms / 1000, settings.retry_max_ms / 1000)
        self._page = load_page()
        self._config = _config_json(sources, settings)
        self._relays = 0
        self._connections = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = _path_below_mount(scope)
        head_only = scope["method"] == "HEAD"
        if scope["method"] not in ("GET", "HEAD"):
            headers = [(b"content-type", _TEXT), (b"allow", b"GET, HEAD")]
            await _answer(send, 405, headers, b"GET and HEAD only\n")
        elif path == "":
            location = (scope.get("root_path", "") + "/").encode("latin-1", "replace")
            await _answer(send, 308, [(b"location", location)], b"", head_only)
        elif path == "/config.json":
            headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
            await _answer(send, 200, headers, self._config, head_only)
        elif (match := _RELAY_PATH.fullmatch(path)) and (source := self._relayed(int(match[1]))):
            await self._relay(1, self._pump(source, send), receive, send, head_only)
        elif path == "/streams" and (carried := self._carried()):
            await self._relay(len(carried), self._carry(carried, send), receive, send, head_only)
        elif file := self._page.get(path):
            if file.matches(_header(scope, b"if-none-match")):
                await _answer(send, 304, file.headers(), None)
            else:
                await _answer(send, 200, file.headers(), file.body, head_only)
        else:
            await _answer(send, 404, [(b"content-type", _TEXT)], b"not found\n", head_only)

    def _relayed(self, index: int) -> StreamSource | None:
        source = self._sources[index] if index < len(self._sources) else None
        return source if source is not None and source.relayed else None

    def _carried(self) -> dict[int, StreamSource]:
        return {number: source for number, source in enumerate(self._sources) if source.relayed}

    async def _relay(
        self, connections: int, work: Coroutine[Any, Any, None], receive: Receive, send: Send, head_only: bool
    ) -> None:
        """Do the work, which takes so many connections, until it ends or the browser goes away."""
        if head_only or self._relays >= _MAX_RELAYS or self._connections >= _MAX_CONNECTIONS:
            work.close()
            if head_only:
                await _answer(send, 200, [(b"content-type", b"text/event-stream")], None)
            else:
                await _answer(send, 503, [(b"content-type", _TEXT)], b"too many open relays\n")
            return
        self._relays += 1
        self._connections += connections
        pump = asyncio.create_task(work)
        watch = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait((pump, watch), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._relays -= 1
            self._connections -= connections
            for task in (pump, watch):
                task.cancel()
            results = await asyncio.gather(pump, watch, return_exceptions=True)
        if isinstance(results[0], Exception) and not isinstance(results[0], OSError):
            raise results[0]

    async def _carry(self, carried: dict[int, StreamSource], send: Send) -> None:
        async def write(piece: bytes) -> None:
            await send({"type": "http.response.body", "body": piece, "more_body": True})

        await _start_stream(send)
        try:
            await Carrier(carried, self._limits, self._tls_context, self._waits, write).run()
        except* OSError:  # the browser is gone
            pass

    async def _pump(self, source: StreamSource, send: Send) -> None:
        """Relay until the upstream ends; the page reads an early end as a reason to come back."""
        started = False
        try:
            async with open_upstream(source, self._limits, self._tls_context) as upstream:
                await _start_stream(send)
                started = True
                async for piece in upstream.pieces():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        except UpstreamError as error:
            if not started:
                await _answer(send, error.status, [(b"content-type", _TEXT)], f"{error}\n".encode())
                return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def app(
    streams: Iterable[str],
    *,
    title: str = "resilience",
    stale_after: float = 5.0,
    forget_after: float = 300.0,
    sort_every: float = 2.0,
    hold: float = 30.0,
    retry_min: float = 0.5,
    retry_max: float = 15.0,
    connect_timeout: float = 5.0,
    read_timeout: float = 30.0,
    tls_context: ssl.SSLContext | None = None,
) -> Dashboard:
    """Make the dashboard application.

    Args:
        streams: Addresses in the order shown. `/path` is read by the browser from the page's own origin; an http(s) URL
            is relayed by this server. `user:password@` in a URL is sent as Basic authorization and never shown.
        title: What the page calls itself.
        stale_after: Seconds without data after which a command or the page is called stale.
        forget_after: Seconds without data after which a command's tile goes away.
        sort_every: Seconds between two re-orderings of the tiles.
        hold: Seconds for which a pointer that rests on the tiles keeps them from moving.
        retry_min: Shortest wait before a reconnection, seconds; it doubles with each failure.
        retry_max: Longest wait before a reconnection, seconds.
        connect_timeout: Seconds for a relayed stream to answer.
        read_timeout: Seconds a relayed stream may be silent.
        tls_context: For relayed https streams; default: the system's trust.

    Raises:
        TypeError: `streams` is a string, or holds something else than strings.
        ValueError: No stream, an address that is none, or a time that is not positive.
    """
    if isinstance(streams, (str, bytes)):
        raise TypeError("streams must be a list of addresses, not a string")
    sources = tuple(StreamSource.parse(address) for address in streams)
    if not sources:
        raise ValueError("at least one stream is needed")
    settings = PageSettings(
        title=title,
        stale_after_ms=_milliseconds("stale_after", stale_after),
        forget_after_ms=_milliseconds("forget_after", forget_after),
        sort_every_ms=_milliseconds("sort_every", sort_every),
        hold_ms=_milliseconds("hold", hold),
        retry_min_ms=_milliseconds("retry_min", retry_min),
        retry_max_ms=_milliseconds("retry_max", retry_max),
    )
    _milliseconds("connect_timeout", connect_timeout)
    _milliseconds("read_timeout", read_timeout)
    return Dashboard(sources, settings, Limits(connect=connect_timeout, read=read_timeout), tls_context)


def _milliseconds(name: str, seconds: float) -> int:
    if not isinstance(seconds, (int, float)) or not math.isfinite(seconds) or not 0.001 <= seconds <= 86_400.0:
        raise ValueError(f"{name} must be 0.001 to 86400 seconds, not {seconds!r}")
    return round(seconds * 1000)


def _config_json(sources: tuple[StreamSource, ...], settings: PageSettings) -> bytes:
    streams = [
        {"url": f"stream/{index}" if source.relayed else source.label, "label": source.label}
        for index, source in enumerate(sources)
    ]
    return json.dumps({"streams": streams, **asdict(settings)}).encode()


def _path_below_mount(scope: Scope) -> str:
    """The path without the mount point, whether or not the server or framework in front left it in."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    if root and (path == root or path.startswith(root + "/")):
        return path[len(root) :]
    return path


def _header(scope: Scope, name: bytes) -> bytes | None:
    values = [value for key, value in scope["headers"] if key.lower() == name]
    return b", ".join(values) if values else None


async def _answer(send: Send, status: int, headers: Headers, body: bytes | None, head_only: bool = False) -> None:
    """Send a whole response; `None` is a body that has no length to tell (304, a stream's HEAD)."""
    names = {name for name, _ in headers}
    headers = headers + [header for header in SAFETY if header[0] not in names]
    if body is not None:
        headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head_only else body or b"", "more_body": False})


async def _start_stream(send: Send) -> None:
    headers = [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-cache, no-store"),
        (b"x-accel-buffering", b"no"),
        *SAFETY,
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b": relayed\n\n", "more_body": True})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            with suppress(OSError):
                await send({"type": "lifespan.shutdown.complete"})
            return
