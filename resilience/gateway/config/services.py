"""Services of the gateway: the ``[services.NAME]`` tables."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from ...config import Document
from ...core.checks import flag, number
from .. import service_command
from ..balancer import BALANCERS
from .checks import checked, filled, one_of

DEFAULT_MAX_BODY: Final = 100 * 1024 * 1024
_PROTOCOL: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+(/[!#$%&'*+.^_`|~0-9A-Za-z-]+)?")


def _endpoint_mistake(value: Any) -> str | None:
    wanted = "an endpoint must be an http:// or https:// URL of scheme, host and port"
    try:
        url = urlsplit(value)
        port = url.port
    except (ValueError, AttributeError, TypeError):
        return wanted
    if url.scheme not in ("http", "https") or not url.hostname or port == 0 or not value.isascii():
        return wanted
    if any(ord(c) <= 32 or c in '\\"<>^`{|}' for c in value):
        return wanted
    if url.username is not None or url.password is not None or url.query or url.fragment or url.path not in ("", "/"):
        return f"{wanted}, and nothing else"
    return None


def _protocol_mistake(value: Any) -> str | None:
    if not isinstance(value, str) or not _PROTOCOL.fullmatch(value):
        return "a protocol to switch to must be a name, such as websocket"
    if value.lower() in ("h2c", "http", "http/1.1", "http/2.0"):
        return "what is behind a switch to another version of HTTP would be out of the gateway's sight"
    return None


def _authorities_mistake(value: Any) -> str | None:
    wanted = "ca_file must be a file of certificates in PEM"
    if not isinstance(value, str) or not value:
        return wanted
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=value)
    except ssl.SSLError:
        return f"{wanted}, which this one is not"
    except (OSError, ValueError) as error:
        return f"{wanted}, which cannot be read ({getattr(error, 'strerror', None) or error})"
    return None


@attrs.frozen(kw_only=True)
class ServiceConfig:
    """A ``[services.NAME]`` table.

    Attributes:
        endpoints: URLs of scheme, host and port.
        balancer: How to choose among them: "round_robin".
        preserve_host: Send the client's Host header on, instead of the endpoint's own name.
        connect_timeout: Longest wait for a connection, seconds.
        idle_timeout: Longest wait for the next piece of an answer's body, or for room to send one, seconds.
        max_body: Bytes of a request's body that are let through; None (``false``): any number.
        ca_file: Certificates in PEM of the authorities that https endpoints are verified by; None: the system's.
        upgrades: Protocols that a client and the service may switch to (101), in a tunnel that nobody reads.
        tunnel_idle_timeout: Longest time in such a tunnel without a byte, seconds.
        command: Settings of the command around every call, by name; see service_command.
    """

    endpoints: tuple[str, ...] = attrs.field(
        validator=attrs.validators.and_(filled, checked(_endpoint_mistake, each=True)))
    balancer: str = attrs.field(default="round_robin", validator=checked(one_of(tuple(BALANCERS), "balancer")))
    preserve_host: bool = attrs.field(default=False, validator=flag)
    connect_timeout: float = attrs.field(default=2.0, validator=number(above=0, most=3600.0))  # Ribbon's
    idle_timeout: float = attrs.field(default=30.0, validator=number(above=0, most=86_400.0))
    max_body: int | None = attrs.field(
        default=DEFAULT_MAX_BODY, validator=number(least=0, most=1 << 50, whole=True, optional=True))
    ca_file: str | None = attrs.field(default=None, validator=checked(_authorities_mistake, optional=True))
    upgrades: tuple[str, ...] = attrs.field(
        default=("websocket",), validator=checked(_protocol_mistake, each=True))
    tunnel_idle_timeout: float = attrs.field(default=300.0, validator=number(above=0, most=86_400.0))  # Envoy's
    command: Mapping[str, Any] = attrs.field(factory=dict, validator=service_command.suited)


def read_service(document: Document, name: str) -> ServiceConfig | None:
    """The service of this *name*; None if it has mistakes, which are noted."""
    table, known = document.at("services", name), len(document.mistakes)
    if isinstance(table, Mapping):
        command = service_command.read(document, "services", name, "command")
        table = {key: value for key, value in table.items() if key != "command"}
        if len(document.mistakes) == known:
            table["command"] = command
    return document.structure(ServiceConfig, "services", name, given=table)
