"""Listeners of the gateway: the ``[gateway]`` and ``[admin]`` tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from ...core.checks import number
from .addresses import bind_mistake, network_mistake
from .checks import checked, one_of
from .tokens import tokens_checked

ENCODED: Final = ("%2f", "%5c", "%25")


@attrs.frozen(kw_only=True)
class GatewaySettings:
    """The ``[gateway]`` table.

    Attributes:
        bind: host:port to listen on.
        trusted_proxies: Peers whose X-Forwarded-* headers are believed and extended; those of others are replaced.
        allow_encoded: Percent-encodings allowed in paths although upstreams may read them differently.
        client_timeout: Longest wait for a client to send or take the next piece of a body, seconds.
        upload_timeout: Longest wait for a client in all while it sends one body, seconds; None (``false``): no bound.
        drain_timeout: How long requests under way may go on after SIGTERM, seconds.
    """

    bind: str = attrs.field(default="127.0.0.1:8080", validator=checked(bind_mistake))
    trusted_proxies: tuple[str, ...] = attrs.field(default=(), validator=checked(network_mistake, each=True))
    allow_encoded: tuple[str, ...] = attrs.field(
        default=(), validator=checked(one_of(ENCODED, "an encoding to allow"), each=True))
    client_timeout: float = attrs.field(default=30.0, validator=number(above=0, most=86_400.0))
    upload_timeout: float | None = attrs.field(  # Node's requestTimeout
        default=300.0, validator=number(above=0, most=86_400.0, optional=True))
    drain_timeout: float = attrs.field(default=5.0, validator=number(least=0, most=3600.0))


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
