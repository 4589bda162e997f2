"""Sources of endpoints: the ``[services.NAME.source]`` tables.

A table says by ``use`` what lists the endpoints: one of the gateway's own, or a class of a user's module. The keys that
SourceTable does not know are the settings of that class. Its instances make the source by ``open()``, once for each
gateway: a configuration is read to be checked, too, and connects to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, Protocol
from urllib.parse import unquote, urlsplit

import attrs

from ...config import Document
from ...config.hints import unknown
from ...config.targets import TargetError, named
from ...core.checks import flag, number, text
from ...core.setting_names import did_you_mean
from ...discovery import DnsSource, EurekaSource, FileSource, KubernetesSource, RedisSource, Source
from ...discovery.dns_source import nameserver_of
from ...discovery.instance import server_name_mistake, url_mistake
from ...discovery.membership import HOLD_S
from ...discovery.redis_instances import PREFIX, server_name
from ...errors import ConfigError
from ...registry import Registry
from ..messages.exchange import UpstreamClient
from .checks import authorities_mistake, checked, filled
from .contents import contents_by, of_files, of_secrets
from .endpoints import EndpointConfig
from .header_values import headers_given
from .secrets import with_secret

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")  # RFC 1123


@attrs.frozen(kw_only=True)
class SourceHost:
    """What a gateway lends to a source.

    Attributes:
        service: Name of the service.
        interval_s: Longest time between two questions to the source, seconds.
        timeout_s: Longest time for its answer, seconds.
        registry: Where the gateway's commands are.
        client: Its HTTP client.
    """

    service: str
    interval_s: float
    timeout_s: float
    registry: Registry
    client: UpstreamClient


class SourceSettings(Protocol):
    """The settings of a source: an attrs class, whose fields are keys of the table."""

    def open(self, host: SourceHost) -> Source:
        """Make the source; it connects to nothing before it is asked."""
        ...


@attrs.frozen(kw_only=True)
class SourceTable:
    """What every ``[services.NAME.source]`` table has.

    Attributes:
        use: What lists the endpoints: "file", "dns", "eureka", "redis" or "kubernetes"; or "module:name" for a class of
            your own.
        interval: Longest time until a change shows, seconds; the source is asked up to a fifth sooner, by chance.
        timeout: Longest time for an answer of the source, seconds.
        keep: A file in which the last good list is kept, so that a restart begins with it; None: there is none.
        hold: For how long endpoints stay that are missing from a list which has shrunk to less than a half all at once,
            seconds; 0: not at all. Only of sources at which instances register, "eureka" and "redis": one that has
            restarted knows few of them.
        required: Whether the gateway is not ready before it has a list, from the source or kept.
    """

    use: str = attrs.field(validator=text())
    interval: float = attrs.field(default=5.0, validator=number(least=0.05, most=3600.0))
    timeout: float = attrs.field(default=5.0, validator=number(above=0, most=3600.0))
    keep: str | None = attrs.field(default=None, validator=text(optional=True))
    hold: float = attrs.field(default=HOLD_S, validator=number(least=0, most=3600.0))
    required: bool = attrs.field(default=True, validator=flag)


def _openable(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not callable(getattr(value, "open", None)):
        raise ConfigError(f"{value!r} is no settings of a source: it has no open()", attribute.name)


@attrs.frozen(kw_only=True)
class SourceConfig:
    """Where the endpoints of one service are listed.

    Attributes:
        settings: Make the source.
        interval: See SourceTable, as for the rest.
        timeout: Seconds.
        keep: Path of a file, or None.
        hold: Seconds.
        required: Whether the gateway waits for it.
    """

    settings: Any = attrs.field(validator=_openable)
    interval: float = 5.0
    timeout: float = 5.0
    keep: str | None = None
    hold: float = HOLD_S
    required: bool = True


def _list_path(value: Any) -> str | None:
    if isinstance(value, str) and value.endswith((".json", ".toml")) and "\0" not in value:
        return None
    return "path must name a .json or .toml file"


@attrs.frozen(kw_only=True)
class FileSettings:
    """A file that lists the endpoints: ``use = "file"``.

    Attributes:
        path: Of the file, JSON or TOML by its name; it need not be there yet. A relative one starts at the working
            directory.
    """

    path: str = attrs.field(validator=checked(_list_path))

    def open(self, host: SourceHost) -> Source:
        """Make the source."""
        return FileSource(self.path, host.interval_s / 2)


def _name_mistake(value: Any) -> str | None:
    if not value or ":" in value or server_name_mistake(value) is not None:
        return "name must be a name in DNS, such as orders.example.com"
    return None


def _nameserver_mistake(value: Any) -> str | None:
    try:
        nameserver_of(value)
    except (ValueError, AttributeError):
        return "a DNS server must be an address, perhaps with a port, such as 10.0.0.2 or [::1]:5353"
    return None


@attrs.frozen(kw_only=True)
class DnsSettings:
    """Every address of a name: ``use = "dns"``.

    Attributes:
        name: Whose addresses the endpoints are; with ``srv`` that of the SRV records, such as "_http._tcp.example.com".
        srv: Whether SRV records say names, ports, priorities and weights.
        port: On which the endpoints answer; not with ``srv``, whose records say it.
        scheme: How the endpoints are spoken to. With "https" a certificate is verified for the name.
        family: Which addresses count.
        nameservers: Addresses of the DNS servers, perhaps with ports, tried in turn; none: the system's.
    """

    name: str = attrs.field(validator=checked(_name_mistake))
    srv: bool = attrs.field(default=False, validator=flag)
    port: int | None = attrs.field(default=None, validator=number(least=1, most=65535, whole=True, optional=True))
    scheme: Literal["http", "https"] = "http"
    family: Literal["both", "ipv4", "ipv6"] = "both"
    nameservers: tuple[str, ...] = attrs.field(default=(), validator=checked(_nameserver_mistake, each=True))

    def __attrs_post_init__(self) -> None:
        if self.srv and self.port is not None:
            raise ConfigError("the SRV records say the port; leave it out", "port")
        if not self.srv and self.port is None:
            raise ConfigError("is missing; only SRV records (srv = true) say one", "port")

    def open(self, host: SourceHost) -> Source:
        """Make the source."""
        return DnsSource(self.name, port=self.port, scheme=self.scheme, family=self.family,
                         nameservers=[nameserver_of(each) for each in self.nameservers], timeout_s=host.timeout_s)


@attrs.frozen(kw_only=True)
class EurekaSettings:
    """The instances of an application in a Eureka registry that are UP: ``use = "eureka"``.

    Attributes:
        app: Name of the application, in any case.
        servers: Base URLs of the servers, such as "http://eureka-1:8761/eureka". The one that has answered last is
            asked first, and then the others in turn; all of them share the time for an answer.
        headers: Set in each request to a server; env:NAME and file:PATH stand for secrets.
        ca_file: Certificates in PEM of the authorities that https servers are verified by; None: the system's.
        secure: Whether the secure port of each instance is used, by https. Its certificate is verified for its host's
            name.
        by_host_name: Whether an instance's host name is connected to, instead of its address.
        deltas: Whether a copy of the whole registry is kept, and what changes is asked for; else each time the one
            application is.
        contents: A hash of the secrets and the certificates; see config.contents.
    """

    app: str = attrs.field(validator=text())
    servers: tuple[str, ...] = attrs.field(validator=[filled, checked(url_mistake, each=True)])
    headers: Mapping[str, str] = attrs.field(factory=dict, validator=headers_given)
    ca_file: str | None = attrs.field(default=None, validator=checked(authorities_mistake, optional=True))
    secure: bool = attrs.field(default=False, validator=flag)
    by_host_name: bool = attrs.field(default=False, validator=flag)
    deltas: bool = attrs.field(default=True, validator=flag)
    contents: bytes = contents_by(lambda source: (*of_secrets(source.headers), *of_files(source.ca_file)))

    def open(self, host: SourceHost) -> Source:
        """Make the source."""
        from ..services.servers_in_turn import ServersInTurn

        servers = ServersInTurn([EndpointConfig(url=each, headers=self.headers) for each in self.servers],
                                self.ca_file, host.client, host.timeout_s)
        return EurekaSource(self.app, servers.get, secure=self.secure, by_host_name=self.by_host_name,
                            deltas=self.deltas, clock=host.registry.clock)


def _redis_url(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check the URL of a Redis server, and never show it: there may be a password in it."""
    if not isinstance(value, str):
        raise ConfigError("url must be a redis:// or rediss:// URL, env:NAME or file:PATH", attribute.name)
    try:
        server_name(with_secret(value))
    except ConfigError as error:
        raise ConfigError(f"url {error}" if f"{error}".startswith("must") else f"{error}", attribute.name) from None
    parts = urlsplit(value)
    if parts.password is not None or "password" in unquote(parts.query):  # redis-py takes it in either place
        raise ConfigError("url has a password in it; let it be env:NAME or file:PATH, where the whole URL stands",
                          attribute.name)


