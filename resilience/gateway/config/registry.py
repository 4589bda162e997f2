"""A service registry: what its own file says, or the ``[registry]`` table of the gateway that it is embedded in.

The file has [registry], [listener], [tokens], [shared] and [[peers]]. In a gateway's file all of that is in one table:
[registry], [registry.listener], [registry.tokens], [registry.shared] and [[registry.peers]].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from ...config import Document
from ...config.hints import unknown
from ...config.structure import told
from ...core.checks import number
from ...discovery.instance import name_of, url_mistake
from ...discovery.registry.settings import RegistrySettings
from .checks import authorities_mistake, checked
from .listeners import GatewaySettings
from .secrets import secret_place
from .shared import RegistryStoreSettings
from .tokens import tokens_checked

DEFAULT_PORT: Final = 8761
#: Of a registry's own file.
TABLES: Final = ("registry", "listener", "tokens", "shared", "peers")
#: Keys of [gateway] that say nothing of listening, or of what only a gateway does with a request.
_NOT_OF_A_LISTENER: Final = frozenset({
    "allow_encoded", "upload_timeout", "min_upload_rate", "statistics", "filters", "filter_modules", "error_endpoint"})
LISTENER_KEYS: Final = tuple(each.name for each in attrs.fields(GatewaySettings) if each.name not in _NOT_OF_A_LISTENER)


@attrs.frozen(kw_only=True)
class TokenSettings:
    """The ``[tokens]`` table: who may use the registry, by name, each with where the secret is.

    Attributes:
        clients: Who may use the protocol; none: everybody who reaches it.
        operators: Who may see the page and /registry, and use the protocol, too; none: everybody who reaches it.
        peers: Other registries, which may replicate; none: everybody may, if clients need no token either, and is
            believed no more than a client.
    """

    clients: Mapping[str, str] = attrs.field(factory=dict, validator=tokens_checked)
    operators: Mapping[str, str] = attrs.field(factory=dict, validator=tokens_checked)
    peers: Mapping[str, str] = attrs.field(factory=dict, validator=tokens_checked)


@attrs.frozen(kw_only=True)
class PeerSettings:
    """A ``[[peers]]`` table: another registry.

    Attributes:
        url: Its base URL, such as "https://registry-2.example:8761/eureka".
        token: Where the token is that this registry sends, "env:NAME" or "file:PATH"; None: none is sent.
        ca_file: Certificates in PEM of the authorities that it is verified by; None: the system's.
        timeout: Longest time for one exchange with it, seconds.
    """

    url: str = attrs.field(validator=checked(url_mistake))
    token: str | None = attrs.field(default=None, validator=secret_place)
    ca_file: str | None = attrs.field(default=None, validator=checked(authorities_mistake, optional=True))
    timeout: float = attrs.field(default=5.0, validator=number(above=0, most=300.0))


@attrs.frozen(kw_only=True)
class RegistryConfig:
    """What a registry's file says, or the table of a gateway's."""

    registry: RegistrySettings = attrs.field(factory=RegistrySettings)
    listener: GatewaySettings = attrs.field(factory=lambda: GatewaySettings(bind=f"127.0.0.1:{DEFAULT_PORT}"))
    tokens: TokenSettings = attrs.field(factory=TokenSettings)
    shared: RegistryStoreSettings | None = None
    peers: tuple[PeerSettings, ...] = ()

    @property
    def url(self) -> str:
        """Where it is, for people."""
        return self.listener.url


def read_registry_file(document: Document) -> RegistryConfig | None:
    """What a registry's own file says; None if it has mistakes, which are noted."""
    for name in document.data:
        if name not in TABLES:
            document.mistake((name,), unknown(name, TABLES, what="table"))
    return _read(document, (), document.table("registry"), document.data)


def read_embedded(document: Document) -> RegistryConfig | None:
    """The registry in a gateway's file; None if there is none, or it has mistakes, which are noted."""
    if "registry" not in document.data:
        return None
    table = document.table("registry")
    settings = [each.name for each in attrs.fields(RegistrySettings)]
    for name in table:
        if name not in (*settings, *TABLES[1:]):
            document.mistake(("registry", name), unknown(name, (*settings, *TABLES[1:])))
    return _read(document, ("registry",), {name: table[name] for name in settings if name in table}, table)


def _read(document: Document, above: tuple[str, ...], own: Mapping[str, Any],
          tables: Mapping[str, Any]) -> RegistryConfig | None:
    """The registry whose *own* keys are these, and whose other tables are among *tables*."""
    known = len(document.mistakes)
    said = tables.get("listener", {})
    where = (*above, "listener")
    if not isinstance(said, Mapping):
        document.mistake(where, f"must be a table ([{'.'.join(where)}]), not {told(said, dict)}")
        said = {}
    listener: dict[str, Any] = {"bind": f"127.0.0.1:{DEFAULT_PORT}", **said}
    for name in [*listener]:
        if name in _NOT_OF_A_LISTENER:
            document.mistake((*where, name), unknown(name, LISTENER_KEYS))
            del listener[name]
    found = (document.structure(RegistrySettings, "registry", given=own),
             document.structure(GatewaySettings, *where, given=listener),
             document.structure(TokenSettings, *above, "tokens"),
             document.structure(RegistryStoreSettings, *above, "shared") if "shared" in tables else None,
             _peers(document, (*above, "peers"), tables.get("peers", [])))
    settings, listens, tokens, shared, peers = found
    if settings is None or listens is None or tokens is None or len(document.mistakes) > known:
        return None
    return RegistryConfig(registry=settings, listener=listens, tokens=tokens, shared=shared, peers=peers)


def _peers(document: Document, where: tuple[str, ...], said: Any) -> tuple[PeerSettings, ...]:
    """The peers of a registry: tables, or nothing but URLs."""
    if not isinstance(said, list):
        document.mistake(where, f"must be a list of tables ([[{'.'.join(where)}]]), or of URLs")
        return ()
    found: dict[str, PeerSettings] = {}
    for index, each in enumerate(said):
        peer = document.structure(PeerSettings, *where, index, given={"url": each} if isinstance(each, str) else each)
        if peer is not None and found.setdefault(name_of(peer.url), peer) is not peer:
            document.mistake((*where, index), f"{name_of(peer.url)} is there twice")
    return tuple(found.values())
