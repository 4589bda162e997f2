"""An instance as it has registered: what it says of itself. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

UP: Final = "UP"
DOWN: Final = "DOWN"
STARTING: Final = "STARTING"
OUT_OF_SERVICE: Final = "OUT_OF_SERVICE"
UNKNOWN: Final = "UNKNOWN"
STATUSES: Final = (UP, DOWN, STARTING, OUT_OF_SERVICE, UNKNOWN)

#: The protocol's defaults, in seconds.
RENEWAL_INTERVAL_S: Final = 30
LEASE_DURATION_S: Final = 90

#: Pairs of metadata.
MOST_METADATA: Final = 128

#: What says that an instance runs in no cloud that the protocol knows.
OWN_DATA_CENTER: Final = "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo"


class InvalidInstanceError(ValueError):
    """What should be an instance is none; the message is for whoever registers it."""


@attrs.frozen
class Port:
    """A port, and whether it is in use."""

    number: int
    enabled: bool


@attrs.frozen
class DataCenter:
    """Where an instance runs: the class and the name that the protocol has for it, and what a cloud says besides."""

    name: str = "MyOwn"
    class_name: str = OWN_DATA_CENTER
    metadata: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Instance:
    """What an instance says of itself, and the status that the registry lists it with.

    Attributes:
        app: Its application, in upper case.
        id: Among the instances of its application.
        host_name: Name or address.
        ip_addr: Its address.
        status: One of STATUSES.
        overridden_status: The status that an operator has set; UNKNOWN: nobody has.
        port: For HTTP.
        secure_port: For HTTPS.
        data_center: Where it runs.
        renewal_interval_s: How often it means to renew its lease.
        duration_s: How long its lease lasts after a renewal.
        dirty_ms: When it last changed what it says, by its own clock, in milliseconds since 1970.
        metadata: Anything that its clients understand.
        country_id: As sent.
        texts: Its other fields by their name in the protocol, such as vipAddress and homePageUrl.
    """

    app: str
    id: str
    host_name: str
    ip_addr: str
    status: str = UP
    overridden_status: str = UNKNOWN
    port: Port = Port(7001, True)
    secure_port: Port = Port(7002, False)
    data_center: DataCenter = attrs.field(factory=DataCenter)
    renewal_interval_s: int = RENEWAL_INTERVAL_S
    duration_s: int = LEASE_DURATION_S
    dirty_ms: int = 0
    metadata: Mapping[str, str] = attrs.field(factory=dict)
    country_id: int = 1
    texts: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def characters(self) -> int:
        """How much it says: the characters of its names and texts."""
        metadata = self.data_center.metadata
        return sum(map(len, (self.app, self.id, self.host_name, self.ip_addr, *self.texts.values(), *self.metadata,
                             *self.metadata.values(), *metadata, *metadata.values())))

    @property
    def vips(self) -> tuple[str, ...]:
        """Its virtual addresses."""
        return _listed(self.texts.get("vipAddress", ""))

    @property
    def secure_vips(self) -> tuple[str, ...]:
        """Its virtual addresses for HTTPS."""
        return _listed(self.texts.get("secureVipAddress", ""))


def _listed(text: str) -> tuple[str, ...]:
    return tuple(name for each in text.split(",") if (name := each.strip()))
