"""The gateway: requests are admitted (request_mapping.py), and forwarded to services (forwarding.py).

It is an ASGI 3 application, and what the gateway's own front serves; both call ``serve()``.
"""

from __future__ import annotations

import os
from typing import Any

from ..registry import Registry, default_registry
from .asgi import AsgiInbound, live
from .config import GatewayConfig, load
from .disconnect import Disconnects, Receive
from .forwarding import Forwarder
from .http1 import Http1Client
from .inbound import Inbound
from .problem import Problem
from .request_mapping import Admission
from .services import services_of
from .upstream import UpstreamClient


class Gateway:
    """A gateway as an ASGI 3 application. For one event loop.

    Attributes:
        config: What it was made from.
        registry: Where its commands are, one per service, under the services' names.
    """

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
        self.config = config
        self.registry = default_registry if registry is None else registry
        self._client = Http1Client() if client is None else client
        self.services = services_of(config.services, self._client, self.registry)
        self._admission = Admission(config, self.services)
        self._disconnects = Disconnects()
        self._forwarder = Forwarder(
            client_timeout=config.gateway.client_timeout, upload_timeout=config.gateway.upload_timeout)

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

    def close(self) -> None:
        """Close idle upstream connections; a server's lifespan does. Requests under way end as they will."""
        for service in self.services.values():
            service.stop()
        self._client.close()

    async def serve(self, inbound: Inbound) -> None:
        """Answer one request.

        Args:
            inbound: The request, and the way back.

        Raises:
            ClientGoneError: The client stopped taking its answer.
        """
        try:
            service, request = self._admission.admit(inbound.head)
            await self._forwarder.forward(service, request, inbound)
        except Problem as problem:
            # The frames of its history keep the server's receive() alive, and granian a connection that should close.
            problem.__traceback__ = problem.__context__ = None
            await inbound.respond(problem.status, *problem.response())

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
