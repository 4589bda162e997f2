"""SimulatedRegistry: the registry's own machine, told of registrations and renewals, and asked by real watches.

What decides is real: the leases, self-preservation and evictions of the registry, and in each gateway the watch with
its membership. The list travels as objects instead of JSON.
"""

from __future__ import annotations

import math

from resilience.discovery import Instance, Listing
from resilience.discovery.membership import HOLD_S
from resilience.discovery.registry.instance import RENEWAL_INTERVAL_S
from resilience.discovery.registry.instance import Instance as Registered
from resilience.discovery.registry.instance_registry import InstanceRegistry
from resilience.discovery.registry.moment import Moment
from resilience.discovery.registry.settings import RegistrySettings
from resilience.discovery.registry.snapshot import Application
from resilience.discovery.watch import Watch

from .gateways import SimulatedGateway
from .instances import Process, SimulatedInstance
from .world import World

#: Longest time between two questions of a gateway, and the longest wait for an answer: the defaults of a source.
ASKS_EVERY_S, ANSWERS_WITHIN_S = 5.0, 2.0
_UNIX_MS = 1_700_000_000_000


class UnreachableError(ConnectionError):
    """The registry cannot be reached."""


class SimulatedRegistry:
    """A registry, and whether it can be reached.

    Attributes:
        machine: Its leases.
        is_reachable: Whether anything reaches it.
        registrations: How many came, by the second.
    """

    def __init__(self, world: World, settings: RegistrySettings) -> None:
        self._world, self._settings = world, settings
        self.is_reachable = True
        self._lists: dict[str, tuple[Application, Listing]] = {}
        self.registrations = [0] * math.ceil(world.seconds)
        self.restart()
        world.every(1.0, self._tick, first=1.0)

    def restart(self) -> None:
        """A new process knows nobody."""
        self.machine = InstanceRegistry(self._settings, self._moment())

    def register(self, service: str, instance: SimulatedInstance) -> bool:
        """An instance registers; whether that arrives."""
        if not self.is_reachable:
            return False
        now = self._moment()
        host, _, _ = instance.name.partition(":")
        self.machine.register(
            Registered(app=service, id=instance.name, host_name=host, ip_addr=host, dirty_ms=now.unix_ms,
                       metadata={"zone": instance.zone}), host, now)
        self.registrations[min(int(now.s), len(self.registrations) - 1)] += 1
        return True

    def renew(self, service: str, instance: SimulatedInstance) -> bool | None:
        """An instance renews its lease; False: it is not known, None: that does not arrive."""
        return self.machine.renew(service, instance.name, self._moment()) if self.is_reachable else None

    def leave(self, service: str, instance: SimulatedInstance) -> None:
        """An instance leaves, if that arrives."""
        if self.is_reachable:
            self.machine.cancel(service, instance.name, self._moment())

    def listing(self, service: str) -> Listing:
        """What it lists of a service.

        Raises:
            UnreachableError: There is no answer.
        """
        if not self.is_reachable:
            raise UnreachableError("no answer")
        application = self.machine.snapshot().applications.get(service)
        if application is None:
            return Listing((), is_leased=True)
        known = self._lists.get(service)
        if known is None or known[0] is not application:
            known = self._lists[service] = application, _listing(application)
        return known[1]

    def _tick(self) -> None:
        self.machine.tick(self._moment(), self._world.rng.sample)

    def _moment(self) -> Moment:
        now = self._world.now()
        return Moment(now, _UNIX_MS + int(now * 1000))


def _listing(application: Application) -> Listing:
    entries = sorted(application.entries, key=lambda each: each.instance.id)
    return Listing(tuple(Instance(url=f"http://{each.instance.id}", zone=each.instance.metadata["zone"])
                         for each in entries), is_leased=True)


class Registrant:
    """An instance's client of the registry: it registers, renews every 30 s, and registers again if it is not known."""

    def __init__(self, world: World, registry: SimulatedRegistry, service: str, instance: SimulatedInstance) -> None:
        """It registers at some time within the first interval.

        Args:
            world: Where it is.
            registry: Where it registers.
            service: Its application.
            instance: Whose client it is.
        """
        self._world, self._registry, self._service, self._instance = world, registry, service, instance
        self._is_there = True
        self._round = 0
        self._is_known = registry.register(service, instance)
        world.later(RENEWAL_INTERVAL_S * world.random(), self._renew, self._round)

    def leave(self) -> None:
        """Take the instance off the list."""
        self._is_there = False
        self._registry.leave(self._service, self._instance)

    def come(self) -> None:
        """Put it on the list again."""
        self._is_there = True
        self._round += 1
        self._is_known = self._registry.register(self._service, self._instance)
        self._world.later(RENEWAL_INTERVAL_S, self._renew, self._round)

    def _renew(self, of_round: int) -> None:
        if of_round != self._round:
            return
        self._world.later(RENEWAL_INTERVAL_S, self._renew, of_round)
        if not self._is_there or self._instance.process is not Process.RUNS:
            return
        if not self._is_known or self._registry.renew(self._service, self._instance) is False:
            self._is_known = self._registry.register(self._service, self._instance)


class ListedSource:
    """The source of one service in one gateway: the simulated registry."""

    def __init__(self, registry: SimulatedRegistry, service: str) -> None:
        self._registry, self._service = registry, service

    def __repr__(self) -> str:
        return f"simulated registry, {self._service}"

    async def listing(self) -> Listing:
        """See resilience.discovery.Source."""
        return self._registry.listing(self._service)


def watched(world: World, gateway: SimulatedGateway, source: ListedSource, *, every_s: float = ASKS_EVERY_S,
            hold_s: float = HOLD_S) -> Watch:
    """A watch of *source* that tells *gateway*, begun at some time within the first interval."""
    watch = Watch("service", source, gateway, interval_s=every_s, timeout_s=ANSWERS_WITHIN_S, keep=None,
                  clock=world.now, random=world.random, hold_s=hold_s)
    world.later(every_s * world.random(), watch.start)
    return watch
