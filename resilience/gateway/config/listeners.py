"""Listeners of the gateway: the ``[gateway]`` and ``[admin]`` tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from ...core.checks import flag, number, text
from ...errors import ConfigError
from ..front.tls import TlsSettings
from .addresses import bind_mistake, network_mistake
from .checks import checked, meaningless, one_of
from .tokens import tokens_checked

ENCODED: Final = ("%2f", "%5c", "%25")


@attrs.frozen(kw_only=True)
class GatewaySettings:
    """The ``[gateway]`` table.

    Attributes:
        bind: host:port to listen on.
        trusted_proxies: Peers whose X-Forwarded-* headers are believed and extended; those of others are replaced.
        allow_encoded: Percent-encodings allowed in paths although upstreams may read them differently.
        client_timeout: Longest wait for a client to send the next piece of a body, or to take 64 KiB of a response that
            waits for that, seconds.
        upload_timeout: Longest wait for a client in all while it sends one body, seconds; None (``false``): no bound.
        tls: Certificates to serve HTTPS with; None: plain HTTP.
        proxy_protocol: Whether connections of trusted proxies begin with a header of the PROXY protocol, which says
            whose they are.
        http2: Whether clients may speak HTTP/2, which TLS agrees on (ALPN), and a plain connection begins with.
        header_timeout: Longest time for a whole request head to arrive, seconds.
        keep_alive_timeout: Longest time that a connection may be idle between two requests, seconds.
        drain_timeout: How long requests under way may go on after SIGTERM, seconds.
        min_upload_rate: Bytes a second that a client must send of a body, on average, after a few seconds; None
            (``false``): any.
        max_header_bytes: Of a request's line and headers together.
        max_headers: Of one request.
        max_connections: At a time, of all clients together.
        max_requests_per_connection: On one connection, which then closes; None (``false``): any number.
        max_connections_per_client: At a time, of one address; None (``false``): any number.
        client_rate: Requests a second of one address in the long run; None (``false``): any number.
        client_burst: Requests of one address at once.
        statistics: Whether requests are counted by route, service and consumer, for Prometheus.
        filters: Names of filters that run on every route.
        filter_modules: Modules whose decorated filters run on every route.
        error_endpoint: Name of the endpoint filter that answers for refusals and failures; None: the gateway does.
    """

    bind: str = attrs.field(default="127.0.0.1:8080", validator=checked(bind_mistake))
    trusted_proxies: tuple[str, ...] = attrs.field(default=(), validator=checked(network_mistake, each=True))
    allow_encoded: tuple[str, ...] = attrs.field(
        default=(), validator=checked(one_of(ENCODED, "an encoding to allow"), each=True))
    client_timeout: float = attrs.field(default=30.0, validator=number(above=0, most=86_400.0))
    upload_timeout: float | None = attrs.field(  # Node's requestTimeout
        default=300.0, validator=number(above=0, most=86_400.0, optional=True))
    header_timeout: float = attrs.field(default=10.0, validator=number(above=0, most=3600.0))
    keep_alive_timeout: float = attrs.field(default=75.0, validator=number(above=0, most=86_400.0))  # nginx's
    drain_timeout: float = attrs.field(default=5.0, validator=number(least=0, most=3600.0))
    min_upload_rate: float | None = attrs.field(  # Kestrel's MinRequestBodyDataRate
        default=240.0, validator=number(above=0, most=1e9, optional=True))
    max_header_bytes: int = attrs.field(default=65_536, validator=number(least=1024, most=1 << 24, whole=True))
    max_headers: int = attrs.field(default=256, validator=number(least=1, most=10_000, whole=True))
    max_connections: int = attrs.field(default=20_000, validator=number(least=1, most=10_000_000, whole=True))
    max_requests_per_connection: int | None = attrs.field(
        default=None, validator=number(least=1, most=1 << 50, whole=True, optional=True))
    max_connections_per_client: int | None = attrs.field(
        default=None, validator=number(least=1, most=10_000_000, whole=True, optional=True))
    client_rate: float | None = attrs.field(default=None, validator=number(above=0, most=1e6, optional=True))
    client_burst: int = attrs.field(default=100, validator=number(least=1, most=1_000_000, whole=True))
    tls: TlsSettings | None = None
    proxy_protocol: bool = attrs.field(default=False, validator=flag)
    http2: bool = attrs.field(default=True, validator=flag)
    statistics: bool = attrs.field(default=True, validator=flag)
    filters: tuple[str, ...] = ()
    filter_modules: tuple[str, ...] = ()
    error_endpoint: str | None = attrs.field(default=None, validator=text(optional=True))

    def __attrs_post_init__(self) -> None:
        if self.proxy_protocol and not self.trusted_proxies:
            raise ConfigError(
                "proxy_protocol needs trusted_proxies: only these are asked for a header", "proxy_protocol")
        if self.client_rate is None:
            meaningless(self, ("client_burst",), "without client_rate")

    @property
    def url(self) -> str:
        """Where it is, for people."""
        return f"http{'s' if self.tls else ''}://{self.bind}"


@attrs.frozen(kw_only=True)
class AdminSettings:
    """The ``[admin]`` table: where dashboard and telemetry are served.

    Attributes:
        bind: host:port; keep it off public interfaces.
        tokens: Who may use the API below /admin, by name, each with where the secret is: "env:NAME", "file:PATH", or
            its SHA-256 as "sha256:HEX". None: nobody, and there is no API.
    """

    bind: str = attrs.field(default="127.0.0.1:8090", validator=checked(bind_mistake))
    tokens: Mapping[str, str] = attrs.field(factory=dict, validator=tokens_checked)
