"""The gateway: requests are admitted (request_mapping.py), and forwarded to services (forwarding.py).

What a route has of filters (filters/chain.py) stands between the two.
The gateway is an ASGI 3 application, and what the gateway's own front serves; both call ``serve()``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from ..registry import Registry, default_registry
from .asgi import AsgiInbound, live
from .composition.composer import endpoints
from .config import GatewayConfig, RouteConfig, load
from .disconnect import Disconnects, Receive
from .filters.chain import NO_FILTERS, Chain, FilterRunner, chain_of
from .filters.steps import steps_of
from .forwarding import Forwarder
from .http1 import Http1Client
from .inbound import Inbound
from .limits.client_address import ClientAddresses
from .limits.door import door_of
from .logs.observer import observer_of
from .logs.request_statistics import statistics_of
from .problem import Problem
from .request_mapping import Admission, Clients
from .services import services_of
from .upstream import UpstreamClient


class Gateway:
    """A gateway as an ASGI 3 application. For one event loop.

    Attributes:
        config: What it was made from.
        registry: Where its commands are, one per service, under the services' names.
        observer: What it tells of its requests; None: nothing.
    """

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
        self.config = config = config.with_filters(filters)
        self.registry = default_registry if registry is None else registry
        self._client = Http1Client() if client is None else client
        self.services = services_of(config.services, self._client, self.registry)
        self._disconnects = Disconnects()
        is_trusted = Clients(config.gateway.trusted_proxies).is_trusted
        self.observer = observer_of(config.access_log, config.tracing, ClientAddresses(is_trusted),
                                    statistics_of(self.registry) if config.gateway.statistics else None,
                                    is_needed=bool(config.filters) or config.shedding is not None)
        self._door = None if config.shedding is None else door_of(
            self.registry, "gateway", config.shedding, ClientAddresses(is_trusted))
        self._forwarder = Forwarder(
            client_timeout=config.gateway.client_timeout, upload_timeout=config.gateway.upload_timeout,
            upload_rate=config.gateway.upload_rate)
        self._steps = steps_of(config, self.services, self.registry, self._client, is_trusted)
        self._composed = endpoints(config, self.services, self.registry)
        steps = {**self._steps, **{step.name: step for step in self._composed.values()}}
        self._runner = FilterRunner(self._forwarder, self.services, steps, config.gateway.error_endpoint,
                                    config.identity_headers)
        self._admission = Admission(config, self.services, self._chain_of)

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

    def close(self) -> None:
        """Close idle upstream connections, and what filters do in the background; a server's lifespan does.

        Requests under way end as they will.
        """
        for step in self._steps.values():
            step.close()
        for service in self.services.values():
            service.stop()
        self._client.close()
        if self.observer is not None:
            self.observer.close()

    async def serve(self, inbound: Inbound) -> None:
        """Answer one request.

        Args:
            inbound: The request, and the way back.

        Raises:
            ClientGoneError: The client stopped taking its answer.
        """
        observer, passage = self.observer, None
        if observer is not None:
            inbound = passage = observer.begin(inbound)
        try:
            admitted = self._admission.admit(inbound.head)
            route = admitted.route
            if observer is not None and passage is not None:
                observer.routed(passage, route.name, route.service.name, admitted.request)
                admitted.request.asked = passage.asked
                if self._door is not None:
                    answer = await self._door.enter(passage)
                    if answer is not None:
                        await inbound.respond(*answer)
                        return
                    admitted.request.headers = self._door.priorities.cleaned(inbound.head, admitted.request.headers)
            if route.filters is None:
                await self._forwarder.forward(route.service, admitted.request, inbound, mirror=route.mirror)
            else:
                await self._runner.serve(route.filters, admitted, inbound)
        except Problem as problem:
            # The frames of its history keep the server's receive() alive, and granian a connection that should close.
            problem.__traceback__ = problem.__context__ = None
            if passage is not None:
                passage.refused = problem.reason
            await inbound.respond(problem.status, *problem.response())
        finally:
            if observer is not None and passage is not None:
                observer.end(passage)

    def _chain_of(self, route: RouteConfig) -> Chain | None:
        names = [name for name in self.config.filters_of(route) if name in self._steps]  # else all of it is off
        composed = [] if route.compose is None else [self._composed[route.compose]]
        chain = chain_of([*(self._steps[name] for name in names), *composed])
        return NO_FILTERS if chain is None and self.config.gateway.error_endpoint is not None else chain

    async def __call__(self, scope: Any, receive: Receive, send: Any) -> None:
        """ASGI."""
        kind = scope["type"]
        if kind == "http":
            await AsgiInbound(scope, receive, send, self._disconnects).served_by(self.serve)
        elif kind == "lifespan":
            await live(receive, send, self.close)
        elif kind == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "no WebSocket here"})
