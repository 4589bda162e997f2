"""Chaos: in each step of a random history, one service, one gateway, one registry and Redis may have a fault at once.

There is load all the time. After a step everything is mended, and has to be well again. Clients repeat what may be
repeated; so they may see no error, whatever coincides, as long as one instance and one gateway are well.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable

from tests.gateway.harness import eventually

from .fleet import Fleet, GatewayNode, Node

Fault = tuple[str, Callable[[], object]]


class Chaos:
    """A random history of faults, the same for each seed."""

    def __init__(self, fleet: Fleet, seed: int, tell: Callable[[str], object] = lambda text: None) -> None:
        self._fleet, self._random, self._tell = fleet, random.Random(seed), tell

    def run(self, steps: int) -> dict[str, int]:
        """Have so many steps; what happened to all attempts of the clients."""
        with self._fleet.load(path="/?ms=20", clients=6, patience_s=3.0) as load, \
                self._fleet.load(path="/limited/?ms=1", clients=3, patience_s=3.0) as limited:
            load.go_on(20)
            for step in range(1, steps + 1):
                faults = self._faults()
                self._tell(f"{step:4}  {'; '.join(name for name, _ in faults)}")
                for _, begin in faults:
                    begin()
                load.go_on(60)
                limited.go_on(5, until=lambda record: record.is_answered)
                self._fleet.until_well()
                limited.go_on(1, until=lambda record: f"{record.last.status}" == "429")  # they offer more than it lets through
                lost = load.lost()
                assert [] == lost, f"{[name for name, _ in faults]}: {lost}"
        assert [] == load.lost(), load.lost()
        statuses = {f"{record.last.status}" for record in limited.records}
        assert {"200", "429"} == statuses, limited.fates()
        return load.fates()

    def _faults(self) -> list[Fault]:
        service = self._random.choice([*self._fleet.services.values()])
        gateway = self._random.choice([*self._fleet.gateways.values()])
        registry = self._random.choice([*self._fleet.registries.values()])
        assert self._fleet.redis is not None
        return self._random.sample(
            [self._hard(service), self._random.choice([self._hard(gateway), self._soft(gateway)]), self._hard(registry),
             self._hard(self._fleet.redis)], self._random.choice([1, 2, 2, 3, 4]))

    def _hard(self, node: Node) -> Fault:
        """Something that nobody has announced."""
        word, begin = self._random.choice([
            ("is killed", node.die), ("is cut off", node.host.cut_off), ("freezes", node.host.freeze),
            ("loses its power", node.host.lose_power)])
        return f"{node.host.name} {word}", begin

    def _soft(self, gateway: GatewayNode) -> Fault:
        """Something that operators do, or a part of a gateway."""

        def reload() -> None:
            before = gateway.reloads()
            gateway.reload()
            eventually(lambda: gateway.reloads() != before, "the reload")

        def kill_worker() -> None:
            os.kill(self._random.choice(gateway.workers()), signal.SIGKILL)

        word, begin = self._random.choice([
            ("is restarted", gateway.restart), ("reloads its file", reload), ("loses a worker", kill_worker)])
        return f"{gateway.host.name} {word}", begin
