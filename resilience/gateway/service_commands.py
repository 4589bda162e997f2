"""ServiceCommands: the commands of one service, which outlive a change of its configuration.

A command goes on under other settings, with its circuit, its statistics and what its limits have booked, whichever
policies come or go. Calls under way end as they began.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..registry import Registry
from .service_command import Exchanging, guarded
from .service_total import ServiceTotal


class ServiceCommands:
    """The commands of one service. Of one event loop.

    Attributes:
        settings: Of each of them, by name.
    """

    def __init__(self, name: str, settings: Mapping[str, Any], exchange: Exchanging, registry: Registry, *,
                 is_per_endpoint: bool, previous: ServiceCommands | None) -> None:
        """Take over the commands of the service as it was before; others are made when they are asked for.

        Args:
            name: Of the service.
            settings: Of each command, by name.
            exchange: Makes one exchange.
            registry: Where the commands are.
            is_per_endpoint: Whether each endpoint has one.
            previous: Those of the service as it was configured before.

        Raises:
            ConfigError: The registry has a command of the same name that says otherwise.
        """
        self._name, self.settings, self._exchange, self._registry = name, settings, exchange, registry
        self._is_per_endpoint = is_per_endpoint
        self._calls: dict[str, Exchanging] = {}
        self._total: ServiceTotal | None = None
        if previous is not None and previous._is_per_endpoint is not is_per_endpoint:
            previous.close()
        elif previous is not None:
            self._calls, self._total = previous._calls, previous._total
            if previous.settings != settings:
                self._change()
        if is_per_endpoint and self._total is None:
            self._total = ServiceTotal(name, settings, registry)

    def key_of(self, endpoint: str) -> str:
        """The key of the command for the *endpoint* of this name."""
        return f"{self._name}@{endpoint}" if self._is_per_endpoint else self._name

    def has(self, endpoint: str) -> bool:
        """Whether the guarded exchange with the *endpoint* of this name is made already."""
        return self.key_of(endpoint) in self._calls

    def call(self, endpoint: str) -> Exchanging:
        """The guarded exchange with the *endpoint* of this name."""
        key = self.key_of(endpoint)
        if key not in self._calls:
            self._calls[key] = self._guarded(key)
        return self._calls[key]

    def adopt(self, endpoints: Collection[str]) -> None:
        """The service has the *endpoints* of these names from now on: forget the commands of others."""
        keys = [self.key_of(each) for each in endpoints]
        if self._total is not None:
            self._total.adopt(keys)
        if self._is_per_endpoint:
            for gone in self._calls.keys() - set(keys):
                del self._calls[gone]
                self._registry.remove(gone)

    def close(self) -> None:
        """Forget all of them; calls under way end as they will."""
        if self._total is not None:
            self._total.close()
        for key in self.keys:
            self._registry.remove(key)
        self._calls = {}

    @property
    def keys(self) -> list[str]:
        """Of all of them."""
        return list(dict.fromkeys((self._name, *self._calls)))

    def _guarded(self, key: str, *, anew: bool = False) -> Exchanging:
        group = {"group": self._name} if self._is_per_endpoint else {}
        return guarded(self._exchange, self.settings, key=key, registry=self._registry, anew=anew, **group)

    def _change(self) -> None:
        """Bring other settings into force."""
        for key in self._calls:
            self._calls[key] = self._guarded(key, anew=True)
        if self._total is not None:
            self._total = self._total.renewed(self.settings)
