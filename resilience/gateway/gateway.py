"""The gateway: requests are admitted (request_mapping.py), and forwarded to services (forwarding.py).

What a route has of filters (filters/chain.py) stands between the two. All that one configuration says is a generation
(generation.py). The gateway is an ASGI 3 application, and what the gateway's own front serves; both call ``serve()``.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Container, Coroutine, Iterable, Mapping
from typing import Any

from ..registry import Registry, default_registry
from .asgi import AsgiInbound, live
from .config import GatewayConfig, load
from .config.changes import refuse_unchangeable
from .disconnect import Disconnects, Receive
from .filters.step import GROUP as FILTERS
from .filters.steps import declare_again, keys_of
from .generation import Generation
from .http1 import Http1Client
from .inbound import Inbound
from .logs.observer import Observer
from .service import Service
from .services import fall_back_among, services_of
from .sources import begin, known
from .upstream import Endpoint, UpstreamClient


class Gateway:
    """A gateway as an ASGI 3 application. For one event loop, whose thread is the one that reloads it.

    Attributes:
        registry: Where its commands are: one under each service's name, one for each endpoint, one for each filter.
    """

    # No dict, which a server might copy to a wrapper (functools.wraps), and with it hold on to the first generation.
    __slots__ = (
        "__weakref__", "_client", "_disconnects", "_ending", "_filters", "_generation", "_services", "registry")

    def __init__(self, config: GatewayConfig, *, registry: Registry | None = None,
                 client: UpstreamClient | None = None, filters: Iterable[Any] = ()) -> None:
        """A gateway; connects to nothing yet.

        Args:
            config: See the configuration's own modules.
            registry: None: resilience.default_registry.
            client: Another HTTP client than the one of http1.py.
            filters: Decorated functions, and instances of decorated classes, that run on every route.

        Raises:
            ConfigError: The registry has a command of the same name that says otherwise, or two filters one name.
        """
        self._filters = tuple(filters)
        config = config.with_filters(self._filters)
        self.registry = default_registry if registry is None else registry
        self._client = Http1Client() if client is None else client
        self._services = services_of(config.services, self._client, self.registry)
        self._generation = Generation.of(config, self._services, self.registry, self._client)
        self._disconnects = Disconnects()
        self._ending: weakref.WeakValueDictionary[str, Service] = weakref.WeakValueDictionary()  # removed, and in use

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, registry: Registry | None = None,
                  filters: Iterable[Any] = ()) -> Gateway:
        """Make a gateway from a TOML file.

        Args:
            path: Path of the file.
            registry: Where the gateway's commands are kept; None: in a registry of its own.
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
        return self._services

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
        old, touched = self._generation, dict[str, Service]()
        before = {**self._ending, **self._services}
        for name, wanted in config.services.items():
            for each in wanted.endpoints if name not in before or before[name].config != wanted else ():
                each.check_secrets()
        keys = self._filter_keys()
        try:
            for name, wanted in config.services.items():
                if name not in before:
                    touched[name] = Service(name, wanted, self._client, self.registry)
                elif before[name].config != wanted:
                    touched[name] = before[name].updated(wanted)
            services = {name: touched.get(name) or before[name] for name in config.services}
            fall_back_among(services)
            generation = Generation.of(config, services, self.registry, self._client, old)
        except BaseException:
            self._take_back(before, touched, keys)
            raise
        self._remove(keys_of(old.parts.filters) - keys_of(generation.parts.filters))
        removed = self._services.keys() - services.keys()
        self._generation, self._services = generation, services
        begin(each.watch for each in services.values())
        for name in removed:  # whoever is served by it still keeps it alive
            self._ending[name] = before[name]
            weakref.finalize(before[name], self._forget, name, before[name].ending()).atexit = False
        if old.parts.all() != generation.parts.all():
            weakref.finalize(old.public, old.parts.close, generation.parts.all()).atexit = False

    async def known(self) -> None:
        """Wait until the endpoints of every service are known whose source says so; see ``required`` in the file.

        A server's lifespan waits for it, and so does the gateway's own server before it listens.
        """
        await known(lambda: self._services)

    def _forget(self, name: str, end: Callable[[Container[Endpoint]], None]) -> None:
        """The last request of a removed service has ended; but one of its name may be there again."""
        if name not in self._services:
            end({each.endpoint for service in self._services.values() for each in service.served()})

    def _filter_keys(self) -> set[str]:
        return {command.key for command in self.registry if command.group == FILTERS}

    def _remove(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.registry.remove(key)

    def _take_back(self, before: Mapping[str, Service], touched: Mapping[str, Service], keys: set[str]) -> None:
        """Bring into force again what the services said *before* some were *touched*, and filters of these *keys*."""
        for name, made in touched.items():
            if name in before:
                before[name].restore(made)
            else:
                made.close()
        fall_back_among(self._services)
        declare_again(self._generation.parts.filters)
        self._remove(self._filter_keys() - keys)

    def close(self) -> None:
        """Close idle upstream connections, and what filters do in the background; a server's lifespan does.

        Requests under way end as they will.
        """
        self._generation.parts.close()
        for service in self._services.values():
            service.stop()
        self._client.close()

    def serve(self, inbound: Inbound) -> Coroutine[Any, Any, None]:
        """Answer one request.

        Args:
            inbound: The request, and the way back.

        Raises:
            ClientGoneError: The client stopped taking its answer.
        """
        return self._generation.public.serve(inbound)

    def serve_private(self, inbound: Inbound) -> Coroutine[Any, Any, None]:
        """Answer one request that came over the listener of the ``[private]`` table, which there must be.

        Args:
            inbound: The request, and the way back.

        Raises:
            ClientGoneError: The client stopped taking its answer.
        """
        side = self._generation.private
        assert side is not None
        return side.serve(inbound)

    async def private(self, scope: Any, receive: Receive, send: Any) -> None:
        """The private side as an ASGI 3 application; see serve_private().

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
            await AsgiInbound(scope, receive, send, self._disconnects).served_by(serve)
        elif kind == "lifespan":
            await live(receive, send, self.known, self.close)
        elif kind == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "no WebSocket here"})
