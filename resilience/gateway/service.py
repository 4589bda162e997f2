"""Services: one command around every exchange with one set of endpoints.

The guarded function is an async generator, since the engine then holds the permit
until the exchange is over, but times and counts only what is the upstream's doing:
the generator runs while the upstream is to act (connect, answer) and is paused
while the client is (send its body, take the answer's). What it yields is always
the same exchange: once, when the request's body is to be streamed in, and once
more when the answer's head is there. The last step is for the verdict: an answer that
broke off or stalled is a failure of the upstream; one with a status that the service's failure rules
name is raised for them to judge, although the client has had every byte of it.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import AsyncGenerator, Callable

from ..drivers.async_timeouts import AsyncTimeout
from ..registry import Registry
from .balancer import BALANCERS
from .config import ServiceConfig
from .service_command import Exchanging, guarded, judged
from .upstream import Endpoint, Exchange, Request, UpstreamClient, UpstreamStatusError


class Service:
    """A service of the gateway.

    Attributes:
        name: As configured.
        keys: Of its commands.
        endpoints: Where it is listening.
        preserve_host: Whether the client's Host header is sent on.
        max_body: Bytes of a request's body that are let through; None: any number.
        idle: Bounds the wait for the next piece of a body.
        upgrades: Protocols that may be switched to, in lower case.
        tunnel_idle_s: Longest time in a tunnel without a byte.
        call: The guarded exchange.
    """

    __slots__ = ("__weakref__", "call", "endpoints", "idle", "keys", "max_body", "name", "preserve_host", "tunnel_idle_s",
                 "upgrades")

    def __init__(self, name: str, config: ServiceConfig, client: UpstreamClient, registry: Registry, *,
                 anew: bool = False) -> None:
        """A service.

        Args:
            name: As configured.
            config: Its table.
            client: Sends its requests.
            registry: Keeps its command.
            anew: It takes the place of a service of this name: the command goes on as this one says.

        Raises:
            ConfigError: The registry has a command of the same name that says otherwise.
        """
        self.name, self.keys = name, (name,)
        self.preserve_host = config.preserve_host
        self.max_body = config.max_body
        self.idle = AsyncTimeout(name, config.idle_timeout)
        self.upgrades = frozenset(each.lower().encode() for each in config.upgrades)
        self.tunnel_idle_s = config.tunnel_idle_timeout
        tls = functools.cache(functools.partial(_verifying, config.ca_file))
        self.endpoints = tuple(Endpoint.parse(url, tls) for url in config.endpoints)
        balancer = BALANCERS[config.balancer](self.endpoints)
        exchange = _exchanging(client, balancer.next, config.connect_timeout, judged(config.command))
        self.call = guarded(exchange, config.command, key=name, registry=registry, anew=anew)


def _verifying(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["http/1.1"])  # or a server might choose HTTP/2
    return context


def _exchanging(client: UpstreamClient, pick: Callable[[], Endpoint], connect_timeout: float,
                statuses: frozenset[int]) -> Exchanging:
    send = client.send

    async def exchange(request: Request) -> AsyncGenerator[Exchange, None]:
        exchange = await send(pick(), request, connect_timeout=connect_timeout)
        try:
            if request.body is None:
                yield exchange
            await exchange.head()
            yield exchange
            if exchange.failure is not None:
                raise exchange.failure
            if exchange.status in statuses:
                raise UpstreamStatusError(exchange.status, exchange.headers)
        finally:
            exchange.release()

    return exchange
