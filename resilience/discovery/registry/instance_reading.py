"""Reading an instance from what a client has sent, within bounds. Pure.

JSON and XML come here as the same nested mappings (see bodies.py). Clients in the field leave out what they do not
know, or send it as null or as an empty text; write flags as booleans or as strings, and numbers as either. What is
missing gets the default of the protocol. What is there and cannot be meant is refused with a sentence, and nothing is
changed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

from .instance import (
    LEASE_DURATION_S,
    MOST_METADATA,
    OWN_DATA_CENTER,
    RENEWAL_INTERVAL_S,
    STATUSES,
    UNKNOWN,
    UP,
    DataCenter,
    Instance,
    InvalidInstanceError,
    Port,
)

#: Characters of a name: application, instance, host, virtual address.
MOST_NAME: Final = 255
#: Characters of any other text, such as a URL.
MOST_TEXT: Final = 2048
#: Characters of a value of metadata.
MOST_METADATA_TEXT: Final = 4096
MOST_MS: Final = 1 << 53
TEXTS: Final = (
    "appGroupName", "homePageUrl", "statusPageUrl", "healthCheckUrl", "secureHealthCheckUrl", "vipAddress",
    "secureVipAddress", "asgName", "sid", "isCoordinatingDiscoveryServer")
#: Characters that XML cannot carry, and those that would end a line.
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]").search
#: What stands for a text that is missing.
_DEFAULTS: Final = {"isCoordinatingDiscoveryServer": "false"}
#: In JSON, the type of a mapping; in XML, it is an attribute.
_CLASS: Final = "@class"


def instance_of(said: Mapping[str, Any], path_app: str, now_ms: int, most_lease_s: int) -> Instance:
    """The instance that a registration describes.

    Args:
        said: The value of "instance", or the element of that name.
        path_app: The application that the path names.
        now_ms: Milliseconds since 1970; stands for a timestamp that is missing.
        most_lease_s: A lease may not be longer.

    Raises:
        InvalidInstanceError: Something is missing, or cannot be meant.
    """
    center = _data_center(said.get("dataCenterInfo"))
    host = _name(said, "hostName")
    identity = _name(said, "instanceId") or (center.metadata.get("instance-id", "") if center else "") or host
    address, app = _name(said, "ipAddr"), upper(_name(said, "app"))
    for value, what in ((identity, "instanceId"), (host, "hostname"), (address, "ip address"), (app, "appName")):
        if not value:
            raise InvalidInstanceError(f"Missing {what}")
    if len(app) > MOST_NAME:  # some letters are two or three in capitals; other registries would refuse it
        raise InvalidInstanceError(f"app must have up to {MOST_NAME} characters in capital letters")
    if app != upper(path_app):
        raise InvalidInstanceError(f"Mismatched appName, expecting {upper(path_app)} but was {app}")
    if center is None:
        raise InvalidInstanceError("Missing dataCenterInfo")
    if not center.name:
        raise InvalidInstanceError("Missing dataCenterInfo Name")
    lease = said.get("leaseInfo")
    lease = lease if isinstance(lease, Mapping) else {}
    return Instance(
        app=app, id=identity, host_name=host, ip_addr=address, data_center=center,
        status=_status(said, ("status",), UP),
        overridden_status=_status(said, ("overriddenStatus", "overriddenstatus"), UNKNOWN),
        port=_port(said, "port", Port(7001, True)), secure_port=_port(said, "securePort", Port(7002, False)),
        renewal_interval_s=_seconds(lease, "renewalIntervalInSecs", RENEWAL_INTERVAL_S, most_lease_s),
        duration_s=_seconds(lease, "durationInSecs", LEASE_DURATION_S, most_lease_s),
        dirty_ms=_number(said, "lastDirtyTimestamp", 0, MOST_MS) or now_ms,
        country_id=_number(said, "countryId", 1, 1 << 31), metadata=_metadata(said.get("metadata")),
        texts={name: text for name in TEXTS if (text := _text(said, name, MOST_TEXT)) not in ("", _DEFAULTS.get(name))})


def upper(app: str) -> str:
    """The name of an application as it is kept."""
    return app.upper()


def status_of(text: str) -> str:
    """The status that a query names.

    Raises:
        InvalidInstanceError: There is no such status.
    """
    if text not in STATUSES:
        raise InvalidInstanceError(f"unknown status; it is one of {', '.join(STATUSES)}")
    return text


def timestamp_of(text: str) -> int:
    """The timestamp that a query names, in milliseconds since 1970.

    Raises:
        InvalidInstanceError: It is none.
    """
    return _number({"lastDirtyTimestamp": text}, "lastDirtyTimestamp", 0, MOST_MS)


def name_mistake(name: str) -> str | None:
    """What is wrong with a name of an application or an instance; None if nothing is."""
    if not name or len(name) > MOST_NAME or _UNPRINTABLE(name):
        return f"must have 1 to {MOST_NAME} printable characters"
    return None


def metadata_text(name: str, value: str) -> tuple[str, str]:
    """A pair of metadata.

    Raises:
        InvalidInstanceError: It is too long, or has characters or a name that cannot be sent.
    """
    if name == _CLASS:
        raise InvalidInstanceError(f"metadata: {_CLASS} is what the protocol has for a type, and no name of a pair")
    if (not name or len(name) > MOST_NAME or _UNPRINTABLE(name) or len(value) > MOST_METADATA_TEXT
            or _UNPRINTABLE(value.translate(_BLANKS))):
        raise InvalidInstanceError(f"metadata: names of 1 to {MOST_NAME} and values of up to {MOST_METADATA_TEXT} "
                                   "printable characters")
    return name, value


_BLANKS: Final = {ord("\t"): " ", ord("\n"): " ", ord("\r"): " "}


def _text(said: Mapping[str, Any], name: str, most: int) -> str:
    value = said.get(name)
    if _is_missing(value):
        return ""
    text = _scalar(value, name).strip()
    if len(text) > most or _UNPRINTABLE(text):
        raise InvalidInstanceError(f"{name} must have up to {most} printable characters")
    return text


def _is_missing(value: Any) -> bool:
    """Whether a value says nothing: it is not there, null, an empty text or an empty element."""
    return value is None or (isinstance(value, str) and not value.strip()) or (isinstance(value, Mapping) and not value)


def _scalar(value: Any, name: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int)) or (isinstance(value, float) and isfinite(value)):
        return str(value)
    raise InvalidInstanceError(f"{name} must be a text or a number")


def _name(said: Mapping[str, Any], name: str) -> str:
    return _text(said, name, MOST_NAME)


def _number(said: Mapping[str, Any], name: str, default: int, most: int) -> int:
    value = said.get(name)
    if _is_missing(value):
        return default
    number = _whole(value)
    if number is None or not 0 <= number <= most:
        raise InvalidInstanceError(f"{name} must be a whole number from 0 to {most}")
    return number


def _whole(value: Any) -> int | None:
    """The whole number that *value* is or says; None: it is and says none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.strip()
        return int(text) if len(text) < 20 and text.isascii() and text.isdecimal() else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) else None


