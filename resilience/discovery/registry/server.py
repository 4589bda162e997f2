"""The process of a registry: its file, its listener, and its end. What ``resilience registry`` runs.

It listens on the gateway's own front, with the same keys (``[listener]``): TLS, HTTP/2, the PROXY protocol, and bounds
on connections and rates of each client. SIGINT and SIGTERM let requests under way end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from ...config import Document
from ...config.hints import unknown
from ...errors import ConfigError
from ...gateway.config import GatewaySettings
from ...gateway.config.tokens import Doorkeeper, tokens_checked
from ...gateway.front.asgi_bridge import AsgiBridge
from ...gateway.listeners import Listeners, Served
from ...gateway.server import listen, log_to_stderr, new_loop, settle_memory, signals_set
from .application import RegistryApplication
from .settings import RegistrySettings

DEFAULT_PORT: Final = 8761
TABLES: Final = ("registry", "listener", "tokens")
#: Keys of [gateway] that say nothing of listening, or of what only a gateway does with a request.
_NOT_OF_A_LISTENER: Final = frozenset({
    "allow_encoded", "upload_timeout", "upload_rate", "statistics", "filters", "filter_modules", "error_endpoint"})
LISTENER_KEYS: Final = tuple(each.name for each in attrs.fields(GatewaySettings) if each.name not in _NOT_OF_A_LISTENER)


@attrs.frozen(kw_only=True)
class TokenSettings:
    """The ``[tokens]`` table: who may use the registry, by name, each with where the secret is.

    Attributes:
        clients: Who may use the protocol; none: everybody who reaches it.
        operators: Who may see the page and /registry, and use the protocol, too; none: everybody who reaches it.
    """

    clients: Mapping[str, str] = attrs.field(factory=dict, validator=tokens_checked)
    operators: Mapping[str, str] = attrs.field(factory=dict, validator=tokens_checked)


@attrs.frozen(kw_only=True)
class RegistryConfig:
    """What the file of a registry says."""

    registry: RegistrySettings = attrs.field(factory=RegistrySettings)
    listener: GatewaySettings = attrs.field(factory=lambda: GatewaySettings(bind=f"127.0.0.1:{DEFAULT_PORT}"))
    tokens: TokenSettings = attrs.field(factory=TokenSettings)


def load(path: str | os.PathLike[str]) -> RegistryConfig:
    """Read and check the file of a registry.

    Args:
        path: Path of a TOML file.

    Raises:
        ConfigFileError: The file has mistakes; all of them are listed, each with file, line and key.
    """
    document = Document.read(path)
    for name in document.data:
        if name not in TABLES:
            document.mistake((name,), unknown(name, TABLES, what="table"))
    listener: dict[str, Any] = {"bind": f"127.0.0.1:{DEFAULT_PORT}", **document.table("listener")}
    for name in [*listener]:
        if name in _NOT_OF_A_LISTENER:
            document.mistake(("listener", name), unknown(name, LISTENER_KEYS))
            del listener[name]
    found = (document.structure(RegistrySettings, "registry"),
             document.structure(GatewaySettings, "listener", given=listener),
             document.structure(TokenSettings, "tokens"))
    document.finish()
    settings, listens, tokens = found
    if settings is None or listens is None or tokens is None:
        raise ConfigError(f"{path} cannot be read")
    return RegistryConfig(registry=settings, listener=listens, tokens=tokens)


def run(config: RegistryConfig, *, ready: Callable[[], None] | None = None) -> None:
    """Serve a registry until SIGINT or SIGTERM; the process's main job.

    Args:
        config: See load().
        ready: Called once it listens.

    Raises:
        ServeError: The port is taken.
    """
    log_to_stderr()
    application = RegistryApplication(
        config.registry, clients=_owner(config.tokens.clients), operators=_owner(config.tokens.operators))

    async def main() -> None:
        stop = asyncio.Event()
        served = Served("registry", AsgiBridge(application).serve, config.listener.bind, config.listener)
        ticking = asyncio.ensure_future(application.keep_time())
        try:
            with signals_set(stop):
                await listen([served], stop, ready, Listeners(drain_s=config.listener.drain_timeout))
        finally:
            ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ticking

    settle_memory()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


def _owner(tokens: Mapping[str, str]) -> Callable[[bytes], str | None] | None:
    return Doorkeeper(tokens).owner if tokens else None
