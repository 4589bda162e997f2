"""The process of a registry: its file, its listener, and its end. What ``resilience registry`` runs.

It listens on the gateway's own front, with the same keys (``[listener]``): TLS, HTTP/2, the PROXY protocol, and bounds
on connections and rates of each client. SIGINT and SIGTERM let requests under way end. SIGHUP has the file read again,
which changes everything but ``drain_timeout``, and keeps the instances.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import signal
from collections.abc import Callable

from ...config import Document
from ...errors import ConfigError
from ...gateway.config.registry import RegistryConfig, read_registry_file
from ...gateway.listeners import Listeners, ServeError
from ...gateway.open_files import allow_open_files
from ...gateway.registry_host import RegistryHost
from ...gateway.server import STOPPING, listen, log_to_stderr, new_loop, settle_memory, signals_heard

_logger = logging.getLogger(__name__)


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


class Reloads:
    """Reads the configuration of a registry again and puts it in force, all or nothing. Of one event loop."""

    def __init__(self, host: RegistryHost, listeners: Listeners, read: Callable[[], RegistryConfig]) -> None:
        self._host, self._listeners, self._read = host, listeners, read
        self._lock = asyncio.Lock()
        self._under_way: set[asyncio.Task[None]] = set()

    def begin(self) -> None:
        """Reload once those are over that were asked for before, and log how that went."""
        job = asyncio.get_running_loop().create_task(self._reload())
        self._under_way.add(job)
        job.add_done_callback(self._under_way.discard)

    async def _reload(self) -> None:
        async with self._lock:
            try:
                config = await asyncio.to_thread(self._read)
                await self._listeners.change([self._host.served(config)], functools.partial(self._host.change, config))
            except (ConfigError, ServeError) as error:
                for mistake in getattr(error, "mistakes", (error,)):
                    _logger.error("the configuration stays as it is: %s", mistake)
            else:
                _logger.warning("reloaded the registry's configuration, as SIGHUP asks for")


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
        reloads = Reloads(host, listeners, read)
        try:
            with signals_heard({**dict.fromkeys(STOPPING, stop.set), signal.SIGHUP: reloads.begin}):
                host.start()
                await listen([host.served()], stop, ready, listeners)
        finally:
            await host.close()

    settle_memory()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
