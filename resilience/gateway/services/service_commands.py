"""ServiceCommands: the commands of one service, which outlive a change of its configuration.

A command goes on under other settings, with its circuit, its statistics and what its limits have booked, whichever
policies come or go. Calls under way end as they began.

Where there was a command for the service there may be one for each endpoint from now on, or the other way round. Those
are others, with limits of their own, which begin anew. What means the same goes on (commands_before.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ...registry import Registry
from .commands_before import CommandsBefore
from .service_circuit import ServiceCircuit
from .service_command import Exchanging, guarded
from .service_total import ServiceTotal


class ServiceCommands:
    """The commands of one service. Of one event loop.

    Attributes:
        name: Of the service.
        settings: Of each of them, by name.
        is_per_endpoint: Whether each endpoint has one.
    """

    def __init__(self, name: str, settings: Mapping[str, Any], exchange: Exchanging, registry: Registry, *,
                 is_per_endpoint: bool, previous: ServiceCommands | None) -> None:
        """Nothing is made yet, and nothing of the service as it was before is touched until enter().

        Args:
            name: Of the service.
            settings: Of each command, by name.
            exchange: Makes one exchange.
            registry: Where the commands are.
            is_per_endpoint: Whether each endpoint has one.
            previous: Those of the service as it was configured before.
        """
        self.name, self.settings, self._exchange, self._registry = name, settings, exchange, registry
        self.is_per_endpoint = is_per_endpoint
        self._previous = previous
        self._calls: dict[str, Exchanging] = {}
        self._total: ServiceTotal | None = None
        self._added: list[str] = []
        self._endpoints: Collection[str] = ()
        self._before: CommandsBefore | None = None  # for others than these, which are to go on where they were

    def prepare(self, endpoints: Collection[str]) -> None:
        """Make the commands that are not there yet for the *endpoints* of these names; others are left as they are.

        Raises:
            ConfigError: The registry has a command of the same name that says otherwise; nothing was made.
        """
        known = [] if self._previous is None else self._previous.keys
        try:
            for key in dict.fromkeys(map(self.key_of, endpoints)):
                if key not in known:
                    self._note(key)
                    self._calls[key] = self._guarded(key)
            if self.is_per_endpoint and self.name not in known:
                self._note(self.name)
                self._total = ServiceTotal(self.name, self.settings, self._registry)
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """They will not be in force: forget those that were made."""
        if self._total is not None:
            self._total.close()
        for key in self._added:
            self._registry.remove(key)

    def enter(self) -> None:
        """Take the place of those before."""
        previous, self._previous = self._previous, None
        if previous is not None and previous.is_per_endpoint is not self.is_per_endpoint:
            self._before = CommandsBefore.of(previous.name, previous._registry, previous._total, previous._endpoints)
            previous.close()
        elif previous is not None:
            is_changed = previous.settings != self.settings or previous._exchange is not self._exchange
            for key, call in previous._calls.items():
                self._calls[key] = self._guarded(key, anew=True) if is_changed else call
            self._total = previous._total
            if is_changed and self._total is not None:
                self._total = self._total.renewed(self.settings)
        if self.is_per_endpoint and self._total is None:
            self._total = ServiceTotal(self.name, self.settings, self._registry)

    def key_of(self, endpoint: str) -> str:
        """The key of the command for the *endpoint* of this name."""
        return f"{self.name}@{endpoint}" if self.is_per_endpoint else self.name

    def has(self, endpoint: str) -> bool:
        """Whether the guarded exchange with the *endpoint* of this name is made already."""
        return self.key_of(endpoint) in self._calls

    def call(self, endpoint: str) -> Exchanging:
        """The guarded exchange with the *endpoint* of this name."""
        key = self.key_of(endpoint)
        if key not in self._calls:
            self._calls[key] = self._guarded(key)
        return self._calls[key]

    @property
    def circuit(self) -> ServiceCircuit | None:
        """The circuit around whole requests, if each endpoint has a command; None: there is none."""
        return None if self._total is None else self._total.circuit

    def adopt(self, endpoints: Collection[str]) -> None:
        """The service has the *endpoints* of these names from now on: forget the commands of others."""
        keys, self._endpoints = [self.key_of(each) for each in endpoints], endpoints
        before, self._before = self._before, None
        if before is not None and self._total is not None:
            self._total.count_on(before.commands)
        if self._total is not None:
            self._total.adopt(keys)
        if before is not None:
            before.go_on(self._registry, self._total, dict(zip(endpoints, keys, strict=True)))
        if self.is_per_endpoint:
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
        return list(dict.fromkeys((self.name, *self._calls)))

    def _guarded(self, key: str, *, anew: bool = False) -> Exchanging:
        group = {"group": self.name} if self.is_per_endpoint else {}
        return guarded(self._exchange, self.settings, key=key, registry=self._registry, anew=anew, **group)

    def _note(self, key: str) -> None:
        """Remember that the command of this *key* is made for this service alone, if it is."""
        if self._registry.get(key) is None:
            self._added.append(key)
