"""Copies: what one registry tells another of an instance, beside what Eureka's protocol has. Pure.

It stands under "resilience" in an item of a batch, and in what a registry answers. Times are told as ages, so that the
clocks of two registries need not agree. A registry of another make knows nothing of it, and is not sent it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from .instance import STATUSES, InvalidInstanceError
from .instance_reading import MOST_MS, instance_of, name_mistake, upper
from .lease import Lease, Tombstone
from .lease_table import Key
from .moment import Moment
from .version import Stamp, Version

#: The member of an item that a copy stands in.
MEMBER: Final = "resilience"
#: An age is no more, seconds.
MOST_AGE_S: Final = 1e9
_MOST_NAME: Final = 64


@attrs.frozen(kw_only=True)
class InstanceCopy:
    """What another registry says of an instance.

    Attributes:
        key: Application and instance.
        version: Of what the instance says, or of its having left.
        override_stamp: When an operator's status was last set or removed.
        override: The status that an operator has set; None: none.
        said: The status that it would be listed with without that.
        source: The address that has registered it.
        duration_s: How long registrations from before it left are refused.
        renewed_ago_s: Since its lease was renewed.
        arrived_ago_s: Since its registration came; since it left.
        began_ago_s: Since its lease began.
        up_ms: When it was first up, in milliseconds since 1970; 0: not yet.
        left_by_its_clock_ms: When it left, by its own clock.
    """

    key: Key
    version: Version
    override_stamp: Stamp
    override: str | None = None
    said: str = ""
    source: str = ""
    duration_s: int = 0
    renewed_ago_s: float = 0.0
    arrived_ago_s: float = 0.0
    began_ago_s: float = 0.0
    up_ms: int = 0
    left_by_its_clock_ms: int = 0

    @property
    def has_left(self) -> bool:
        """Whether the instance has left."""
        return self.version.has_left

    @classmethod
    def of(cls, lease: Lease, now: Moment) -> InstanceCopy:
        """That of a *lease*."""
        return cls(key=lease.key, version=lease.version, override_stamp=lease.override_stamp, override=lease.override,
                   said=lease.said, source=lease.source,
                   renewed_ago_s=max(0.0, now.s - lease.renewed_s), arrived_ago_s=max(0.0, now.s - lease.arrived.s),
                   began_ago_s=max(0.0, now.s - lease.began.s), up_ms=lease.up_ms)

    @classmethod
    def of_left(cls, key: Key, tombstone: Tombstone, now: Moment) -> InstanceCopy:
        """That of an instance that has left."""
        return cls(key=key, version=tombstone.version, override_stamp=tombstone.override_stamp,
                   duration_s=int(tombstone.until_s - tombstone.left.s),
                   arrived_ago_s=max(0.0, now.s - tombstone.left.s),
                   left_by_its_clock_ms=tombstone.left_by_its_clock_ms)

    def tombstone(self, now: Moment) -> Tombstone:
        """What is to be remembered of an instance that has left."""
        left = Moment(now.s - self.arrived_ago_s, now.unix_ms - int(self.arrived_ago_s * 1000))
        return Tombstone(left, self.left_by_its_clock_ms, left.s + self.duration_s, self.version, self.override_stamp)

    def said_json(self) -> dict[str, Any]:
        """It, as JSON."""
        era_ms, has_left, stamp = self.version
        found: dict[str, Any] = {"app": self.key[0], "id": self.key[1], "era": era_ms, "left": has_left,
                                 "stamp": list(stamp), "operated": list(self.override_stamp),
                                 "arrived": round(self.arrived_ago_s, 3)}
        if has_left:
            found.update(duration=self.duration_s, leftByItsClock=self.left_by_its_clock_ms)
        else:
            found.update(override=self.override, said=self.said, source=self.source, up=self.up_ms,
                         renewed=round(self.renewed_ago_s, 3), began=round(self.began_ago_s, 3))
        return found

    @classmethod
    def read(cls, said: Any) -> InstanceCopy:
        """The copy that another registry describes.

        Raises:
            InvalidInstanceError: It describes none.
        """
        if not isinstance(said, Mapping):
            raise InvalidInstanceError("a copy must be an object")
        app, identity = _name(said, "app"), _name(said, "id")
        left, override = said.get("left"), said.get("override")
        if not isinstance(left, bool):
            raise InvalidInstanceError("left must be true or false")
        status = "" if left else said.get("said")
        if not (left or status in STATUSES) or not (override is None or override in STATUSES):
            raise InvalidInstanceError(f"a status is one of {', '.join(STATUSES)}")
        source = said.get("source", "")
        if not isinstance(source, str) or len(source) > _MOST_NAME:
            raise InvalidInstanceError("source must be an address")
        return cls(
            key=(upper(app), identity), version=Version(_whole(said, "era"), left, _stamp(said, "stamp")),
            override_stamp=_stamp(said, "operated"), override=override, said=str(status), source=source,
            duration_s=_whole(said, "duration"), renewed_ago_s=_age(said, "renewed"),
            arrived_ago_s=_age(said, "arrived"), began_ago_s=_age(said, "began"), up_ms=_whole(said, "up"),
            left_by_its_clock_ms=_whole(said, "leftByItsClock"))


def instance_in(said: Any, now: Moment, most_lease_s: int) -> Any:
    """The instance in an item or an answer.

    Raises:
        InvalidInstanceError: There is none.
    """
    if not isinstance(said, Mapping):
        raise InvalidInstanceError("there must be an instance")
    app = said.get("app")
    return instance_of(said, app if isinstance(app, str) else "", now.unix_ms, most_lease_s)


def _name(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    mistake = name_mistake(value) if isinstance(value, str) else "must be a text"
    if mistake is not None:
        raise InvalidInstanceError(f"{name} {mistake}")
    return str(value)


def _whole(said: Mapping[str, Any], name: str) -> int:
    value = said.get(name, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_MS:
        raise InvalidInstanceError(f"{name} must be a whole number from 0 to {MOST_MS}")
    return value


def _stamp(said: Mapping[str, Any], name: str) -> Stamp:
    value = said.get(name)
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[1], str) or len(value[1]) > _MOST_NAME:
        raise InvalidInstanceError(f"{name} must be milliseconds and the name of a registry")
    return Stamp(_whole({name: value[0]}, name), value[1])


def _age(said: Mapping[str, Any], name: str) -> float:
    value = said.get(name, 0.0)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= MOST_AGE_S:
        raise InvalidInstanceError(f"{name} must be an age in seconds")
    return float(value)
