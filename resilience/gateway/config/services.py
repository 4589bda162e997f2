"""Services of the gateway: the ``[services.NAME]`` tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from ...config import Document
from ...core.checks import flag, number
from ...discovery.instance import url_mistake
from ...errors import ConfigError
from ..answers.answer_rules import AnswerRule
from ..balancing import BALANCERS, KEYED, Ejection
from ..balancing.health import HealthChecks
from ..balancing.retry_state import Repetition
from ..services import service_command
from .balancing import BalancingConfig
from .checks import authorities_mistake, checked, one_of
from .contents import contents_by, of_files
from .endpoints import EndpointConfig, as_endpoints, endpoints_given
from .fallbacks import FallbackConfig
from .sources import FileSettings, SourceConfig, read_source

DEFAULT_MAX_BODY: Final = 100 * 1024 * 1024
#: Stands for a source with mistakes, which are noted.
_OF_COMMAND: Final = "is a setting of the command; write it into the table command"
_MISTAKEN: Final = SourceConfig(settings=FileSettings(path="mistaken.json"))
_PROTOCOL: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+(/[!#$%&'*+.^_`|~0-9A-Za-z-]+)?")


def _protocol_mistake(value: Any) -> str | None:
    if not isinstance(value, str) or not _PROTOCOL.fullmatch(value):
        return "a protocol to switch to must be a name, such as websocket"
    if value.lower() in ("h2c", "http", "http/1.1", "http/2.0"):
        return "what is behind a switch to another version of HTTP would be out of the gateway's sight"
    return None


@attrs.frozen(kw_only=True)
class ServiceConfig:
    """A ``[services.NAME]`` table.

    Attributes:
        endpoints: URLs of scheme, host and port, or tables; none: the source lists them.
        source: What lists the endpoints, and keeps listing them as they come and go; None: they are those above.
        balancer: How to choose among them: "round_robin", "least_request", "first" and so on.
        balancing: What the balancer goes by.
        ejection: When an endpoint that fails is left out; None (``false``): never.
        retry: What becomes of a request that was sent and failed; None (``false``): the client gets the failure.
        rules: What answers count as by their bodies, and what follows.
        first_item: Longest wait for the first byte of an answer's body, of an event stream for the first event with
            data, seconds. Until then nothing is passed on, so that another endpoint may answer. None: the head is
            passed on at once.
        hold: Bytes of an answer's body that are held back, so that another endpoint may answer if it breaks off before.
        deadline: Longest time for a request in all, every attempt and the answer's body included, seconds; None: any.
        pass_deadline: Heed what the client says of its own deadline (x-envoy-expected-rq-timeout-ms), and tell the
            endpoints how much of it is left.
        hedge: Seconds without an answer after which another endpoint is asked as well; None: none is.
        checks: Requests of the gateway's own that find out which endpoints are healthy; None: there are none.
        fallback: What clients get in the place of a failure; None: the failure.
        preserve_host: Send the client's Host header on, instead of the endpoint's own name.
        http2: Speak HTTP/2 with the endpoints: by ALPN with https ones, with http ones without asking.
        connect_timeout: Longest wait for a connection, seconds.
        idle_timeout: Longest wait for the next piece of an answer's body, or for room to send one, seconds.
        min_rate: Bytes a second that an answer's body must come with in the mean, after 20 s; None (``false``): any.
        max_body: Bytes of a request's body that are let through; None (``false``): any number.
        ca_file: Certificates in PEM of the authorities that https endpoints are verified by; None: the system's.
        upgrades: Protocols that a client and the service may switch to (101), in a tunnel that nobody reads.
        tunnel_idle_timeout: Longest time in such a tunnel without a byte, seconds.
        command: Settings of the command around every call, by name; see service_command.
        contents: A hash of the certificates; see config.contents.
    """

    endpoints: tuple[EndpointConfig, ...] = attrs.field(default=(), converter=as_endpoints, validator=endpoints_given)
    source: SourceConfig | None = None
    balancer: str = attrs.field(default="round_robin", validator=checked(one_of(tuple(BALANCERS), "balancer")))
    balancing: BalancingConfig = attrs.field(factory=BalancingConfig)
    ejection: Ejection | None = attrs.field(factory=Ejection)
    retry: Repetition | None = attrs.field(factory=Repetition)
    rules: tuple[AnswerRule, ...] = ()
    first_item: float | None = attrs.field(default=None, validator=number(above=0, most=86_400.0, optional=True))
    hold: int = attrs.field(default=0, validator=number(least=0, most=64 << 20, whole=True))
    deadline: float | None = attrs.field(default=None, validator=number(above=0, most=86_400.0, optional=True))
    pass_deadline: bool = attrs.field(default=False, validator=flag)
    hedge: float | None = attrs.field(default=None, validator=number(above=0, most=3600.0, optional=True))
    checks: HealthChecks | None = None
    fallback: FallbackConfig | None = None
    preserve_host: bool = attrs.field(default=False, validator=flag)
    http2: bool = attrs.field(default=False, validator=flag)
    connect_timeout: float = attrs.field(default=2.0, validator=number(above=0, most=3600.0))  # Ribbon's
    idle_timeout: float = attrs.field(default=30.0, validator=number(above=0, most=86_400.0))
    min_rate: float | None = attrs.field(default=None, validator=number(above=0, most=1e12, optional=True))
    max_body: int | None = attrs.field(
        default=DEFAULT_MAX_BODY, validator=number(least=0, most=1 << 50, whole=True, optional=True))
    ca_file: str | None = attrs.field(default=None, validator=checked(authorities_mistake, optional=True))
    upgrades: tuple[str, ...] = attrs.field(
        default=("websocket",), validator=checked(_protocol_mistake, each=True))
    tunnel_idle_timeout: float = attrs.field(default=300.0, validator=number(above=0, most=86_400.0))  # Envoy's
    command: Mapping[str, Any] = attrs.field(factory=dict, validator=service_command.suited)
    contents: bytes = contents_by(lambda service: of_files(service.ca_file))

    def __attrs_post_init__(self) -> None:
        if self.source is None and not self.endpoints:
            raise ConfigError("endpoints needs at least one; or a source lists them", "endpoints")
        if self.source is not None and self.endpoints:
            raise ConfigError("the source lists the endpoints; leave one of the two out", "endpoints")
        if self.http2 and self.upgrades not in ((), ("websocket",)):
            raise ConfigError("upgrades must be left out: HTTP/2 (http2 = true) has none", "upgrades")
        if self.balancer in KEYED and self.balancing.hash_by is None:
            raise ConfigError(
                f'balancer {self.balancer} needs balancing.hash_by, such as "header:x-user"', "balancer")
        self.balancing.check_balancer(self.balancer)


def read_service(document: Document, name: str) -> ServiceConfig | None:
    """The service of this *name*; None if it has mistakes, which are noted."""
    table, known = document.at("services", name), len(document.mistakes)
    if isinstance(table, Mapping):
        if not _is_service(table):
            document.mistake(("services", name, "endpoints"), "is missing")
            table = {**table, "source": _MISTAKEN}
        its_own = {field.name for field in attrs.fields(ServiceConfig) if field.init}
        command = service_command.read(document, "services", name, "command", of_service=its_own)
        table = {key: value for key, value in table.items() if key != "command"}
        for key in table.keys() & service_command.accepted().keys() - its_own:
            if not _is_service(table[key]):  # or its name has a dot and no quotes
                document.mistake(("services", name, key), _OF_COMMAND)
                del table[key]
        if len(document.mistakes) == known:
            table["command"] = command
        if isinstance(table.get("source"), Mapping):
            table["source"] = read_source(document, "services", name, "source") or _MISTAKEN  # the rest is read as well
        if isinstance(table.get("endpoints"), list):
            table["endpoints"] = _read_endpoints(document, name, table["endpoints"])
    return document.structure(ServiceConfig, "services", name, given=table)


def _is_service(value: Any) -> bool:
    """Whether it is the table of a service."""
    return isinstance(value, Mapping) and bool(value.keys() & {"endpoints", "source"})


def lost_fallbacks(services: Mapping[str, ServiceConfig | None]) -> Iterator[tuple[tuple[str, ...], str]]:
    """What is wrong with fallbacks to other services, as (path, message): there is none, or it leads back to itself."""
    for name, service in services.items():
        seen, at = {name}, service
        while at is not None and at.fallback is not None and at.fallback.service is not None:
            other = at.fallback.service
            if other not in services:
                if at is service:
                    yield ("services", name, "fallback", "service"), f"unknown service {other!r}"
                break
            if other in seen:
                yield ("services", name, "fallback", "service"), f"the fallback leads back to {other}"
                break
            seen.add(other)
            at = services.get(other)


def _read_endpoints(document: Document, name: str, given: Sequence[Any]) -> list[Any]:
    """The endpoints of a service, URLs or tables; what is wrong with a table is noted."""
    read: list[Any] = []
    for index, each in enumerate(given):
        if isinstance(each, Mapping):
            found = document.structure(EndpointConfig, "services", name, "endpoints", index)
            if found is None:
                found = EndpointConfig(url=f"http://mistaken:{index + 1}")  # so that the rest is read as well
            read.append(found)
        elif url_mistake(each) is not None:
            document.mistake(("services", name, "endpoints"), f"{url_mistake(each)}, not {each!r}")
            read.append(EndpointConfig(url=f"http://mistaken:{index + 1}"))
        else:
            read.append(EndpointConfig(url=each))
    return read
