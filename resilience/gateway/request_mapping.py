"""Admission: from the head of a request to what is sent upstream, or a Problem. Pure.

Framing first, then the path, then the route, then the headers: nothing is decided
on a request that two parties could read differently.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs

from .config import GatewayConfig, GatewaySettings, RouteConfig
from .framing import framing_of
from .headers import Origin, folded, set_apart, to_upstream, without
from .inbound import RequestHead
from .problem import Problem, too_large
from .routing import MethodNotAllowedError, NoRouteError, Router, ambiguity, query_is_legal, stripped
from .service import Service
from .upstream import Request

#: The gateway's name in Via.
PSEUDONYM: Final = b"resilience"
_VERSIONS: Final = {"1": b"1.0", "1.0": b"1.0", "1.1": b"1.1", "2": b"2"}
_MAX_ORIGINS: Final = 4096  # remembered
_MAX_HOST: Final = 256  # bytes, of those


@attrs.frozen
class Route:
    """Where admitted requests go.

    Attributes:
        name: For people and filters.
        service: Answers.
        strip: What is taken off the path's front.
        filters: Its chain of filters; None: it has none.
    """

    name: str
    service: Service
    strip: bytes
    filters: Any = None


class Admitted:
    """A request that is to be forwarded.

    Attributes:
        route: Where to.
        request: What to send.
        path: What was matched, without the query.
        host: The Host header.
        parameters: Parts of the path, by name.
    """

    __slots__ = ("host", "parameters", "path", "request", "route")

    def __init__(self, route: Route, request: Request, path: bytes, host: bytes, parameters: Mapping[str, str]) -> None:
        self.route, self.request, self.path, self.host, self.parameters = route, request, path, host, parameters


_NO_PARAMETERS: Final[Mapping[str, str]] = {}


class Admission:
    """Admits requests as one configuration says. Filled once, then only read."""

    def __init__(self, config: GatewayConfig, services: Mapping[str, Service],
                 chain_of: Callable[[RouteConfig], Any] = lambda _: None) -> None:
        self._router: Router[Route] = Router()
        for route in config.routes:
            target = Route(route.path, services[route.service], (route.strip_prefix or "").encode(), chain_of(route))
            self._router.add(route.path, route.accepted(), target, route.host)
        self._allowed = frozenset(each.encode() for each in config.gateway.allow_encoded)
        self._is_trusted = trusted(config.gateway)
        self._own = frozenset(folded(each.encode()) for each in config.own_headers)
        self._proxies = self._own | {folded(each.encode()) for each in config.proxies_headers}
        self._origins: dict[tuple[str, bytes, str, int, str], Origin] = {}

    def admit(self, head: RequestHead) -> Admitted:
        """What to send where.

        Raises:
            Problem: The request is not to be forwarded.
        """
        headers = set_apart(head.headers)
        framing = framing_of(headers.special, head.version)
        method, path = head.method, head.path
        mistake = ambiguity(path, self._allowed)
        if mistake is not None:
            raise Problem(400, mistake, close=True)
        route, matched = self._route(method, path, framing.host), path
        if route.strip:
            path = stripped(path, route.strip)
            if path.startswith(b"//"):
                raise Problem(400, "the path would begin with two slashes", close=True)
        query = head.query
        if query:
            if not query_is_legal(query):
                raise Problem(400, "the query has characters that must be percent-encoded", close=True)
            path += b"?" + query
        service = route.service
        if framing.length and service.max_body is not None and framing.length > service.max_body:
            raise too_large(service.max_body)
        origin = self._origin(head, framing.host)
        if self._proxies:
            names = self._own if origin.trusted else self._proxies
            headers.plain, headers.special = without(headers.plain, names), without(headers.special, names)
        request = Request(
            method=method, target=path, host=framing.host if service.preserve_host else None,
            headers=to_upstream(headers, origin, PSEUDONYM), length=framing.length,
            body=b"" if framing.length == 0 else None)
        return Admitted(route, request, matched, framing.host, _NO_PARAMETERS)

    def _route(self, method: str, path: bytes, host: bytes) -> Route:
        try:
            return self._router.find(method, path, host)
        except NoRouteError:
            raise Problem(404, "there is no route for this path") from None
        except MethodNotAllowedError as error:
            allow = (b"allow", ", ".join(error.allow).encode())
            raise Problem(405, f"this path has no {method}", headers=[allow]) from None

    def _origin(self, head: RequestHead, host: bytes) -> Origin:
        client, server = head.client, head.server
        seen = (client[0] if client else "unknown", host, head.scheme, server[1] if server else 0, head.version)
        return self._origins.get(seen) or self._learn(seen)

    def _learn(self, seen: tuple[str, bytes, str, int, str]) -> Origin:
        peer, host, scheme, port, version = seen
        origin = Origin(client=peer.encode(), scheme=scheme.encode(), host=host, port=str(port).encode(),
                        version=_VERSIONS.get(version, b"1.1"), trusted=self._is_trusted(peer))
        if len(self._origins) >= _MAX_ORIGINS:
            self._origins.clear()
        if len(host) <= _MAX_HOST:
            self._origins[seen] = origin
        return origin


def trusted(settings: GatewaySettings) -> Callable[[str], bool]:
    """A function that says of a peer's address whether it is that of a trusted proxy."""
    networks = [ipaddress.ip_network(each) for each in settings.trusted_proxies]
    return (lambda peer: within_networks(peer, networks)) if networks else lambda _: False


def within_networks(peer: str, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    """Whether the address of a *peer*, which may be none, is in one of the *networks*."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:  # a Unix socket's peer has no address
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
