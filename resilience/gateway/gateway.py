"""The gateway: requests are admitted (request_mapping.py), and forwarded to services (forwarding.py).

What a route has of filters (filters/chain.py) stands between the two. All that one configuration says is a generation
(generation.py). The gateway is an ASGI 3 application, and what the gateway's own front serves; both call ``serve()``.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Final

from ..drivers.async_timeouts import AsyncTimeout
from ..registry import Registry, default_registry
from ..shared.circuit_hints import CircuitHints
from ..shared.connection import Connection
from .asgi import AsgiInbound, live
from .change import Change
from .config import GatewayConfig, load
from .config.changes import refuse_unchangeable
from .filters.steps import keys_of
from .generation import Generation
from .logs.observer import Observer
from .messages.disconnect import Disconnects, Receive
from .messages.exchange import UpstreamClient
from .messages.inbound import Inbound, RefusedRequest
from .messages.problem import Problem
from .mirroring import Mirror
from .services.service import Service
from .services.services import Services
from .services.sources import known
from .upstream.http1 import Http1Client

_LOG_PATIENCE_S: Final = 1.0


class Gateway:
    """A gateway as an ASGI 3 application. For one event loop, whose thread is the one that reloads it.

    Attributes:
        registry: Where its commands are: one under each service's name, one for each endpoint, one for each filter.
    """

    # No dict, which a server might copy to a wrapper (functools.wraps), and with it hold on to the first generation.
    __slots__ = (
        "__weakref__", "_client", "_disconnects", "_filters", "_generation", "_patience", "_services", "registry")

    def __init__(self, config: GatewayConfig, *, registry: Registry | None = None,
                 client: UpstreamClient | None = None, filters: Iterable[Any] = ()) -> None:
        """A gateway; connects to nothing yet.

        Args:
            config: See the configuration's own modules.
            registry: None: resilience.default_registry.
            client: Another HTTP client than the one of upstream/http1.py.
            filters: Decorated functions, and instances of decorated classes, that run on every route.

        Raises:
            ConfigError: The registry has a command of the same name that says otherwise, or two filters one name.
            TypeError: *config* is none, such as the path of a file.
        """
        if not isinstance(config, GatewayConfig):
            raise TypeError(f"Gateway takes a GatewayConfig, not {config!r}; Gateway.from_file() reads a file")
        self._filters = tuple(filters)
        config = config.with_filters(self._filters)
        self.registry = default_registry if registry is None else registry
        self._client = Http1Client() if client is None else client
        self._services = Services(self._client, self.registry)
        with Change() as change:
            self._generation = Generation.of(
                config, self._services.next(change), self.registry, self._client, change)
        self._disconnects = Disconnects()
        self._patience = AsyncTimeout("client", config.gateway.client_timeout)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, registry: Registry | None = None,
                  filters: Iterable[Any] = ()) -> Gateway:
        """Make a gateway from a TOML file.

        Args:
            path: Path of the file.
            registry: Where the gateway's commands are kept; None: in the default registry.
            filters: As for Gateway().

        Raises:
            ConfigFileError: The file has mistakes; all of them are listed.
        """
        return cls(load(path), registry=registry, filters=filters)

    @property
    def config(self) -> GatewayConfig:
        """The configuration in force."""
        return self._generation.config

    @property
    def services(self) -> Mapping[str, Service]:
        """The services in force, by name."""
        return self._generation.parts.services

    @property
    def shared(self) -> Connection | None:
        """The connection to what it shares with other gateways; None: nothing."""
        return self._generation.parts.shared

    @property
    def hints(self) -> CircuitHints | None:
        """What it tells other gateways of endpoints that are down, and hears of them; None: nothing."""
        hints = self._generation.parts.hints
        return None if hints is None else hints.hints

    @property
    def mirrors(self) -> Mapping[str, Mirror]:
        """The mirrors of its routes, by their names; those of the private listener have "private/" before them."""
        public, private = self._generation.public, self._generation.private
        others = {} if private is None else private.admission.mirrors
        return {**public.admission.mirrors, **{f"private/{name}": each for name, each in others.items()}}

    @property
    def observer(self) -> Observer | None:
        """What is told of its requests; None: nobody is."""
        return self._generation.parts.observer

    def reload(self, config: GatewayConfig) -> None:
        """Put another configuration in force, all or nothing. Requests under way end by the one that admitted them.

        A service whose table is the same stays the same. Of another one the commands stay, with their circuits, their
        statistics and what their limits have booked, and so does what is known of endpoints that stay. A service whose
        name is gone is forgotten when its last request has ended. Filters with the same settings stay.

        Args:
            config: Takes the place of the one in force.

        Raises:
            ConfigError: It changes what cannot change before a restart, or cannot be in force; nothing has changed.
        """
        config = config.with_filters(self._filters)
        refuse_unchangeable(self.config, config)
        old = self._generation
        with Change() as change:
            generation = Generation.of(
                config, self._services.next(change), self.registry, self._client, change, old)
        self._generation = generation
        for key in keys_of(old.parts.filters) - keys_of(generation.parts.filters):
            self.registry.remove(key)
        if old.parts.all() != generation.parts.all():
            weakref.finalize(old.public, old.parts.close, generation.parts.all()).atexit = False

    async def known(self) -> None:
        """Wait until the endpoints of every service are known whose source says so; see ``required`` in the file.

        The shared store, too, is asked once, whatever it says.

        A server's lifespan waits for it, and so does the gateway's own server before it listens.
        """
        if self.shared is not None:
            await self.shared.known()
        if self.hints is not None:
            self.hints.start()
        await known(lambda: self.services)

    def close(self) -> None:
        """Close idle upstream connections, and what filters do in the background; a server's lifespan does.

        Requests under way end as they will. What waits for the access log is written, for a second at most.
        """
        self._generation.parts.close(patience_s=_LOG_PATIENCE_S)
        self._services.stop()
        self._client.close()

    async def closed(self) -> None:
        """Wait, after close(), until those who share something with this gateway know that it is no more."""
        if self.shared is not None:
            await self.shared.closed()

    def serve(self, inbound: Inbound) -> Coroutine[Any, Any, None]:
        """Answer one request.

        Args:
            inbound: The request, and the way back.

        Raises:
            ClientGoneError: The client stopped taking its answer.
        """
        return self._generation.public.serve(inbound)

    def serve_private(self, inbound: Inbound) -> Coroutine[Any, Any, None]:
        """Answer one request that came over the listener of the ``[private]`` table; 404 if there is none any more.

        Args:
            inbound: The request, and the way back.

        Raises:
            ClientGoneError: The client stopped taking its answer.
        """
        private = self._generation.private
        return _gone(inbound) if private is None else private.serve(inbound)

    def refused(self, request: RefusedRequest) -> None:
        """Count and log a request that its server has answered by itself.

        Args:
            request: What is known of it.
        """
        self._generation.public.refused(request)

    def refused_private(self, request: RefusedRequest) -> None:
        """Count and log one that came over the listener of the ``[private]`` table.

        Args:
            request: See refused().
        """
        private = self._generation.private
        if private is not None:
            private.refused(request)

    async def private(self, scope: Any, receive: Receive, send: Any) -> None:
        """The private listener as an ASGI 3 application; see serve_private().

        Args:
            scope: ASGI's.
            receive: ASGI's.
            send: ASGI's.
        """
        await self._answer(self.serve_private, scope, receive, send)

    async def __call__(self, scope: Any, receive: Receive, send: Any) -> None:
        """ASGI."""
        await self._answer(self.serve, scope, receive, send)

    async def _answer(self, serve: Callable[[Inbound], Coroutine[Any, Any, None]], scope: Any, receive: Receive,
                      send: Any) -> None:
        kind = scope["type"]
        if kind == "http":
            self._patience.timeout = self.config.gateway.client_timeout
            await AsgiInbound(scope, receive, send, self._disconnects, self._patience).served_by(serve)
        elif kind == "lifespan":
            await live(receive, send, self.known, self.close, self.closed)
        elif kind == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "no WebSocket here"})


async def _gone(inbound: Inbound) -> None:
    """Answer a request on a connection that a reload is about to close, with the routes it had."""
    problem = Problem(404, "the private listener is no more", close=True)
    await inbound.respond(problem.status, *problem.response())
