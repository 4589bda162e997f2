"""Registrant: an instance of a service as it describes itself to a registry."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Final

import attrs

from ..core.checks import number, text
from ..errors import ConfigError
from .instance import MAX_WEIGHT, Instance

_MOST_METADATA: Final = 100


class InstanceStatus(enum.Enum):
    """What an instance says of itself; only those that are UP get requests."""

    STARTING = "STARTING"
    UP = "UP"
    DOWN = "DOWN"
    OUT_OF_SERVICE = "OUT_OF_SERVICE"


def _metadata(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, Mapping) or len(value) > _MOST_METADATA or not all(
            isinstance(each, str) for pair in value.items() for each in pair):
        raise ConfigError(f"metadata must be at most {_MOST_METADATA} texts by name, not {value!r}", attribute.name)


@attrs.frozen
class Registrant:
    """An instance that registers itself.

    Attributes:
        app: Name of its service. In Eureka, capital letters and small ones are the same.
        host: Name or address by which clients reach it.
        port: On which it answers http; with ``secure``, https.
        ip: Its address; empty: *host* is one, or is looked up when it registers.
        secure: Whether it answers by https.
        metadata: Texts by name, for whoever asks the registry.
        zone: Where it stands; empty: it does not say.
        weight: Its share of the requests, in proportion to the weights of others.
        instance_id: What it is known by in the registry; empty: host, service and port.
        health_url: Where Eureka's clients may ask for its health; empty: it does not say.
        url: Scheme, host and port.
    """

    app: str = attrs.field(validator=text())
    host: str = attrs.field(validator=text())
    port: int = attrs.field(validator=number(least=1, most=65535, whole=True))
    ip: str = attrs.field(default="", kw_only=True, validator=attrs.validators.instance_of(str))
    secure: bool = attrs.field(default=False, kw_only=True, validator=attrs.validators.instance_of(bool))
    metadata: Mapping[str, str] = attrs.field(factory=dict, kw_only=True, validator=_metadata)
    zone: str = attrs.field(default="", kw_only=True, validator=attrs.validators.instance_of(str))
    weight: float = attrs.field(default=1.0, kw_only=True, validator=number(least=0, most=MAX_WEIGHT))
    instance_id: str = attrs.field(default="", kw_only=True, validator=attrs.validators.instance_of(str))
    health_url: str = attrs.field(default="", kw_only=True, validator=attrs.validators.instance_of(str))

    def __attrs_post_init__(self) -> None:
        instance_of(self)  # whose checks of host, zone and so on hold here too

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}"

    @property
    def name(self) -> str:
        """What it is known by in the registry."""
        return self.instance_id or f"{self.host}:{self.app}:{self.port}"


def instance_of(registrant: Registrant) -> Instance:
    """The *registrant* as a source lists it."""
    return Instance(url=registrant.url, zone=registrant.zone, weight=registrant.weight)
