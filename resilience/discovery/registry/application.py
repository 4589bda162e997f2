"""The registry as an ASGI application: the protocol, and beside it what people and monitoring want to know.

    /eureka/, /eureka/v2/                   the protocol
    /                                       the page
    /registry                               the whole in figures, JSON
    /registry/instances/{app}/{id}          why an instance is listed, until when, and what would end that, JSON
    /metrics, /health                       for monitoring

Nobody needs a token unless there are some: those of clients are asked for by the protocol, those of operators, or of
clients if there are no others, by the page and /registry; an operator's token does for the protocol, too, and so does
that of a peer, another registry. If clients or peers have tokens, nobody but a peer may say what only a registry says.
A token is sent as ``Authorization: Bearer TOKEN``, or as the password of ``Basic``, as clients send what stands in the
URL of their registry.

Everything that the registry does is done between two awaits, in one thread; there is no lock.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final
from urllib.parse import unquote

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from ...core.http_problem import problem_body
from .explanation import explained, preservation
from .instance_reading import upper
from .instance_registry import InstanceRegistry
from .metrics import RegistryCollector
from .moment import Moment
from .page import page
from .peers import Peers
from .request import REPLICATION, Answer, Header, Request
from .rest import RestApi, below_base, raw_path
from .settings import RegistrySettings

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Owner = Callable[[bytes], str | None]

#: Longest time for a body to arrive, seconds.
_BODY_S: Final = 10.0
_TICK_S: Final = 1.0
#: Of a batch of another registry.
_MOST_BATCH_BYTES: Final = 4 << 20
_JSON: Final = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
_CHALLENGE: Final = (b"www-authenticate", b'Basic realm="resilience registry", charset="UTF-8"')
_INSTANCE: Final = re.compile(r"/registry/instances/([^/]+)/([^/]+)").fullmatch
_PAGE: Final = [
    (b"content-type", b"text/html; charset=utf-8"), (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
_logger = logging.getLogger(__name__)


def read_clocks() -> Moment:
    """Now."""
    return Moment(time.monotonic(), time.time_ns() // 1_000_000)


class RegistryApplication:
    """An ASGI 3 application. For one event loop.

    Args:
        settings: Of the registry.
        clients: Says whose token it is that a client has; None: clients need none.
        operators: The same for operators.
        replicas: The same for other registries.
        clock: Returns the time.

    Attributes:
        registry: The instances.
        peers: The other registries.
    """

    def __init__(self, settings: RegistrySettings | None = None, *, clients: Owner | None = None,
                 operators: Owner | None = None, replicas: Owner | None = None,
                 clock: Callable[[], Moment] = read_clocks) -> None:
        self._clock = clock
        self.registry = InstanceRegistry(RegistrySettings() if settings is None else settings, clock())
        self.peers = Peers(self.registry, clock)
        self._api = RestApi(self.registry)
        self._clients, self._operators, self._replicas = clients, operators, replicas
        self._metrics = CollectorRegistry(auto_describe=False)
        self._metrics.register(RegistryCollector(self.registry, self.peers, clock))

    def go_by(self, settings: RegistrySettings, *, clients: Owner | None, operators: Owner | None,
              replicas: Owner | None) -> None:
        """Go by other settings from now on, and keep all instances; see the class."""
        self.registry.go_by(settings, self._clock())
        self._api.claims.go_by(settings.instance_networks)
        self._clients, self._operators, self._replicas = clients, operators, replicas

    async def keep_time(self) -> None:
        """Do once a second what is due, for ever; a server's lifespan does."""
        is_keeping = False
        while True:
            await asyncio.sleep(_TICK_S)
            prevented = self.registry.counts["evictions_prevented"]
            evicted = self.registry.tick(self._clock(), random.sample)
            prevented = self.registry.counts["evictions_prevented"] - prevented
            if prevented and not is_keeping:
                _logger.warning("self-preservation: %d leases have run out and are kept, since too few renewals come",
                                prevented)
            is_keeping = prevented > 0 or (is_keeping and not evicted)
            for lease in evicted:
                instance = lease.entry.instance
                _logger.info("the lease of %s %s has run out", instance.app, instance.id)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            answer = await self._answer(scope, receive)
            headers = [*answer.headers]
            if answer.status != 204:
                headers.append((b"content-length", b"%d" % len(answer.body)))
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})
        else:
            raise RuntimeError(f"the registry speaks HTTP only, not {scope['type']}")

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        ticking = asyncio.ensure_future(self.keep_time())
        try:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        finally:
            ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ticking
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        headers = dict(reversed(scope["headers"]))  # the first of a name wins
        path = raw_path(scope.get("raw_path") or scope["path"].encode())
        path = path.removeprefix(scope.get("root_path", ""))
        token = _token(headers.get(b"authorization", b""))
        is_peer = token is not None and self._replicas is not None and self._replicas(token) is not None
        refused = self._refused(path, headers, token, is_peer)
        if refused is not None:
            return refused
        body = b""
        if scope["method"] not in ("GET", "HEAD"):
            most = self.registry.settings.max_body_bytes
            if is_for_registries(path, headers):
                most = max(most, _MOST_BATCH_BYTES)
            try:
                async with asyncio.timeout(_BODY_S):
                    taken = await _body(receive, most)
            except TimeoutError:
                return self._broken(408, "slow_body", f"the body did not come within {_BODY_S:g} s")
            if taken is None:
                return self._broken(400, "broken_body", "the body did not arrive")
            if len(taken) > most:
                return self._broken(413, "large_body", f"the body is larger than {most} bytes")
            body = taken
        return self._handle(Request(
            method=scope["method"], path=path, query=scope["query_string"].decode("latin-1"),
            headers=headers, body=body, peer=(scope.get("client") or ("",))[0],
            server=(scope.get("server") or ("",))[0], is_peer=is_peer))

    def _broken(self, status: int, reason: str, detail: str) -> Answer:
        """The answer to a body that has not come; what follows on its connection cannot be trusted."""
        self.registry.counts[f"refused_{reason}"] += 1
        return _problem(status, detail, (b"connection", b"close"))

    def _handle(self, request: Request) -> Answer:
        now = self._clock()
        answer = self._api.answer(request, now)
        if answer is not None:
            return answer
        if request.method not in ("GET", "HEAD"):
            return _problem(405, f"this path has no {request.method}", (b"allow", b"GET, HEAD"))
        if request.path == "/":
            return Answer(200, page(self.registry, self.peers.report(now), self._storage(now), now), _PAGE)
        if request.path == "/registry":
            return _json(200, self._figures(now))
        if request.path == "/metrics":
            return self._exposition(request)
        if request.path == "/health":
            is_complete = self.registry.is_complete
            return _json(200 if is_complete else 503, {
                "status": "ok" if is_complete else "waiting for the list of another registry or of the shared store",
                "instances": len(self.registry)})
        found = _INSTANCE(request.path)
        if found is None:
            return _problem(404, "there is no such path here; try /, /eureka/apps, /registry, /metrics or /health")
        known = explained(self.registry, upper(unquote(found[1])), unquote(found[2]), now)
        if known is None:
            return _problem(404, "there is no such instance, and none of this name has left lately")
        return _json(200 if known["listed"] else 404, known)

    def _figures(self, now: Moment) -> dict[str, Any]:
        snapshot = self.registry.snapshot()
        return {"version": snapshot.version, "hash": snapshot.hashcode, "instances": len(self.registry),
                "applications": {name: dict(each.statuses) for name, each in snapshot.applications.items()},
                "self_preservation": preservation(self.registry, now), "registry": self.registry.name,
                "complete": self.registry.is_complete, "peers": self.peers.report(now),
                "shared": self._storage(now),
                "counts": dict(self.registry.counts)}

    def _storage(self, now: Moment) -> Mapping[str, Any] | None:
        return None if self.peers.storage is None else self.peers.storage.report(now)

    def _exposition(self, request: Request) -> Answer:
        encode, content_type = choose_encoder(request.header(b"accept"))
        return Answer(200, encode(self._metrics), [(b"content-type", content_type.encode())])

    def _refused(self, path: str, headers: dict[bytes, bytes], token: bytes | None, is_peer: bool) -> Answer | None:
        """The answer to a request that may not be, which is counted; None: it may."""
        origin, counts = headers.get(b"origin"), self.registry.counts
        if origin is not None and origin.partition(b"://")[2] != headers.get(b"host"):
            counts["refused_origin"] += 1
            return _problem(403, "a page of another origin may not use the registry")
        if path in ("/metrics", "/health") or is_peer:
            return None
        is_protocol = below_base(path) is not None
        needed = self._clients if is_protocol else self._operators or self._clients
        asked = (self._clients, self._operators) if is_protocol else (self._operators or self._clients,)
        if needed is not None and (token is None or not any(
                owner is not None and owner(token) is not None for owner in asked)):
            counts["refused_unauthenticated"] += 1
            return _problem(401, "the registry needs a token: Authorization: Bearer TOKEN", _CHALLENGE)
        if (self._clients or self._replicas) is not None and is_for_registries(path, headers):
            counts["refused_replication"] += 1
            return _problem(403, "only another registry may say this, with a token of [tokens] peers")
        return None


def is_for_registries(path: str, headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request says, or asks, what only registries do among themselves."""
    return headers.get(REPLICATION, b"").lower() == b"true" or (below_base(path) or ("",))[0] == "peerreplication"


def _token(authorization: bytes) -> bytes | None:
    """The token that a request has; None: none."""
    scheme, _, value = authorization.partition(b" ")
    if scheme.lower() == b"bearer":
        return value.strip()
    if scheme.lower() != b"basic":
        return None
    try:
        return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
    except ValueError:
        return None


async def _body(receive: Receive, most: int) -> bytes | None:
    """All of a request's body, or more than *most* bytes of it; None: it does not arrive."""
    body, more = b"", True
    while more and len(body) <= most:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


def _json(status: int, value: Any) -> Answer:
    return Answer(status, json.dumps(value, indent=2).encode() + b"\n", _JSON)


def _problem(status: int, detail: str, *headers: Header) -> Answer:
    return Answer(status, problem_body(status, detail), [(b"content-type", b"application/problem+json"), *headers])
