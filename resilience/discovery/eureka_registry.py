"""EurekaRegistry: a copy of what a Eureka server has, from a full answer and the deltas after it. Pure.

A delta says what has changed in the last minutes, and the hash of the whole registry as it is with these changes. What
comes out is compared with that hash: how many instances there are of each status. If they differ, or the delta cannot
be read, the copy is of no use any more and everything is fetched again. A delta may repeat what is known.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import attrs

from ..errors import ConfigError
from .instance import Instance
from .source import Listing

_UP: Final = "UP"
_DELETED: Final = "DELETED"


class EurekaUnreadableError(ValueError):
    """A Eureka server's answer cannot be understood."""


@attrs.frozen
class EurekaApplications:
    """An answer of a server: all instances, or those that have changed.

    Attributes:
        instances: By application in upper case and instance ID, as they came.
        hash: Of the whole registry.
    """

    instances: Mapping[tuple[str, str], Mapping[str, Any]]
    hash: str

    @classmethod
    def read(cls, content: bytes) -> EurekaApplications:
        """The applications in a JSON answer: all, or a delta.

        Raises:
            EurekaUnreadableError: It is something else.
        """
        return cls._read(content, lambda said: _list(said["applications"].get("application")),
                         lambda said: str(said["applications"].get("apps__hashcode", "")))

    @classmethod
    def read_application(cls, content: bytes) -> EurekaApplications:
        """The one application in a JSON answer.

        Raises:
            EurekaUnreadableError: It is something else.
        """
        return cls._read(content, lambda said: [said["application"]], lambda _: "")

    @classmethod
    def _read(cls, content: bytes, applications: Callable[[Any], list[Any]],
              hashed: Callable[[Any], str]) -> EurekaApplications:
        try:
            said = json.loads(content)
            instances = {(str(application["name"]).upper(), _id(each)): each for application in applications(said)
                         for each in _list(application.get("instance"))}
            return cls(instances, hashed(said))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise EurekaUnreadableError(f"it is no answer of Eureka's ({type(error).__name__})") from None


def _list(value: Any) -> list[Any]:
    """What stands where a list should: some servers leave out the brackets around one item, or all of it."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _id(instance: Mapping[str, Any]) -> str:
    if instance.get("instanceId"):
        return str(instance["instanceId"])
    centre = instance.get("dataCenterInfo") or {}
    return str((centre.get("metadata") or {}).get("instance-id") or instance["hostName"])


def hash_of(instances: Mapping[Any, Mapping[str, Any]]) -> str:
    """The hash of a whole registry: how many instances have each status, by its name."""
    counts = Counter(str(each.get("status", "UNKNOWN")) for each in instances.values())
    return "".join(f"{status}_{count}_" for status, count in sorted(counts.items()))


class EurekaRegistry:
    """The copy of a registry. Of one event loop."""

    def __init__(self) -> None:
        self._instances: dict[tuple[str, str], Mapping[str, Any]] | None = None
        self._left: dict[tuple[str, str], Mapping[str, Any]] = {}

    @property
    def is_complete(self) -> bool:
        """Whether there is a copy that a delta may be applied to."""
        return self._instances is not None

    def replace(self, everything: EurekaApplications) -> None:
        """Take a full answer."""
        self._instances, self._left = dict(everything.instances), {}

    def apply(self, delta: EurekaApplications) -> bool:
        """Apply a delta; False: the copy is not what the server has, and is forgotten."""
        instances, self._instances, self._left = self._instances, None, {}
        if instances is None:
            return False
        for key, each in delta.instances.items():
            if each.get("actionType") == _DELETED:
                self._left[key] = instances.pop(key, each)
            else:
                instances[key] = each
        if hash_of(instances) != delta.hash:
            return False
        self._instances = instances
        return True

    def forget(self) -> None:
        """Have everything fetched again."""
        self._instances = None

    def of(self, application: str) -> Iterator[Mapping[str, Any]]:
        """The instances of an *application*, whatever their status, in the order of their IDs."""
        return _of(application, self._instances or {})

    def left(self, application: str) -> Iterator[Mapping[str, Any]]:
        """The instances of an *application* that the last delta has taken off the list."""
        return _of(application, self._left)


def _of(application: str, instances: Mapping[tuple[str, str], Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    return (instances[key] for key in sorted(key for key in instances if key[0] == application.upper()))


def listing_of(instances: Iterable[Mapping[str, Any]], left: Iterable[Mapping[str, Any]] = (), *, secure: bool,
               by_host_name: bool) -> Listing:
    """The listing of *instances* as a Eureka server describes them.

    Several may have one address, under other IDs: one that ended without leaving stays listed until its lease is over,
    and longer if the server keeps leases. There is only what has registered there last.

    Args:
        instances: Those that it lists; the listing has those that are up.
        left: Those that it has just taken off its list.
        secure: Whether the secure port is used, by https.
        by_host_name: Whether the host's name is connected to, instead of its address.
    """
    latest, mistakes, unavailable = dict[str, tuple[tuple[int, bool], Instance]](), list[str](), set[str]()
    for each, is_there in (*((each, True) for each in instances), *((each, False) for each in left)):
        is_up = is_there and each.get("status") == _UP
        try:
            instance = _instance(each, secure=secure, by_host_name=by_host_name)
        except (ConfigError, ValueError, OverflowError, TypeError, KeyError, AttributeError) as error:
            if is_up:
                mistakes.append(f"{_id(each)[:100]}: {error or type(error).__name__}")
            continue
        if not is_up:
            unavailable.add(instance.name)
        rank = _registered_ms(each), is_up
        if is_there and (instance.name not in latest or rank >= latest[instance.name][0]):
            latest[instance.name] = rank, instance
    found = tuple(instance for (_, is_up), instance in latest.values() if is_up)
    return Listing(found, tuple(mistakes), is_leased=True, unavailable=frozenset(unavailable))


def _registered_ms(said: Mapping[str, Any]) -> int:
    """When an instance has registered, by its own clock, in milliseconds since 1970; 0: it does not say."""
    text = str(said.get("lastDirtyTimestamp"))
    return int(text) if text.isdecimal() and len(text) < 20 else 0


def _instance(said: Mapping[str, Any], *, secure: bool, by_host_name: bool) -> Instance:
    port = said.get("securePort" if secure else "port") or {}
    if str(port.get("@enabled", "")).lower() != "true":
        raise ValueError(f"its {'secure ' if secure else ''}port is not enabled")
    name = str(said.get("hostName") or "")
    host = name if by_host_name or not said.get("ipAddr") else str(said["ipAddr"])
    metadata = said.get("metadata") or {}
    centre = (said.get("dataCenterInfo") or {}).get("metadata") or {}
    weight = metadata.get("weight")
    return Instance(
        url=f"{'https' if secure else 'http'}://{f'[{host}]' if ':' in host else host}:{int(port['$'])}",
        zone=str(metadata.get("zone") or centre.get("availability-zone") or ""),
        weight=1.0 if weight is None else float(weight),
        server_name=name if secure and name != host else "")
