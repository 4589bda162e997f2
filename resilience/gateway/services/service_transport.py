"""Transport: how the requests of a service travel, which outlasts a change of its file that does not concern it."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable

from ..config import ServiceConfig
from ..messages.exchange import UpstreamClient, client_tls
from ..messages.grpc_status import status_of_answer
from .exchanging import exchanging
from .service_command import Exchanging


class Transport:
    """The client, and what goes with it. Of one event loop.

    Attributes:
        client: Sends the requests.
        exchange: What the commands of the endpoints guard.
        tls: Makes what connections are verified by, once.
        keeps_endpoints: Whether endpoints of the previous service can stay, with their connections.
    """

    tls: Callable[[], ssl.SSLContext]

    def __init__(self, config: ServiceConfig, clients: UpstreamClient, previous: Transport | None) -> None:
        """Nothing is connected to yet.

        Args:
            config: Of the service.
            clients: Of all services.
            previous: Of the service that this one's takes the place of.
        """
        self.client = clients.of_http2() if config.http2 else clients
        self._authorities = config.ca_file, config.contents
        if previous is not None and previous.client is self.client:
            self.exchange: Exchanging = previous.exchange
            self.keeps_endpoints = previous._authorities == self._authorities
        else:
            self.exchange = exchanging(self.client, status_of_answer if config.http2 else None)
            self.keeps_endpoints = False
        self.tls = previous.tls if previous is not None and self.keeps_endpoints else functools.cache(
            functools.partial(client_tls, config.ca_file, http2=config.http2))