def _seconds(lease: Mapping[str, Any], name: str, default: int, most: int) -> int:
    found = lease.get(name)
    value = default if _is_missing(found) else _whole(found)
    if value is not None and value <= 0:
        return default
    if value is None or value > most:
        raise InvalidInstanceError(f"leaseInfo.{name} must be a whole number of seconds, at most {most}")
    return value


def _status(said: Mapping[str, Any], names: tuple[str, ...], default: str) -> str:
    for name in names:
        text = _text(said, name, MOST_NAME)
        if text:
            if text.upper() not in STATUSES:
                raise InvalidInstanceError(f"{name} must be one of {', '.join(STATUSES)}")
            return text.upper()
    return default


def _port(said: Mapping[str, Any], name: str, default: Port) -> Port:
    value = said.get(name)
    if _is_missing(value):
        return default
    number, enabled = (value.get("$"), value.get("@enabled")) if isinstance(value, Mapping) else (value, True)
    if _is_missing(enabled):
        enabled = default.enabled
    found = default.number if _is_missing(number) else _whole(number)
    if found is None or not 0 <= found <= 65_535:
        raise InvalidInstanceError(f"{name} must be a whole number from 0 to 65535")
    return Port(found, enabled is True or str(enabled).strip().lower() == "true")


def _data_center(said: Any) -> DataCenter | None:
    if not isinstance(said, Mapping):
        return None
    name = _name(said, "name")
    class_name = _text(said, "@class", MOST_NAME) or _text(said, "class", MOST_NAME)
    return DataCenter(name, class_name or OWN_DATA_CENTER, _metadata(said.get("metadata")))


def _metadata(said: Any) -> Mapping[str, str]:
    if not isinstance(said, Mapping):
        return {}
    pairs = [(name, value) for name, value in said.items() if name != _CLASS]
    if len(pairs) > MOST_METADATA:
        raise InvalidInstanceError(f"metadata must have at most {MOST_METADATA} pairs")
    found = {}
    for name, value in pairs:
        metadata_text(name, "")  # before it stands in a message, for it may be nothing that could be sent
        is_empty = value is None or (isinstance(value, Mapping) and not value)
        key, text = metadata_text(name, "" if is_empty else _scalar(value, f"metadata.{name}"[:MOST_NAME]))
        found[key] = text
    return found
