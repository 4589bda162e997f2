"""The gateway: requests are admitted (request_mapping.py), and forwarded to services (forwarding.py).

It is an ASGI 3 application, and what the gateway's own front serves; both call ``serve()``.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

import attrs

from ..registry import Registry, default_registry
from .asgi import AsgiInbound, live
from .config import GatewayConfig, ServiceConfig, load
from .config.changes import refuse_unchangeable
from .disconnect import Disconnects, Receive
from .forwarding import Forwarder
from .http1 import Http1Client
from .inbound import Inbound
from .problem import Problem
from .request_mapping import Admission
from .service import Service
from .upstream import Endpoint, UpstreamClient


@attrs.frozen(eq=False)
class Side:
    """What stands behind one listener.

    Attributes:
        admission: Admits requests to services.
        forwarder: Forwards what was admitted.
    """

    admission: Admission
    forwarder: Forwarder

    @classmethod
    def of(cls, config: GatewayConfig, services: Mapping[str, Service]) -> Side:
        """The side that *config* describes, if it is taken for the whole gateway."""
        return cls(Admission(config, services), Forwarder(
            client_timeout=config.gateway.client_timeout, upload_timeout=config.gateway.upload_timeout,
            upload_rate=config.gateway.upload_rate))

    async def serve(self, inbound: Inbound) -> None:
        """Answer one request; see Gateway.serve()."""
        try:
            service, request = self.admission.admit(inbound.head)
            await self.forwarder.forward(service, request, inbound)
        except Problem as problem:
            # The frames of its history keep the server's receive() alive, and granian a connection that should close.
            problem.__traceback__ = problem.__context__ = None
            await inbound.respond(problem.status, *problem.response())


@attrs.frozen(eq=False)
class Generation:
    """What one configuration amounts to. A request reads it once, and ends by it whatever is configured meanwhile.

    Attributes:
        config: What it was made from.
        services: By name.
        public: What everybody reaches.
        private: What stands behind the listener of the ``[private]`` table; None: there is none.
    """

    config: GatewayConfig
    services: Mapping[str, Service]
    public: Side
    private: Side | None

    @classmethod
    def of(cls, config: GatewayConfig, services: Mapping[str, Service]) -> Generation:
        """The generation of a configuration, and of the services that it names."""
        private = config.of_private_side()
        return cls(config, services, Side.of(config, services), None if private is None else Side.of(private, services))


class Gateway:
    """A gateway as an ASGI 3 application. For one event loop, whose thread is the one that reloads it.

    Attributes:
        registry: Where its commands are, one per service, under the services' names.
    """

    # No dict, which a server might copy to a wrapper (functools.wraps), and with it hold on to the first generation.
    __slots__ = ("__weakref__", "_client", "_disconnects", "_generation", "_names", "registry")

    def __init__(self, config: GatewayConfig, *, registry: Registry | None = None,
                 client: UpstreamClient | None = None) -> None:
        """A gateway; connects to nothing yet.

        Args:
            config: See the configuration's own modules.
            registry: None: resilience.default_registry.
            client: Another HTTP client than the one of http1.py.

        Raises:
            ConfigError: The registry has a command of the same name that says otherwise.
        """
        self.registry = default_registry if registry is None else registry
        self._client = Http1Client() if client is None else client
        self._names: set[str] = set()  # of the services whose commands are its own
        services = {name: self._made(name, service) for name, service in config.services.items()}
        self._generation = Generation.of(config, services)
        self._disconnects = Disconnects()

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, registry: Registry | None = None) -> Gateway:
        """Make a gateway from a TOML file.

        Args:
            path: Path of the file.
            registry: Where the gateway's commands are kept; None: in a registry of its own.

        Raises:
            ConfigFileError: The file has mistakes; all of them are listed.
        """
        return cls(load(path), registry=registry)

    @property
    def config(self) -> GatewayConfig:
        """The configuration in force."""
        return self._generation.config

    @property
    def services(self) -> Mapping[str, Service]:
        """The services in force, by name."""
        return self._generation.services

    def reload(self, config: GatewayConfig) -> None:
        """Put another configuration in force, all or nothing. Requests under way end by the one that admitted them.

        A service whose table is the same stays the same, with its connections. Of another one the command stays, with
        its circuit, its statistics and what its limits have booked, unless its name is gone: then it is forgotten when
        its last request has ended.

        Args:
            config: Takes the place of the one in force.

        Raises:
            ConfigError: It changes what cannot change before a restart, or cannot be in force; nothing has changed.
        """
        refuse_unchangeable(self.config, config)
        old, services, touched = self._generation, dict[str, Service](), list[str]()
        try:
            for name, wanted in config.services.items():
                if old.config.services.get(name) == wanted:
                    services[name] = old.services[name]
                else:
                    touched.append(name)
                    services[name] = self._made(name, wanted)
            generation = Generation.of(config, services)
        except BaseException:
            for name in touched:
                self._take_back(name, services.get(name))
            raise
        self._generation = generation
        for name, service in old.services.items():
            if services.get(name) is not service:  # whoever is served by it still keeps it alive
                weakref.finalize(service, self._forget, service.keys, service.endpoints).atexit = False

    def _made(self, name: str, config: ServiceConfig) -> Service:
        """The service of this *name*, in place of one that is there, or is still ending."""
        anew = name in self._names
        self._names.add(name)
        return Service(name, config, self._client, self.registry, anew=anew)

    def _take_back(self, name: str, made: Service | None) -> None:
        """Bring into force what the service of this *name* says now, whatever has been *made* in its place."""
        known = self.config.services.get(name)
        if known is not None:
            self._made(name, known)
        elif made is not None:
            self._forget(made.keys, made.endpoints)

    def _forget(self, keys: Iterable[str], endpoints: Iterable[Endpoint]) -> None:
        """Let go of commands and connections of a service that is no more, but for those that another one has."""
        services = self.services.values()
        for key in {*keys}.difference(*(service.keys for service in services)):
            self.registry.remove(key)
            self._names.discard(key)
        for endpoint in {*endpoints}.difference(*(service.endpoints for service in services)):
            self._client.drop(endpoint)

    def close(self) -> None:
        """Close idle upstream connections; a server's lifespan does. Requests under way end as they will."""
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
            await live(receive, send, self.close)
        elif kind == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "no WebSocket here"})
