"""The telemetry of a registry as an ASGI application: streams, metrics and health.

A stream's messages are encoded once per tick, however many listen, by a ticker
that runs only while somebody does. A listener that reads too slowly misses
ticks, it does not make them pile up. A tick of many commands is encoded in
slices, between which the event loop serves others; so are the pages.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, MutableMapping
from concurrent.futures import Executor
from contextlib import aclosing
from typing import Any, Final, TypeVar

import attrs
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector as PrometheusCollector

from .core.checks import number
from .errors import ConfigError
from .metrics import hystrix, stream
from .metrics.exposition import Exposition
from .metrics.protocols import Sources, check_registry
from .registry import default_registry

__all__ = ["Telemetry", "telemetry"]

_T = TypeVar("_T")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_TURN_S: Final = 0.0005  # of encoding, before others get their turn
_PIECES: Final = 32  # of a page sent at once, some 50 KiB
_HYSTRIX_PING: Final = b"ping: \n\n"  # a field that EventSource ignores; Hystrix sends it so
_PING: Final = b": ping\n\n"
_STREAM_HEADERS: Final = [
    (b"content-type", b"text/event-stream;charset=UTF-8"),
    (b"cache-control", b"no-cache, no-store, max-age=0, must-revalidate"),
    (b"pragma", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


@attrs.define(eq=False)
class _Audience:
    """The listeners of one event loop, and the task that they have their ticks from."""

    listeners: set[asyncio.Queue[list[bytes]]] = attrs.field(factory=set)
    task: asyncio.Task[None] | None = None


class Ticker:
    """Encodes a stream's tick every ``interval`` seconds while it has listeners, and hands it to each.

    Each event loop has its own: that of a forked child, or one that comes after another was closed.

    Args:
        messages: Makes the tick's messages.
        interval: Seconds between ticks.
        ping: What a tick begins with, so that a dead connection is noticed although there is no data.
        opening: Makes what a new listener is told first, instead of waiting for a tick.
        max_listeners: Of one loop; one more is turned away.
    """

    def __init__(self, messages: Callable[[], Iterator[str]], *, interval: float, ping: bytes,
                 max_listeners: int, opening: Callable[[], Iterator[str]] = lambda: iter(())) -> None:
        self._messages, self._interval, self.ping = messages, interval, ping
        self._opening = opening
        self.max_listeners = max_listeners
        self._audiences: dict[asyncio.AbstractEventLoop, _Audience] = {}

    def join(self) -> asyncio.Queue[list[bytes]] | None:
        """A queue that gets each tick; None: too many listen already."""
        loop = asyncio.get_running_loop()
        for closed in [each for each in self._audiences if each.is_closed()]:
            del self._audiences[closed]
        audience = self._audiences.setdefault(loop, _Audience())
        if len(audience.listeners) >= self.max_listeners:
            return None
        queue: asyncio.Queue[list[bytes]] = asyncio.Queue(1)
        audience.listeners.add(queue)
        if audience.task is None or audience.task.done():
            audience.task = loop.create_task(self._run(audience.listeners), name="resilience-ticker")
        return queue

    def part(self, queue: asyncio.Queue[list[bytes]]) -> None:
        """Stop filling *queue*; the last one out stops the ticker.

        Args:
            queue: What join() returned.
        """
        for loop, audience in list(self._audiences.items()):
            audience.listeners.discard(queue)
            if not audience.listeners:
                del self._audiences[loop]
                if audience.task is not None and not loop.is_closed():
                    audience.task.cancel()

    async def _run(self, all_listeners: set[asyncio.Queue[list[bytes]]]) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._interval
        while True:
            now = loop.time()
            due = min(max(due, now), now + self._interval)  # the loop's clock may have gone back
            await asyncio.sleep(due - now)
            due += self._interval
            listeners = all_listeners.copy()  # whoever comes while the tick is made is told newer things than it has
            chunks = [self.ping, *[chunk async for chunk in _encoded(self._messages())]]
            for queue in listeners & all_listeners:
                if queue.empty():
                    queue.put_nowait(chunks)

    def opening(self) -> AsyncGenerator[bytes, None]:
        """What a new listener is told first."""
        return _encoded(self._opening())


async def _in_turn(values: Iterator[_T]) -> AsyncGenerator[_T, None]:
    """The *values*; after each half millisecond of making them others get their turn."""
    now = asyncio.get_running_loop().time
    until = now() + _TURN_S
    for value in values:
        yield value
        if now() >= until:
            await asyncio.sleep(0)
            until = now() + _TURN_S


async def _encoded(messages: Iterator[str]) -> AsyncGenerator[bytes, None]:
    """Events in slices, after each of which others get their turn."""
    now = asyncio.get_running_loop().time
    some, until = [], now() + _TURN_S
    for message in messages:
        some.append(f"data: {message}\n\n")
        if now() >= until:
            yield "".join(some).encode()
            await asyncio.sleep(0)
            some, until = [], now() + _TURN_S
    if some:
        yield "".join(some).encode()


class Telemetry:
    """The ASGI 3 application made by telemetry()."""

    def __init__(self, registry: Sources, *, interval: float, config_interval: float, max_streams: int,
                 collectors: Iterable[PrometheusCollector] = (), executor: Executor | None = None) -> None:
        for name, value, check in (
                ("interval", interval, number(above=0)), ("config_interval", config_interval, number(above=0)),
                ("max_streams", max_streams, number(least=1, whole=True))):
            if (mistake := check.mistake(value)) is not None:
                raise ConfigError(f"{name} {mistake}", name)
        self._registry, self._executor = registry, executor
        check_registry(registry)
        self._collectors = tuple(collectors)
        self._expositions: dict[str, Exposition] = {}  # by the type of what they write
        hystrix_encoder, own_encoder = hystrix.Encoder(), stream.Encoder()

        def ticker(messages: Callable[[], Iterator[str]], every: float = interval,
                   ping: bytes = _HYSTRIX_PING, **more: Callable[[], Iterator[str]]) -> Ticker:
            return Ticker(messages, interval=every, ping=ping, max_listeners=max_streams, **more)

        self._tickers = {
            "/hystrix.stream": ticker(lambda: hystrix_encoder.messages(registry, _time_ms())),
            "/hystrix/config.stream": ticker(lambda: iter([hystrix.config_message(registry)]), config_interval),
            "/hystrix/utilization.stream": ticker(lambda: iter([hystrix.utilization_message(registry)])),
            "/resilience.stream": ticker(lambda: own_encoder.messages(registry, _time_ms()), ping=_PING,
                                         opening=lambda: own_encoder.opening(registry, _time_ms())),
        }
        self._pages = {"/metrics": self._metrics, "/health": self._health}

    @property
    def paths(self) -> frozenset[str]:
        """The paths that it answers, below its root_path, for an application that mounts it beside others."""
        return frozenset((*self._tickers, *self._pages))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"telemetry speaks HTTP only, not {scope['type']}")
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        ticker, page = self._tickers.get(path), self._pages.get(path)
        if ticker is None and page is None:
            await _respond(send, scope, 404, "text/plain", f"nothing here; try {', '.join(sorted(self.paths))}\n")
        elif scope["method"] not in ("GET", "HEAD"):
            await _respond(send, scope, 405, "text/plain", "only GET and HEAD\n", [(b"allow", b"GET, HEAD")])
        elif ticker is not None:
            await self._stream(ticker, scope, receive, send)
        elif page is not None:
            await page(scope, send)

    async def _stream(self, ticker: Ticker, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":
            await send({"type": "http.response.start", "status": 200, "headers": _STREAM_HEADERS})
            await send({"type": "http.response.body", "body": b""})
            return
        queue = ticker.join()
        if queue is None:
            most = f"MaxConcurrentConnections reached: {ticker.max_listeners}"  # Hystrix's words
            await _respond(send, scope, 503, "text/plain", f"{most}; close a page that listens, or raise max_streams")
            return
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _STREAM_HEADERS})
            await send({"type": "http.response.body", "body": ticker.ping, "more_body": True})
            async with aclosing(ticker.opening()) as opening:
                async for chunk in opening:
                    if gone.done():
                        return
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            while True:
                tick = asyncio.ensure_future(queue.get())
                await asyncio.wait((tick, gone), return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    tick.cancel()
                    return
                for chunk in tick.result():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        finally:
            ticker.part(queue)
            gone.cancel()

    async def _metrics(self, scope: Scope, send: Send) -> None:
        accept = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"accept"), "")
        encode, content_type = choose_encoder(accept)
        exposition = self._expositions.get(content_type)
        if exposition is None:
            exposition = self._expositions[content_type] = Exposition(encode)
        text = exposition.text(self._registry, (collector.collect() for collector in self._collectors))
        if self._executor is None:
            pieces = [piece async for piece in _in_turn(text) if piece]
        else:
            pieces = await asyncio.get_running_loop().run_in_executor(self._executor, lambda: list(filter(None, text)))
        await send({"type": "http.response.start", "status": 200, "headers": [
            (b"content-type", content_type.encode()), (b"content-length", b"%d" % sum(map(len, pieces)))]})
        if scope["method"] != "HEAD":
            async for body in _in_turn(b"".join(pieces[first : first + _PIECES])
                                       for first in range(0, len(pieces), _PIECES)):
                await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _health(self, scope: Scope, send: Send) -> None:
        circuits = Counter([snapshot.state.value async for snapshot in _in_turn(
            command.snapshot() for command in self._registry)])
        await _respond(send, scope, 200, "application/json", json.dumps({"status": "ok", "circuits": circuits}))


def telemetry(registry: Sources = default_registry, *, interval: float = 0.5, config_interval: float = 5.0,
              max_streams: int = 5, collectors: Iterable[PrometheusCollector] = (),
              executor: Executor | None = None) -> Telemetry:
    """An ASGI 3 application that serves a registry's telemetry; mount it anywhere.

    ``/hystrix.stream``, ``/hystrix/config.stream``, ``/hystrix/utilization.stream`` as Hystrix serves them,
    ``/resilience.stream`` (our own, richer one), ``/metrics`` for Prometheus, ``/health``.

    Args:
        registry: Whose commands.
        interval: Seconds between ticks of the streams.
        config_interval: Seconds between ticks of the config stream.
        max_streams: Connections to one stream at once; one more is answered 503, as Hystrix does.
        collectors: Collectors of prometheus_client, whose metrics stand on ``/metrics`` too.
        executor: Where the text of ``/metrics`` is made; None: in the event loop, in turn with whatever else it does.

    Raises:
        ConfigError: An interval is not above 0, or *max_streams* is below 1.
        TypeError: *registry* is none.
    """
    return Telemetry(registry, interval=interval, config_interval=config_interval, max_streams=max_streams,
                     collectors=collectors, executor=executor)


def _time_ms() -> int:
    return int(time.time() * 1000)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


async def _respond(send: Send, scope: Scope, status: int, content_type: str, body: str | bytes,
                   headers: list[tuple[bytes, bytes]] | None = None) -> None:
    data = body if isinstance(body, bytes) else body.encode()
    await send({"type": "http.response.start", "status": status, "headers": [
        (b"content-type", content_type.encode()), (b"content-length", b"%d" % len(data)), *(headers or [])]})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else data})


def __dir__() -> list[str]:
    """The public names; what else is here makes the application."""
    return [*__all__]
