"""RegistryHost: a service registry on the gateway's own front, with peers that the gateway's own client speaks to.

``resilience registry`` is one in a process of its own. In a gateway it is in the supervisor's process, which there is
one of, and which outlives its workers and every reload: the instances are kept when the file changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Iterable, Mapping
from typing import Final

from ..discovery.registry.application import Owner, RegistryApplication
from ..discovery.registry.peer import Ask, PeerTerms
from ..discovery.registry.peers import PeerPlace, StoragePlace
from ..discovery.registry.request import REPLICATION
from ..errors import ConfigError
from ..shared.redis_client import redis_module
from .config.contents import of_files
from .config.endpoints import EndpointConfig
from .config.registry import PeerSettings, RegistryConfig
from .config.secrets import secret_of
from .config.tokens import TokenOwners
from .front.asgi_bridge import AsgiBridge
from .listeners import Served
from .messages.exchange import Endpoint, Request, UpstreamClient, UpstreamError, client_tls
from .registry_records import RegistryRecords
from .services.served_endpoint import ServedEndpoint
from .services.trouble import trouble_of
from .services.whole_answer import whole_answer
from .upstream.http1 import Http1Client

_CONNECT_S: Final = 2.0
_logger = logging.getLogger(__name__)


class RegistryHost:
    """Serves a registry. Of one event loop."""

    def __init__(self, config: RegistryConfig) -> None:
        """Nothing is listened on yet, and nobody asked.

        Args:
            config: See there.

        Raises:
            ConfigError: A secret is not there.
        """
        self._config, self._client = config, Http1Client()
        clients, operators, replicas = _owners(config)
        self.application = RegistryApplication(
            config.registry, clients=clients, operators=operators, replicas=replicas)
        self._bridge = AsgiBridge(self.application)
        self._ticking: asyncio.Future[None] | None = None

    def served(self, config: RegistryConfig | None = None) -> Served:
        """What is served where, by another *config* than the one in force if there is one."""
        config = self._config if config is None else config
        return Served("registry", self._bridge.serve, config.listener.bind, config.listener,
                      current=lambda: self._config.listener)

    def start(self) -> None:
        """Time passes from now on, and peers are told.

        Raises:
            ConfigError: A secret is not there; nothing has begun.
        """
        places, storage = self.prepared()
        self._ticking = asyncio.ensure_future(self.application.keep_time())
        self._warn()
        self.application.peers.start(places, self._config.registry.start_wait, storage)

    def prepared(self) -> tuple[list[PeerPlace], StoragePlace | None]:
        """The other registries, and the store, as they are to be spoken to; nobody is asked yet.

        Raises:
            ConfigError: A secret is not there, or redis-py is not.
        """
        return self._places(self._config), _storage_of(self._config)

    def change(self, config: RegistryConfig) -> None:
        """Go by another *config* from now on, and keep all instances.

        Raises:
            ConfigError: A secret is not there; nothing has changed.
        """
        clients, operators, replicas = _owners(config)
        places, storage, before = self._places(config), _storage_of(config), self._config
        self._config = config
        if config != before:
            self._warn()
        self.application.go_by(config.registry, clients=clients, operators=operators, replicas=replicas)
        self.application.peers.go_by(places, storage)

    async def close(self) -> None:
        """Tell peers and the shared store what they have not heard of, if that is quick, and end."""
        if self._ticking is not None:
            self._ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticking
        await self.application.peers.close()
        self._client.close()

    def _places(self, config: RegistryConfig) -> list[PeerPlace]:
        settings = config.registry
        return [PeerPlace(
            each.url, asking(each, self._client),
            PeerTerms(timeout_s=each.timeout, compare_s=settings.compare_interval, most_queued=settings.peer_queue),
            (each, _token_of(each), _authorities_of(each))) for each in config.peers]

    def _warn(self) -> None:
        tokens = self._config.tokens
        if self._config.peers and not tokens.peers:
            _logger.warning(
                "there are peers, and no tokens.peers: %s", "nobody may replicate to this registry"
                if tokens.clients else "what they replicate is believed no more than what a client registers")


def _storage_of(config: RegistryConfig) -> StoragePlace | None:
    """Where registries keep their list together.

    Raises:
        ConfigError: A secret is not there, or redis-py is not.
    """
    if config.shared is None:
        return None
    redis_module("redis.asyncio")
    settings, address = config.shared, config.shared.address
    return StoragePlace(functools.partial(RegistryRecords, settings, address), config.registry.peer_queue,
                        (settings, address))


def _owners(config: RegistryConfig) -> tuple[Owner | None, Owner | None, Owner | None]:
    tokens = config.tokens
    return _owner(tokens.clients), _owner(tokens.operators), _owner(tokens.peers)


def _owner(tokens: Mapping[str, str]) -> Owner | None:
    return TokenOwners(tokens).owner if tokens else None


def _token_of(peer: PeerSettings) -> bytes:
    return b"" if peer.token is None else secret_of(peer.token)


def _authorities_of(peer: PeerSettings) -> bytes:
    try:
        return b"".join(of_files(peer.ca_file))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{peer.ca_file} cannot be read: {getattr(error, 'strerror', None) or error}", "ca_file") from None


def asking(peer: PeerSettings, client: UpstreamClient) -> Ask:
    """Sends requests to a *peer* with a *client*.

    Redirects are not followed, and an answer that is larger than it may be is not read to its end.

    Raises:
        ConfigError: A secret is not there, or a file of certificates.
    """
    tls = functools.partial(client_tls, peer.ca_file)
    place = ServedEndpoint(EndpointConfig(url=peer.url), Endpoint.parse(peer.url, tls))
    token = _token_of(peer)
    headers = [(b"user-agent", b"resilience-registry"), (b"accept", b"application/json"),
               (b"content-type", b"application/json"), (REPLICATION, b"true"),
               (b"discoveryidentity-name", b"DefaultServer")]
    if token:
        headers.append((b"authorization", b"Bearer " + token))
    return functools.partial(_asked, client, place, headers)


async def _asked(client: UpstreamClient, place: ServedEndpoint, headers: Iterable[tuple[bytes, bytes]], method: str,
                 path: str, body: bytes, most: int) -> tuple[int, bytes]:
    request = Request(method=method, target=path.encode(), host=None, headers=list(headers), body=body,
                      length=len(body))
    try:
        return await whole_answer(client, place, request, connect_timeout=_CONNECT_S, most=most)
    except UpstreamError as error:
        raise ConnectionError(trouble_of(error)) from error
