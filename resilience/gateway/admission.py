"""Admission: from an ASGI scope to what is sent upstream, or a Problem. Pure.

Framing first, then the path, then the route, then the headers: nothing is decided
on a request that two parties could read differently.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

import attrs

from .config import GatewayConfig
from .framing import Framing, framing_of
from .headers import Origin, Sorted, set_apart, to_upstream
from .problem import Problem
from .routing import MethodNotAllowedError, NoRouteError, Router, ambiguity, query_is_legal, stripped
from .service import Service
from .upstream import Request

#: The gateway's name in Via.
PSEUDONYM: Final = b"resilience"
_VERSIONS: Final = {"1": b"1.0", "1.0": b"1.0", "1.1": b"1.1", "2": b"2"}
_MAX_PEERS: Final = 4096  # remembered


@attrs.frozen
class _Route:
    service: Service
    strip: bytes


class Admission:
    """Admits requests as one configuration says. Filled once, then only read."""

    def __init__(self, config: GatewayConfig, services: Mapping[str, Service]) -> None:
        self._router: Router[_Route] = Router()
        for route in config.routes:
            target = _Route(services[route.service], (route.strip_prefix or "").encode())
            self._router.add(route.path, route.accepted(), target, route.host)
        self._allowed = frozenset(each.encode() for each in config.gateway.allow_encoded)
        self._trusted = [ipaddress.ip_network(each) for each in config.gateway.trusted_proxies]
        self._peers: dict[str, bool] = {}

    def admit(self, scope: Mapping[str, Any]) -> tuple[Service, Request]:
        """What to send to which service.

        Raises:
            Problem: The request is not to be forwarded.
        """
        headers = set_apart(scope["headers"])
        framing = framing_of(headers.special, scope["http_version"])
        method = scope["method"]
        path = self._path(scope)
        route = self._route(method, path, framing.host)
        if route.strip:
            path = stripped(path, route.strip)
            if path.startswith(b"//"):
                raise Problem(400, "the path would begin with two slashes", close=True)
        query = scope.get("query_string")
        if query:
            if not query_is_legal(query):
                raise Problem(400, "the query has characters that must be percent-encoded", close=True)
            path += b"?" + query
        service = route.service
        return service, Request(
            method=method, target=path, host=framing.host if service.preserve_host else None,
            headers=self._headers(headers, framing, scope), length=framing.length,
            body=b"" if framing.length == 0 else None)

    def _path(self, scope: Mapping[str, Any]) -> bytes:
        path: bytes = scope.get("raw_path") or quote(scope["path"], safe="/%:@!$&'()*+,;=~-._").encode()
        root = scope.get("root_path")
        if root and path.startswith(root.encode()):
            path = path[len(root.encode()) :]
        mistake = ambiguity(path, self._allowed)
        if mistake is not None:
            raise Problem(400, mistake, close=True)
        return path

    def _route(self, method: str, path: bytes, host: bytes) -> _Route:
        try:
            return self._router.find(method, path, host)
        except NoRouteError:
            raise Problem(404, "there is no route for this path") from None
        except MethodNotAllowedError as error:
            allow = (b"allow", ", ".join(error.allow).encode())
            raise Problem(405, f"this path has no {method}", headers=[allow]) from None

    def _headers(self, headers: Sorted, framing: Framing, scope: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
        client, server = scope.get("client"), scope.get("server")
        peer = client[0] if client else "unknown"
        trusted = self._peers.get(peer)
        if trusted is None:
            trusted = self._learn(peer)
        return to_upstream(headers, Origin(
            client=peer.encode(), scheme=scope["scheme"].encode(), host=framing.host,
            port=str(server[1]).encode() if server else b"0",
            version=_VERSIONS.get(scope["http_version"], b"1.1"), trusted=trusted), PSEUDONYM)

    def _learn(self, peer: str) -> bool:
        if len(self._peers) >= _MAX_PEERS:
            self._peers.clear()
        self._peers[peer] = trusted = _within(peer, self._trusted)
        return trusted


def _within(peer: str, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:  # a Unix socket's peer has no address
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
