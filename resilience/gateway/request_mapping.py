"""Admission: from the head of a request to what is sent upstream, or a Problem. Pure.

Framing first, then host and path in their canonical forms, then the route, then the headers: nothing is decided
on a request that two parties could read differently.
"""

from __future__ import annotations

import random as random_numbers
from collections.abc import Callable, Mapping
from typing import Any, Final

from .client_addresses import ClientAddresses
from .config import GatewayConfig, RouteConfig
from .config.routes import names_of
from .messages.exchange import Request
from .messages.framing import VERSIONS, framing_of
from .messages.headers import Origin, folded, set_apart, to_upstream, without
from .messages.inbound import RequestHead
from .messages.max_forwards import BOUNDED, counted_down
from .messages.problem import Problem, ServerOptions, too_large
from .mirroring import Mirror
from .routes import Route, Split
from .routing.authority import NOBODY, Authority, AuthorityError, absolute, authority
from .routing.paths import Path, PathError, canonical, query_is_legal
from .routing.predicates import STANDARD_METHODS, is_token
from .routing.router import Entry, MethodNotAllowedError, NoRouteError, Router
from .services.service import Service

#: The gateway's name in Via.
PSEUDONYM: Final = b"resilience"
_MAX_KNOWN: Final = 4096  # origins, authorities and methods remembered
_MAX_HOST: Final = 256  # bytes, of those


class Admitted:
    """A request that is to be forwarded.

    Attributes:
        route: Its route, and with it the service.
        request: What to send there.
        path: What was matched, in its canonical form and without the query.
        host: The Host header, in its canonical form.
    """

    __slots__ = ("_name", "host", "path", "request", "route")

    def __init__(self, route: Route, request: Request, path: Path, host: bytes) -> None:
        self.route, self.request, self.path, self._name, self.host = route, request, path.raw, path.name, host

    @property
    def parameters(self) -> dict[str, str]:
        """The values of the parameters in the route's path, decoded."""
        return self.route.pattern.parameters(self._name)


