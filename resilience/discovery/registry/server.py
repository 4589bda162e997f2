"""The process of a registry: its file, its listener, and its end. What ``resilience registry`` runs.

It listens on the gateway's own front, with the same keys (``[listener]``): TLS, HTTP/2, the PROXY protocol, and bounds
on connections and rates of each client. SIGINT and SIGTERM let requests under way end.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from ...config import Document
from ...errors import ConfigError
from ...gateway.config.registry import RegistryConfig, read_registry_file
from ...gateway.listeners import Listeners
from ...gateway.open_files import allow_open_files
from ...gateway.registry_host import RegistryHost
from ...gateway.server import listen, log_to_stderr, new_loop, settle_memory, signals_set


def load(path: str | os.PathLike[str]) -> RegistryConfig:
    """Read and check the file of a registry.

    Args:
        path: Path of a TOML file.

    Raises:
        ConfigFileError: The file has mistakes; all of them are listed, each with file, line and key.
    """
    document = Document.read(path)
    config = read_registry_file(document)
    document.finish()
    if config is None:
        raise ConfigError(f"{path} cannot be read")
    return config


def run(config: RegistryConfig, *, ready: Callable[[], None] | None = None) -> None:
    """Serve a registry until SIGINT or SIGTERM; the process's main job.

    Args:
        config: See load().
        ready: Called once it listens.

    Raises:
        ServeError: The port is taken.
    """
    log_to_stderr()
    allow_open_files(config.listener.max_connections)

    async def main() -> None:
        stop, host = asyncio.Event(), RegistryHost(config)
        try:
            with signals_set(stop):
                host.start()
                await listen([host.served()], stop, ready, Listeners(drain_s=config.listener.drain_timeout))
        finally:
            await host.close()

    settle_memory()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
