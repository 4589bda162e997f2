"""Circuit hints of a gateway: what it tells others of its endpoints, and hears of them; see shared/circuit_hints.py."""

from __future__ import annotations

import weakref
from collections.abc import Mapping

from ..core.failover import RestState
from ..registry import Registry
from ..shared.circuit_hints import CircuitHints, Quorum
from ..shared.connection import Connection
from .change import Change, if_a_loop_runs
from .config.shared import SharedSettings
from .services.service import Service
from .shared_state import METRICS


class GatewayHints:
    """The hints of one gateway. For one event loop.

    Attributes:
        connection: Over which they go.
        quorum: How many gateways must see an endpoint down.
        hints: What tells and hears.
        services: Those in force, by name.
    """

    def __init__(self, connection: Connection, settings: SharedSettings, quorum: Quorum, registry: Registry) -> None:
        self.connection, self.quorum = connection, quorum
        self.services: Mapping[str, Service] = {}
        self.hints = CircuitHints(connection, registry, quorum=quorum, gateway=settings.instance_name,
                                  is_target=self._is_target, ejected=self._ejected)

    def _is_target(self, key: str) -> bool:
        """Whether a command is that of an endpoint, or the only one of a service."""
        service = self.services.get(key)
        if service is not None:
            return not service.is_per_endpoint
        service = self.services.get(key.partition("@")[0])
        return service is not None and service.is_per_endpoint

    def _ejected(self, now: float) -> dict[str, float]:
        """The endpoints that rest after failures in a row, by the keys of their commands, and until when."""
        return {state.key: state.rest.until for service in self.services.values() if service.is_per_endpoint
                for state in service.endpoints.states
                if not state.rest.calm and state.rest.state is RestState.RESTING and state.rest.until > now
                and state.failures and state.ejections}  # else it has only asked for a pause


def hints_of(settings: SharedSettings | None, connection: Connection | None, services: Mapping[str, Service],
             registry: Registry, change: Change, old: GatewayHints | None) -> GatewayHints | None:
    """The hints that *settings* ask for: the *old* ones, if they would be the same."""
    if settings is None or settings.circuits is None or connection is None:
        return None
    quorum = Quorum(share=settings.circuits.share, least=settings.circuits.min_gateways)
    made = old
    if made is None or made.connection is not connection or made.quorum != quorum:
        made = GatewayHints(connection, settings, quorum, registry)
    hints = made

    def come_into_force() -> None:
        hints.services = services
        METRICS.of(registry).hints = weakref.ref(hints.hints)
        if_a_loop_runs(hints.hints.start)

    change.once_in_force(come_into_force)
    return hints