class Admission:
    """Admits requests as one configuration says. Filled once, then only read.

    Attributes:
        mirrors: By the names of the routes that have one.
    """

    def __init__(self, config: GatewayConfig, services: Mapping[str, Service],
                 chain_of: Callable[[RouteConfig], Any] = lambda _: None, *,
                 random: Callable[[], float] = random_numbers.random,
                 before: Mapping[str, Mirror] | None = None) -> None:
        """From a configuration that was checked.

        Args:
            config: Its routes are in use from now on.
            services: By name.
            chain_of: Makes the filters of a route; None: it has none.
            random: Draws for weights and mirrors: a number from 0 to 1, 1 excluded.
            before: The mirrors of the former configuration; None: there was none.
        """
        self.mirrors: dict[str, Mirror] = {}
        self._clients = ClientAddresses.behind(config.gateway.trusted_proxies)
        self._router: Router[Route | Split] = Router()
        for settings, name in zip(config.routes, names_of(config.routes), strict=True):
            weighted = Route.each_of(settings, name, services, random,
                                     weights=config.weights_of(settings), filters=chain_of(settings),
                                     before=(before or {}).get(name))
            mirror = next(iter(weighted)).mirror
            if mirror is not None:
                self.mirrors[name] = mirror
            target = next(iter(weighted)) if len(weighted) == 1 else \
                Split(weighted, name, settings.sticky, self._clients.address_of, random)
            predicates = settings.predicates
            self._router.add(next(iter(weighted)).pattern, Entry(
                target, predicates.methods, predicates.checks(self._clients.address_of), settings.priority,
                predicates.count), settings.host)
        self._allowed = frozenset(each.encode() for each in config.gateway.allow_encoded)
        self._authorities: dict[bytes, Authority] = {b"": NOBODY}
        self._methods: set[str] = {*STANDARD_METHODS}
        self._own = frozenset(folded(each.encode()) for each in config.own_headers)
        self._proxies = self._own | {folded(each.encode()) for each in config.proxies_headers}
        self._tells_clients = any(each.balancing.hash_by == "client" for each in config.services.values())
        self._origins: dict[tuple[str, bytes, str, int, str], Origin] = {}

    def admit(self, head: RequestHead) -> Admitted:
        """What to send to which service.

        Raises:
            Problem: The request is not to be forwarded, but answered so.
        """
        headers = set_apart(head.headers)
        framing = framing_of(headers.special, head.version, unsized=head.unsized)
        if head.method not in self._methods:
            self._check_method(head.method)
        host, target = self._authorities.get(framing.host) or self._authority(framing.host), head.path
        if not target.startswith(b"/"):
            host, target = self._other_form(head, host)
        try:
            path = canonical(target, self._allowed)
            route = self._route(head, path, host)
            raw = path.raw if route.rewrite is None else route.rewrite.apply(path.raw)
        except PathError as error:
            raise Problem(400, f"{error}", close=True) from None
        query = head.query
        if query:
            if not query_is_legal(query):
                raise Problem(400, "the query has characters that must be percent-encoded", close=True)
            raw += b"?" + query
        service = route.service
        if framing.length and service.max_body is not None and framing.length > service.max_body:
            raise too_large(service.max_body)
        origin = self._origin(head, host.text)
        if head.method in BOUNDED:
            headers.plain = counted_down(head.method, headers.plain)
        if self._proxies:
            names = self._own if origin.trusted else self._proxies
            headers.plain, headers.special = without(headers.plain, names), without(headers.special, names)
        request = Request(
            method=head.method, target=raw, host=host.text or None if service.preserve_host else None,
            headers=to_upstream(headers, origin, PSEUDONYM), length=framing.length,
            body=b"" if framing.length == 0 else None, client=self._client(head) if self._tells_clients else None)
        return Admitted(route, request, path, host.text or b"")

    def _client(self, head: RequestHead) -> bytes | None:
        address = self._clients.address_of(head)
        return None if address is None else f"{address}".encode()

    def _route(self, head: RequestHead, path: Path, host: Authority) -> Route:
        """The route of a request, which every reading of its path must lead to."""
        try:
            found = self._router.find(path.name, host.name, head)
        except NoRouteError:
            raise Problem(404, "there is no route for this path") from None
        except MethodNotAllowedError as error:
            allow = (b"allow", ", ".join(error.allow).encode())
            raise Problem(405, f"this path has no {head.method}", headers=[allow]) from None
        for reading in path.readings() if path.doubtful else ():
            try:
                same = self._router.find(reading, host.name, head) is found
            except (NoRouteError, MethodNotAllowedError):
                same = False
            if not same:
                raise Problem(400, "the path can be read as that of another route", close=True)
        return found.choose(head) if isinstance(found, Split) else found

    def _check_method(self, method: str) -> None:
        """Look at a method that was not seen before."""
        if method == "CONNECT":
            raise Problem(501, "the gateway opens no tunnels", close=True)
        if not is_token(method):
            raise Problem(400, "the request has a method that is no token", close=True)
        if len(self._methods) < _MAX_KNOWN and len(method) <= _MAX_HOST:
            self._methods.add(method)

    def _authority(self, host: bytes) -> Authority:
        """Look at a host that was not seen before."""
        try:
            found = authority(host)
        except AuthorityError as error:
            raise Problem(400, f"the request has {error}", close=True) from None
        if len(self._authorities) >= _MAX_KNOWN:
            self._authorities = {b"": NOBODY}
        if len(host) <= _MAX_HOST:
            self._authorities[host] = found
        return found

    def _other_form(self, head: RequestHead, host: Authority) -> tuple[Authority, bytes]:
        """Authority and path of a request target that is no path (RFC 9112, 3.2).

        Raises:
            Problem: It is the answer to OPTIONS *, or refuses what is no target of a gateway's.
        """
        if head.path == b"*" and head.method == "OPTIONS" and not head.query:
            raise ServerOptions
        try:
            named = absolute(head.path, is_secured=head.scheme == "https" or self._clients.peer_is_trusted(head))
            if named is None:
                return host, head.path
            host = authority(named[0])
        except AuthorityError as error:
            raise Problem(400, f"the request has {error}", close=True) from None
        if not named[1] and head.method == "OPTIONS" and not head.query:
            raise ServerOptions
        return host, named[1] or b"/"

    def _origin(self, head: RequestHead, host: bytes) -> Origin:
        client, server = head.client, head.server
        seen = (client[0] if client else "unknown", host, head.scheme, server[1] if server else 0, head.version)
        return self._origins.get(seen) or self._learn(seen)

    def _learn(self, seen: tuple[str, bytes, str, int, str]) -> Origin:
        peer, host, scheme, port, version = seen
        origin = Origin(client=peer.encode(), scheme=scheme.encode(), host=host, port=str(port).encode(),
                        version=VERSIONS[version], trusted=self._clients.is_trusted(peer))
        if len(self._origins) >= _MAX_KNOWN:
            self._origins.clear()
        if len(host) <= _MAX_HOST:
            self._origins[seen] = origin
        return origin