@attrs.frozen(kw_only=True)
class RedisSettings:
    """The instances of a service that have a lease in Redis: ``use = "redis"``. Needs redis-py.

    Attributes:
        app: Name of the service.
        url: Of the Redis server, such as "redis://redis-1:6379/0", or "rediss://..." for TLS; or "env:NAME" or
            "file:PATH", if it has a password.
        prefix: Begins each key.
        contents: A hash of what stands at the place of the URL; see config.contents.
    """

    app: str = attrs.field(validator=text())
    url: str = attrs.field(validator=_redis_url)
    prefix: str = attrs.field(default=PREFIX, validator=text())
    contents: bytes = contents_by(lambda source: of_secrets(source.url))

    def open(self, host: SourceHost) -> Source:
        """Make the source."""
        return RedisSource(self.app, with_secret(self.url), prefix=self.prefix, timeout_s=host.timeout_s)


def _port_mistake(value: Any) -> str | None:
    is_name = isinstance(value, str) and bool(value)
    is_number = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536
    return None if is_name or is_number else 'port must be the name of a port, such as "http", or its number'


def _label_mistake(value: Any) -> str | None:
    if isinstance(value, str) and _LABEL.fullmatch(value):
        return None
    return "a name in Kubernetes must be small letters, digits, hyphens and dots"


