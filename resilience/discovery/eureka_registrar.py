"""EurekaRegistrar: registers an instance with servers that speak Eureka's REST protocol."""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from time import time
from typing import Any, Final
from urllib.parse import quote

from ..drivers.system_clock import monotonic
from .eureka_servers import EurekaServers
from .registrant import InstanceStatus, Registrant

#: A timestamp that is further ahead than this is of a clock that was wrong; registries refuse it.
_MOST_AHEAD_MS: Final = 86_400_000
_OWN: Final = {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"}


class EurekaRegistrar:
    """Registers with a Eureka registry; see Registrar. Its timestamp is that of the last registration."""

    def __init__(self, urls: str | Sequence[str], *, headers: Mapping[str, str] | None = None,
                 ca_file: str | None = None, wall_clock: Callable[[], float] = time,
                 clock: Callable[[], float] = monotonic) -> None:
        """A registrar; nothing is asked yet.

        Args:
            urls: Base URLs of the servers, such as "http://eureka-1:8761/eureka", which are asked in turn until one
                answers; a name and password in one are sent.
            headers: Set in each request, such as Authorization.
            ca_file: Certificates in PEM of the authorities for https; None: the system's.
            wall_clock: Seconds since 1970.
            clock: Monotonic seconds.

        Raises:
            ConfigError: A URL has a mistake.
        """
        self._servers = EurekaServers(urls, headers=headers, ca_file=ca_file, clock=clock)
        self._wall_clock, self._dirty_ms = wall_clock, 0

    def __repr__(self) -> str:
        return f"Eureka at {self._servers!r}"

    def register(self, registrant: Registrant, status: InstanceStatus, lease_s: float, timeout_s: float) -> None:
        """Register the instance; see Registrar.

        Args:
            registrant: The instance.
            status: What it says of itself.
            lease_s: Seconds.
            timeout_s: The longest that this may take.
        """
        now_ms = int(self._wall_clock() * 1000)
        known_ms = self._dirty_ms if self._dirty_ms <= now_ms + _MOST_AHEAD_MS else 0
        dirty_ms = max(known_ms + 1, now_ms)
        said = described(registrant, status, dirty_ms, lease_s)
        self._servers.ask("POST", f"/apps/{_app(registrant)}", (HTTPStatus.NO_CONTENT,),
                          body=json.dumps({"instance": said}).encode(), timeout_s=timeout_s)
        self._dirty_ms = dirty_ms  # not of what was refused, perhaps since the clock is ahead: it may be right soon

    def renew(self, registrant: Registrant, status: InstanceStatus, lease_s: float, timeout_s: float) -> bool:
        """Extend the lease; see Registrar.

        Args:
            registrant: The instance.
            status: What it says of itself.
            lease_s: Seconds.
            timeout_s: The longest that this may take.
        """
        answer = self._servers.ask(
            "PUT", f"{_path(registrant)}?status={status.value}&lastDirtyTimestamp={self._dirty_ms}",
            (HTTPStatus.OK, HTTPStatus.NOT_FOUND), timeout_s=timeout_s)
        return answer.status == HTTPStatus.OK

    def leave(self, registrant: Registrant, timeout_s: float) -> None:
        """Give the lease back; see Registrar.

        Args:
            registrant: The instance.
            timeout_s: The longest that this may take.
        """
        self._servers.ask("DELETE", _path(registrant), (HTTPStatus.OK, HTTPStatus.NOT_FOUND), timeout_s=timeout_s)


def described(registrant: Registrant, status: InstanceStatus, dirty_ms: int, lease_s: float) -> dict[str, Any]:
    """The instance as the protocol has it.

    Args:
        registrant: The instance.
        status: What it says of itself.
        dirty_ms: When it last changed what it says, milliseconds since 1970.
        lease_s: How long its lease lasts, seconds.

    Raises:
        OSError: Its host has no address.
    """
    def port(is_secure: bool) -> dict[str, Any]:
        if is_secure is registrant.secure:
            return {"$": registrant.port, "@enabled": "true"}
        return {"$": 443 if is_secure else 80, "@enabled": "false"}

    metadata = dict(registrant.metadata)
    if registrant.zone:
        metadata.setdefault("zone", registrant.zone)
    if registrant.weight != 1.0:
        metadata.setdefault("weight", f"{registrant.weight:.12g}")
    said: dict[str, Any] = {
        "instanceId": registrant.name, "hostName": registrant.host, "app": registrant.app.upper(),
        "ipAddr": registrant.ip or _address(registrant.host), "status": status.value, "overriddenStatus": "UNKNOWN",
        "port": port(False), "securePort": port(True), "countryId": 1, "dataCenterInfo": dict(_OWN),
        "leaseInfo": {"renewalIntervalInSecs": max(1, round(lease_s / 3)), "durationInSecs": max(1, round(lease_s))},
        "metadata": metadata, "homePageUrl": f"{registrant.url}/", "vipAddress": registrant.app,
        "secureVipAddress": registrant.app, "isCoordinatingDiscoveryServer": "false",
        "lastUpdatedTimestamp": f"{dirty_ms}", "lastDirtyTimestamp": f"{dirty_ms}"}
    if registrant.health_url:
        said["secureHealthCheckUrl" if registrant.secure else "healthCheckUrl"] = registrant.health_url
    return said


def _app(registrant: Registrant) -> str:
    return quote(registrant.app.upper(), safe="")


def _path(registrant: Registrant) -> str:
    return f"/apps/{_app(registrant)}/{quote(registrant.name, safe=':')}"


def _address(host: str) -> str:
    """The address of a *host*, which may be one itself."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
