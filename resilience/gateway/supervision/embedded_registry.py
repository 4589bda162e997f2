"""The service registry that a gateway has within: one, in the parent's process.

Workers come and go, and there may be several; a registry in one of them would lose its instances with it, and the
others would have to find it. The parent is there from the beginning to the end, and so are the instances: reloads
change the settings, the peers and the address, and keep what is registered. A file without the table ends it.
"""

from __future__ import annotations

import contextlib

from ..config.registry import RegistryConfig
from ..listener_metrics import ListenerMetrics
from ..listeners import Listeners
from ..registry_host import RegistryHost


class EmbeddedRegistry:
    """Serves a registry, if there is one. For one event loop.

    Attributes:
        metrics: Of its listener.
    """

    def __init__(self) -> None:
        self._host: RegistryHost | None = None
        self.metrics = ListenerMetrics()
        self._listeners = self._new_listeners()

    async def change(self, config: RegistryConfig | None) -> None:
        """Serve as *config* says from now on, with the secrets that its files have now; None: there is no registry.

        Raises:
            ServeError: The port is taken; nothing has changed.
            ConfigError: A secret, or a file of TLS, is not in order; likewise.
        """
        if config is None:
            await self.close()
            return
        host = RegistryHost(config) if self._host is None else self._host
        await self._listeners.change([host.served(config)], lambda: self._switch(host, config))

    def _switch(self, host: RegistryHost, config: RegistryConfig) -> None:
        if self._host is None:
            host.start()
        else:
            host.change(config)
        self._host = host

    async def close(self) -> None:
        """Serve nothing any more."""
        await self._listeners.close()
        if self._host is not None:
            with contextlib.suppress(Exception):
                await self._host.close()
        self._host = None
        self._listeners = self._new_listeners()

    def _new_listeners(self) -> Listeners:
        listeners = Listeners()
        self.metrics.adopt(listeners)
        return listeners
