"""The process of a registry: its file, its listener, and its end. What ``resilience registry`` runs.

It listens on the gateway's own front, with the same keys (``[listener]``): TLS, HTTP/2, the PROXY protocol, and bounds
on connections and rates of each client. SIGINT and SIGTERM let requests under way end. SIGHUP has the file read again,
which changes everything but ``drain_timeout``, and keeps the instances.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
from collections.abc import Callable

from ...config import Document
from ...errors import ConfigError
from ...gateway.config.registry import RegistryConfig, read_registry_file
from ...gateway.listeners import Listeners
from ...gateway.open_files import allow_open_files
from ...gateway.registry_host import RegistryHost
from ...gateway.reloads import Reloads
from ...gateway.server import STOPPING, listen, log_to_stderr, new_loop, settle_memory, signals_heard


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


async def reload(host: RegistryHost, listeners: Listeners, read: Callable[[], RegistryConfig]) -> None:
    """Read the configuration of a registry again and put it in force, all or nothing.

    Args:
        host: Has the registry.
        listeners: Has its listener.
        read: Reads the configuration.

    Raises:
        ConfigError: It has mistakes.
        ServeError: Its port is taken.
    """
    config = await asyncio.to_thread(read)
    await listeners.change([host.served(config)], functools.partial(host.change, config))


def run(config: RegistryConfig, read: Callable[[], RegistryConfig], *, ready: Callable[[], None] | None = None) -> None:
    """Serve a registry until SIGINT or SIGTERM; the process's main job.

    Args:
        config: See load().
        read: Reads it again, when SIGHUP asks for that.
        ready: Called once it listens.

    Raises:
        ServeError: The port is taken.
    """
    log_to_stderr()
    allow_open_files(config.listener.max_connections)

    async def main() -> None:
        stop, host = asyncio.Event(), RegistryHost(config)
        listeners = Listeners(drain_s=config.listener.drain_timeout)
        reloads = Reloads(functools.partial(reload, host, listeners, read), asyncio.Lock())
        asked = functools.partial(reloads.soon, "the registry's configuration, as SIGHUP asks for")
        try:
            with signals_heard({**dict.fromkeys(STOPPING, stop.set), signal.SIGHUP: asked}, to_the_end=True):
                host.start()
                await listen([host.served()], stop, ready, listeners)
        finally:
            await host.close()

    settle_memory()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
