"""CommandsBefore: what goes on when there is one command for each endpoint of a service where there was one for all.

Or the other way round:

| of the commands before | goes on |
|---|---|
| an operator's order for the service | for the service |
| the circuit of the only endpoint | that of this endpoint, or of the service whose only endpoint it is now |
| the circuit of a service of several endpoints | that around whole requests, if there is one |
| the circuits of several endpoints | that of the service, as the healthiest of them, or as that around whole requests |
| counts since for ever, and calls under way | in the sum of the endpoints' |

Nothing else means the same: what one endpoint may have under way is no limit of all of them together. And a command
that is no sum counts its own calls only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import attrs

from ...commands.command import Command, internals_of
from ...core.circuit import Circuit
from ...core.circuit_checkpoint import CircuitCheckpoint
from ...core.events import State
from ...registry import Registry
from .service_total import HEALTHIEST_FIRST, ORDERS, ServiceTotal, obey


@attrs.frozen
class CommandsBefore:
    """The commands of a service, as they were when others took their place.

    Attributes:
        name: Of the service.
        order: What an operator has ordered for the service as a whole; None: nothing.
        whole: The circuit of the service; None: there was none, or it was that of the only endpoint.
        endpoints: The circuits of the endpoints, by name.
        commands: What has counted the calls of the service.
    """

    name: str
    order: State | None
    whole: CircuitCheckpoint | None
    endpoints: Mapping[str, CircuitCheckpoint]
    commands: Sequence[Command]

    @classmethod
    def of(cls, name: str, registry: Registry, total: ServiceTotal | None,
           endpoints: Collection[str]) -> CommandsBefore:
        """Those that are still in the *registry*.

        Args:
            name: Of the service.
            registry: Where they are.
            total: Their sum, if each of the *endpoints* has one; None: they share one.
            endpoints: By name.
        """
        command, now = registry[name], registry.clock()
        order = command.state if command.state in ORDERS else None
        if total is not None:
            saved = {each: circuit.save(now) for each in endpoints
                     if (circuit := _circuit(registry, f"{name}@{each}")) is not None}
            whole = None if total.circuit is None else total.circuit.circuit.save(now)
            return cls(name, order, whole, saved, (command,))
        circuit = _circuit(registry, name)
        one = None if circuit is None else circuit.save(now)
        if one is not None and len(endpoints) == 1:
            return cls(name, order, None, dict.fromkeys(endpoints, one), (command,))
        return cls(name, order, one, {}, (command,))

    def go_on(self, registry: Registry, total: ServiceTotal | None, keys: Mapping[str, str]) -> None:
        """Let the commands that are in the *registry* now be as these were.

        Args:
            registry: Where they are.
            total: Their sum, if each endpoint has one; None: they share one.
            keys: Of the commands, by the endpoints' names.
        """
        now = registry.clock()
        if total is None:
            _restore(_circuit(registry, self.name), self._together(list(keys)), now)
        else:
            for endpoint in keys.keys() & self.endpoints.keys():
                _restore(_circuit(registry, keys[endpoint]), self.endpoints[endpoint], now)
            _restore(None if total.circuit is None else total.circuit.circuit, self.whole, now)
        if self.order is not None and internals_of(registry[self.name]).runtime.circuit is not None:
            obey(registry[self.name], self.order)

    def _together(self, endpoints: Sequence[str]) -> CircuitCheckpoint | None:
        """The one circuit of all *endpoints*."""
        known = [self.endpoints[each] for each in endpoints if each in self.endpoints]
        healthiest = min(known, key=_badness) if len(known) == len(endpoints) else None  # a new one is well
        return max((each for each in (healthiest, self.whole) if each is not None), key=_badness, default=None)


def _badness(saved: CircuitCheckpoint) -> tuple[int, float]:
    return HEALTHIEST_FIRST.index(State(saved.state)), saved.remaining


def _circuit(registry: Registry, key: str) -> Circuit | None:
    command = registry.get(key)
    return None if command is None else internals_of(command).runtime.circuit


def _restore(circuit: Circuit | None, saved: CircuitCheckpoint | None, now: float) -> None:
    if circuit is not None and saved is not None and saved.state != State.DISABLED:  # then there was none
        circuit.restore(saved, 0.0, now)