@attrs.frozen(kw_only=True)
class KubernetesSettings:
    """The endpoints of a service in Kubernetes, from its EndpointSlices: ``use = "kubernetes"``.

    Attributes:
        service: Name of the service.
        namespace: Of the service; None: that of the gateway's pod.
        port: Name or number of the port; None: the service has one.
        scheme: How the endpoints are spoken to.
        server_name: What stands in the Host header, and what certificates are verified for; empty: the address.
        family: Which addresses count; with "both", a pod that has two is one endpoint, at the IPv4 address.
        api: URL of the API server; None: that of the cluster in which the gateway is a pod.
        token_file: File with the token, read for each listing; None: the pod's, or none if ``api`` is said.
        ca_file: Certificates in PEM of the authorities that the API server is verified by; None: the pod's, or the
            system's if ``api`` is said.
        contents: A hash of the certificates; see config.contents.
    """

    service: str = attrs.field(validator=checked(_label_mistake))
    namespace: str | None = attrs.field(default=None, validator=checked(_label_mistake, optional=True))
    port: Any = attrs.field(default=None, validator=checked(_port_mistake, optional=True))
    scheme: Literal["http", "https"] = "http"
    server_name: str = attrs.field(default="", validator=checked(server_name_mistake))
    family: Literal["both", "ipv4", "ipv6"] = "both"
    api: str | None = attrs.field(default=None, validator=checked(url_mistake, optional=True))
    token_file: str | None = attrs.field(default=None, validator=text(optional=True))
    ca_file: str | None = attrs.field(default=None, validator=checked(authorities_mistake, optional=True))
    contents: bytes = contents_by(lambda source: of_files(source.ca_file))

    def open(self, host: SourceHost) -> Source:
        """Make the source."""
        return KubernetesSource(
            self.service, namespace=self.namespace, port=self.port, scheme=self.scheme, family=self.family,
            server_name=self.server_name, api=self.api, token_file=self.token_file, ca_file=self.ca_file,
            timeout_s=host.timeout_s)


#: The gateway's own, by the word that ``use`` has for them.
BUILT_IN: Final[Mapping[str, Callable[..., SourceSettings]]] = {
    "dns": DnsSettings, "eureka": EurekaSettings, "file": FileSettings, "kubernetes": KubernetesSettings,
    "redis": RedisSettings}


def read_source(document: Document, *where: str) -> SourceConfig | None:
    """The source in the table at *where*; None if it has mistakes, which are noted."""
    table = document.at(*where)
    common = [field.name for field in attrs.fields(SourceTable)]
    if not isinstance(table, Mapping):
        document.structure(SourceTable, *where)
        return None
    known = len(document.mistakes)
    said = document.structure(SourceTable, *where, given={key: table[key] for key in common if key in table})
    kind = None if said is None else _kind(document, (*where, "use"), said.use)
    if said is None or kind is None:
        return None
    rest = {key: value for key, value in table.items() if key not in common}
    fields = [field.name for field in attrs.fields(kind) if field.init]
    for key in [key for key in rest if key not in fields]:
        document.mistake((*where, key), unknown(key, [*common, *fields], path=where, value=rest.pop(key)))
    settings = document.structure(kind, *where, given=rest)
    if settings is None or len(document.mistakes) > known:
        return None
    return SourceConfig(settings=settings, interval=said.interval, timeout=said.timeout, keep=said.keep, hold=said.hold,
                        required=said.required)


def _kind(document: Document, where: tuple[str, ...], use: str) -> Any:
    """The class that *use* stands for; None if it has mistakes, which are noted."""
    if use in BUILT_IN:
        return BUILT_IN[use]
    if ":" not in use:
        hint = did_you_mean(use, BUILT_IN) or f"here are {', '.join(BUILT_IN)}"
        document.mistake(where, f'unknown source {use!r}; {hint}; a source of your own is "module:name"')
        return None
    try:
        kind = named(use)
    except TargetError as error:
        document.mistake(where, str(error))
        return None
    if not attrs.has(kind) or not callable(getattr(kind, "open", None)):
        document.mistake(where, f"{use} must be an attrs class with open(host), which makes a source")
        return None
    return kind


def shared_files(services: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """What is wrong with the files that lists are kept in, as (path, message): one of them is that of two services."""
    owners: dict[str, str] = {}
    for name, service in services.items():
        keep = None if service is None or service.source is None else service.source.keep
        if keep is not None and owners.setdefault(keep, name) != name:
            yield ("services", name, "source", "keep"), f"{keep} keeps the list of {owners[keep]}; give each its own"
