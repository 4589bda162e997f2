"""Gateway configuration: the TOML file of one gateway as validated values.

load() reads everything before it complains, so that ``resilience check`` can list
all mistakes of a file at once. What only the whole configuration can show (a
route to a service that is not there, two routes for one request) is found by
conflicts(), which also guards a GatewayConfig made in code.
"""

from __future__ import annotations

import difflib
import ipaddress
import logging
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from ..config import Document
from ..config.hints import unknown
from ..core.checks import flag, number, text
from ..errors import ConfigError
from . import service_command
from .balancer import BALANCERS
from .routing import host_mistake, path_mistake

DEFAULT_MAX_BODY: Final = 100 * 1024 * 1024
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
ENCODED: Final = ("%2f", "%5c", "%25")
_log = logging.getLogger("resilience")
_HOST: Final = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
                          r"(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*")
_TABLES: Final = ("gateway", "admin", "services", "routes")

_Check = Callable[[Any], str | None]


def _checked(check: _Check, *, each: bool = False, optional: bool = False) -> Any:
    """A validator from a function that says what is wrong with a value, or None."""

    def validate(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is None and optional:
            return
        for item in (value or ()) if each else (value,):
            mistake = check(item)
            if mistake is not None:
                raise ConfigError(f"{mistake}, not {item!r}", attribute.name)

    return validate


def _one_of(names: Sequence[str], what: str) -> _Check:
    wanted = f"{what} must be {'one of ' if len(names) > 1 else ''}{', '.join(names)}"
    return lambda value: None if value in names else wanted


def address(bind: str) -> tuple[str, int]:
    """Host and port of "host:port", as in ``bind``; an IPv6 host stands in brackets.

    Raises:
        ValueError: It is something else.
    """
    host, colon, port = bind.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = str(ipaddress.IPv6Address(host[1:-1]))
    elif ":" in host:
        raise ValueError("an IPv6 host stands in brackets")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("no host:port")
    if ":" not in host and not _is_host(host):
        raise ValueError("no host")
    return host, int(port)


def _is_host(host: str) -> bool:
    """Whether it may be the name of a host or an IPv4 address; what looks like an address must be one."""
    if not _HOST.fullmatch(host):
        return False
    if re.fullmatch(r"[0-9.]+", host):
        try:
            socket.inet_aton(host)
        except OSError:
            return False
    return True


def _is_shared(one: str, other: str) -> bool:
    """Whether a listener on *one* would take connections to *other*: granian's listeners share a port silently."""
    (host, port), (other_host, other_port) = address(one), address(other)
    addresses, others = _addresses(host), _addresses(other_host)
    return port == other_port and (
        bool(addresses & others) or "::" in (host, other_host)  # which takes IPv4's connections too
        or any(wide <= {"0.0.0.0"} and any("." in each for each in narrow)  # noqa: S104 - compared, not bound
               for wide, narrow in ((addresses, others), (others, addresses))))


def _addresses(host: str) -> set[str]:
    """What *host* stands for, as far as that is known without asking anybody."""
    if host.lower() == "localhost":
        return {"127.0.0.1", "::1"}
    try:
        return {str(ipaddress.ip_address(host))}
    except ValueError:
        return {host.lower()}


def _bind_mistake(value: Any) -> str | None:
    try:
        address(value)
    except (ValueError, AttributeError):
        return "must be host:port with a port of 1 to 65535, such as 127.0.0.1:8080 or [::1]:8080"
    return None


def _network_mistake(value: Any) -> str | None:
    try:
        ipaddress.ip_network(value)
    except ValueError:
        return "must be addresses or networks, such as 10.0.0.0/8"
    return None


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


def _filled(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, tuple) or not value:
        raise ConfigError(f"{attribute.name} needs at least one", attribute.name)


@attrs.frozen(kw_only=True)
class GatewaySettings:
    """The ``[gateway]`` table.

    Attributes:
        bind: host:port to listen on.
        trusted_proxies: Peers whose X-Forwarded-* headers are believed and extended; those of others are replaced.
        allow_encoded: Percent-encodings allowed in paths although upstreams may read them differently.
        client_timeout: Longest wait for a client to send or take the next piece of a body, seconds.
        upload_timeout: Longest wait for a client in all while it sends one body, seconds; None (``false``): no bound.
    """

    bind: str = attrs.field(default="127.0.0.1:8080", validator=_checked(_bind_mistake))
    trusted_proxies: tuple[str, ...] = attrs.field(default=(), validator=_checked(_network_mistake, each=True))
    allow_encoded: tuple[str, ...] = attrs.field(
        default=(), validator=_checked(_one_of(ENCODED, "an encoding to allow"), each=True))
    client_timeout: float = attrs.field(default=30.0, validator=number(above=0, most=86_400.0))
    upload_timeout: float | None = attrs.field(  # Node's requestTimeout
        default=300.0, validator=number(above=0, most=86_400.0, optional=True))


@attrs.frozen(kw_only=True)
class AdminSettings:
    """The ``[admin]`` table: where dashboard and telemetry are served.

    Attributes:
        bind: host:port; keep it off public interfaces.
    """

    bind: str = attrs.field(default="127.0.0.1:8090", validator=_checked(_bind_mistake))


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
        command: Settings of the command around every call, by name; see service_command.
    """

    endpoints: tuple[str, ...] = attrs.field(
        validator=attrs.validators.and_(_filled, _checked(_endpoint_mistake, each=True)))
    balancer: str = attrs.field(default="round_robin", validator=_checked(_one_of(tuple(BALANCERS), "balancer")))
    preserve_host: bool = attrs.field(default=False, validator=flag)
    connect_timeout: float = attrs.field(default=2.0, validator=number(above=0, most=3600.0))  # Ribbon's
    idle_timeout: float = attrs.field(default=30.0, validator=number(above=0, most=86_400.0))
    max_body: int | None = attrs.field(
        default=DEFAULT_MAX_BODY, validator=number(least=0, most=1 << 50, whole=True, optional=True))
    ca_file: str | None = attrs.field(default=None, validator=_checked(_authorities_mistake, optional=True))
    command: Mapping[str, Any] = attrs.field(factory=dict, validator=service_command.suited)


@attrs.frozen(kw_only=True)
class RouteConfig:
    """A ``[[routes]]`` table.

    Attributes:
        path: A path, or with ``/*`` at its end that path and all below it.
        service: Name of the service that answers.
        methods: None: all. GET brings HEAD along.
        host: Only for this host; None: for any that has no route of its own.
        strip_prefix: What to take off the path's front before it is forwarded.
    """

    path: str = attrs.field(validator=_checked(path_mistake))
    service: str = attrs.field(validator=text())
    methods: tuple[str, ...] | None = attrs.field(
        default=None, validator=attrs.validators.optional(
            attrs.validators.and_(_filled, _checked(_one_of(METHODS, "a method"), each=True))))
    host: str | None = attrs.field(default=None, validator=_checked(host_mistake, optional=True))
    strip_prefix: str | None = attrs.field(default=None, validator=text(optional=True))

    @property
    def stem(self) -> str:
        """The path without its wildcard."""
        return self.path[:-2] if self.path.endswith("/*") else self.path

    def accepted(self) -> tuple[str, ...]:
        """The methods, spelt out."""
        if self.methods is None:
            return METHODS
        return (*self.methods, "HEAD") if "GET" in self.methods and "HEAD" not in self.methods else self.methods


@attrs.frozen(kw_only=True)
class GatewayConfig:
    """All of a gateway's configuration.

    Attributes:
        gateway: How it listens.
        admin: None: no admin listener.
        services: By name.
        routes: In the order of the file, which means nothing: the most specific wins.
    """

    gateway: GatewaySettings = attrs.field(factory=GatewaySettings)
    admin: AdminSettings | None = None
    services: dict[str, ServiceConfig] = attrs.field(factory=dict)
    routes: tuple[RouteConfig, ...] = ()

    def __attrs_post_init__(self) -> None:
        for path, message in conflicts(dict(enumerate(self.routes)), list(self.services)):
            raise ConfigError(message, str(path[-1]))


def conflicts(routes: dict[int, RouteConfig], services: Sequence[str]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What is wrong between *routes*, by index, and the names of *services*, as (path, message)."""
    taken: dict[tuple[str | None, str, str], int] = {}
    for index, route in routes.items():
        where = ("routes", index)
        if route.service not in services:
            yield (*where, "service"), _unknown_service(route.service, services)
        if route.strip_prefix is not None:
            mistake = _strip_mistake(route)
            if mistake is not None:
                yield (*where, "strip_prefix"), mistake
        host = None if route.host is None else route.host.lower()
        others = {taken.setdefault((host, route.path, method), index) for method in route.accepted()} - {index}
        if others:
            yield (*where, "path"), f"duplicate route: routes[{min(others)}] has {route.path} and such a method too"


def _unknown_service(name: str, services: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, services, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(services)}" if services else "there is none"
    return f"unknown service {name!r}; {hint}"


def _strip_mistake(route: RouteConfig) -> str | None:
    prefix = route.strip_prefix or ""
    if not prefix.startswith("/") or prefix.endswith("/"):
        return f"must begin with a slash and not end with one, not {prefix!r}"
    if route.stem != prefix and not route.stem.startswith(f"{prefix}/"):
        return f"{prefix!r} is no prefix, by whole segments, of the path {route.path!r}"
    return None


def load(path: str | os.PathLike[str]) -> GatewayConfig:
    """Read and check a gateway's TOML file.

    Args:
        path: Path of the file.

    Raises:
        ConfigFileError: The file has mistakes; all of them are listed, each with file, line and key.
    """
    document = Document.read(path)
    for name in document.data:
        if name not in _TABLES:
            document.mistake((name,), unknown(name, _TABLES, what="table"))
    gateway = document.structure(GatewaySettings, "gateway")
    admin = document.structure(AdminSettings, "admin") if "admin" in document.data else None
    if gateway is not None and admin is not None and _is_shared(gateway.bind, admin.bind):
        document.mistake(("admin", "bind"), f"{admin.bind} is what the gateway itself listens on")
    names = list(document.table("services"))
    services = {name: _service(document, name) for name in names}
    routes = {index: route for index in range(len(document.tables("routes")))
              if (route := document.structure(RouteConfig, "routes", index)) is not None}
    if not names and "services" not in document.data:
        document.mistake((), "no services: a gateway needs at least one [services.NAME] table")
    if "routes" not in document.data:
        document.mistake((), "no routes: a gateway needs at least one [[routes]] table")
    for where, message in conflicts(routes, names):
        document.mistake(where, message)
    for hint in document.hints():
        _log.warning("%s", hint)
    document.finish()
    return GatewayConfig(
        gateway=gateway or GatewaySettings(), admin=admin, routes=tuple(routes.values()),
        services={name: service for name, service in services.items() if service is not None})


def _service(document: Document, name: str) -> ServiceConfig | None:
    """The service of this *name*; None if it has mistakes, which are noted."""
    table, known = document.at("services", name), len(document.mistakes)
    if isinstance(table, Mapping):
        command = service_command.read(document, "services", name, "command")
        table = {key: value for key, value in table.items() if key != "command"}
        if len(document.mistakes) == known:
            table["command"] = command
    return document.structure(ServiceConfig, "services", name, given=table)
