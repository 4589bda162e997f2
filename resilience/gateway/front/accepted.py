"""Accepted: what is known of a connection before its first request, and holds for all that come on it."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs

from ..messages.inbound import ClientCertificate
from .client_certificate import client_certificate
from .proxy_protocol import Proxied


@attrs.define
class Accepted:
    """What is known of an accepted connection. Not to be changed.

    Attributes:
        scheme: "http" or "https".
        client: Address and port of the client; None: they are not known.
        server: Address and port that it has connected to.
        certificate: The client's.
        protocol: What both have agreed on with TLS (ALPN).
    """

    scheme: str = "http"
    client: tuple[str, int] | None = None
    server: tuple[str, int] | None = None
    certificate: ClientCertificate | None = None
    protocol: str | None = None

    @classmethod
    def over(cls, transport: asyncio.BaseTransport, proxied: Proxied | None) -> Accepted:
        """The connection of a *transport*, with the ends that a proxy before it has told, if one has."""
        if proxied is None:
            client, server = _end(transport.get_extra_info("peername")), _end(transport.get_extra_info("sockname"))
        else:
            client, server = proxied.client, proxied.server
        tls = transport.get_extra_info("ssl_object")
        if tls is None:
            return cls("http", client, server)
        return cls("https", client, server, client_certificate(tls), tls.selected_alpn_protocol())


def _end(name: Any) -> tuple[str, int] | None:
    """Address and port of what a socket is called; that of a Unix socket has none."""
    return name[:2] if isinstance(name, tuple) else None
