"""An entry: an instance as the registry lists it, and its text in each form, which is made once. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from .element_names import element_name
from .instance import DataCenter, Instance, Port

ADDED: Final = "ADDED"
MODIFIED: Final = "MODIFIED"
DELETED: Final = "DELETED"

#: What the compact form leaves out, besides leaseInfo and metadata.
_LONG: Final = frozenset({"homePageUrl", "statusPageUrl", "healthCheckUrl", "secureHealthCheckUrl", "sid",
                          "overriddenStatus", "countryId", "lastDirtyTimestamp"})
#: A parser would read it as the end of a line.
_RETURN: Final = {"\r": "&#13;"}


class Form(Enum):
    """What an instance can be written as: the media type, and whether all of it."""

    JSON = "application/json", True
    XML = "application/xml", True
    COMPACT_JSON = "application/json", False
    COMPACT_XML = "application/xml", False

    @property
    def media_type(self) -> str:
        """For Content-Type."""
        return self.value[0]

    @property
    def is_json(self) -> bool:
        """Whether it is JSON, and not XML."""
        return self in (Form.JSON, Form.COMPACT_JSON)

    @property
    def is_full(self) -> bool:
        """Whether it says everything."""
        return self.value[1]


class LeaseTimes:
    """What an entry says of its lease, in milliseconds since 1970; 0: it has not happened."""

    __slots__ = ("evicted_ms", "registered_ms", "renewed_ms", "up_ms")

    def __init__(self, registered_ms: int, renewed_ms: int, up_ms: int, evicted_ms: int = 0) -> None:
        self.registered_ms, self.renewed_ms = registered_ms, renewed_ms
        self.up_ms, self.evicted_ms = up_ms, evicted_ms


class Entry:
    """An instance as it is listed. Not to be changed.

    Attributes:
        instance: What it says.
        action: How it came to be so: ADDED, MODIFIED or DELETED.
        updated_ms: When, in milliseconds since 1970.
        times: Of its lease, as they were then.
    """

    __slots__ = ("_texts", "action", "instance", "times", "updated_ms")

    def __init__(self, instance: Instance, action: str, updated_ms: int, times: LeaseTimes) -> None:
        self.instance, self.action, self.updated_ms, self.times = instance, action, updated_ms, times
        self._texts: dict[Form, bytes] = {}

    def text(self, form: Form) -> bytes:
        """The instance in this *form*."""
        text = self._texts.get(form)
        if text is None:
            made = _json_text(self, form.is_full) if form.is_json else "".join(_xml_text(self, form.is_full))
            text = self._texts[form] = made.encode()
        return text


def _fields(entry: Entry, full: bool) -> dict[str, Any]:
    """Names and values, as JSON has them; XML differs in a few."""
    said, texts = entry.instance, entry.instance.texts
    found: dict[str, Any] = {
        "instanceId": said.id, "hostName": said.host_name, "app": said.app, "ipAddr": said.ip_addr,
        "status": said.status, "overriddenStatus": said.overridden_status, "port": said.port,
        "securePort": said.secure_port, "countryId": said.country_id, "dataCenterInfo": said.data_center}
    if full:
        times = entry.times
        found["leaseInfo"] = {
            "renewalIntervalInSecs": said.renewal_interval_s, "durationInSecs": said.duration_s,
            "registrationTimestamp": times.registered_ms, "lastRenewalTimestamp": times.renewed_ms,
            "evictionTimestamp": times.evicted_ms, "serviceUpTimestamp": times.up_ms}
        found["metadata"] = said.metadata
    found.update(texts)
    found["isCoordinatingDiscoveryServer"] = texts.get("isCoordinatingDiscoveryServer", "false")
    found["lastUpdatedTimestamp"] = str(entry.updated_ms)
    found["lastDirtyTimestamp"] = str(said.dirty_ms)
    found["actionType"] = entry.action
    return found if full else {name: value for name, value in found.items() if name not in _LONG}


def _json_value(value: Any) -> Any:
    if isinstance(value, Port):
        return {"$": value.number, "@enabled": "true" if value.enabled else "false"}
    if isinstance(value, DataCenter):
        center: dict[str, Any] = {"@class": value.class_name, "name": value.name}
        return {**center, "metadata": dict(value.metadata)} if value.metadata else center
    return dict(value) if isinstance(value, Mapping) else value


def _json_text(entry: Entry, full: bool) -> str:
    found = {name: _json_value(value) for name, value in _fields(entry, full).items()}
    if full and not found["metadata"]:
        found["metadata"] = {"@class": "java.util.Collections$EmptyMap"}
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))


def _xml_text(entry: Entry, full: bool) -> Iterator[str]:
    yield "<instance>"
    for name, value in _fields(entry, full).items():
        if isinstance(value, Port):
            yield f'<{name} enabled="{str(value.enabled).lower()}">{value.number}</{name}>'
        elif isinstance(value, DataCenter):
            yield f"<{name} class={quoteattr(value.class_name)}><name>{escape(value.name)}</name>"
            yield f"<metadata>{_pairs(value.metadata)}</metadata></{name}>" if value.metadata else f"</{name}>"
        elif isinstance(value, Mapping):
            yield f"<{name}>{_pairs(value)}</{name}>"
        else:
            tag = "overriddenstatus" if name == "overriddenStatus" else name
            yield f"<{tag}>{escape(str(value))}</{tag}>"
    yield "</instance>"


def _pairs(values: Mapping[str, Any]) -> str:
    return "".join(f"<{tag}>{escape(str(value), _RETURN)}</{tag}>" for name, value in values.items()
                   if (tag := element_name(name)))
