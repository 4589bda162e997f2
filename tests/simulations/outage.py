"""The registry is away for ten minutes, while instances come and go; then it is back, or begins again with nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from resilience.discovery.membership import HOLD_S
from resilience.discovery.registry.settings import RegistrySettings
from resilience.discovery.watch import Watch

from .gateways import GatewaySettings, SimulatedGateway
from .instances import Process, SimulatedInstance
from .registries import ASKS_EVERY_S, ListedSource, Registrant, SimulatedRegistry, watched
from .users import Users, UserSettings
from .world import World, simulate

BEGINS_S = 60.0
#: The service whose requests are simulated.
SERVICE = "SERVICE-0"


@attrs.frozen(kw_only=True)
class Size:
    """How large the fleet is.

    Attributes:
        gateways: How many there are.
        services: How many there are; of one of them the requests are simulated.
        instances: Of each service. Each takes 50 ms for a request, one after the other.
        load: Requests of users, as a share of what the instances can do.
        outage_s: How long the registry is away.
        seconds: How long it all lasts.
    """

    gateways: int = 200
    services: int = 20
    instances: int = 100
    load: float = 0.5
    outage_s: float = 600.0
    seconds: float = 730.0

    @property
    def windows(self) -> Sequence[tuple[float, float]]:
        """When requests are simulated: before and at first, at last and when the registry is back."""
        return (BEGINS_S - 20.0, BEGINS_S + 20.0), (self.back_s - 20.0, self.seconds)

    @property
    def back_s(self) -> float:
        """When the registry is back."""
        return BEGINS_S + self.outage_s


@attrs.frozen(kw_only=True)
class Scenario:
    """What happens.

    Attributes:
        replaced: Share of the instances of the service that end during the outage, one after the other; a new one takes
            the place of each.
        ends_as: What is left of one that has ended.
        forgets: Whether the registry has nothing when it is back.
        hold_s: For how long gateways keep what is missing from a list that has shrunk all at once.
        asks_every_s: How often gateways ask for the list.
    """

    replaced: float = 0.2
    ends_as: Process = Process.GONE
    forgets: bool = False
    hold_s: float = HOLD_S
    asks_every_s: float = ASKS_EVERY_S


VARIANTS: Mapping[str, Scenario] = {
    "back as it was": Scenario(),
    "back as it was; what ended is silent": Scenario(ends_as=Process.SILENT),
    "back with nothing": Scenario(forgets=True),
    "back with nothing, and believed": Scenario(forgets=True, hold_s=0.0),
    "back with nothing; asked every second": Scenario(forgets=True, asks_every_s=1.0),
    "back with nothing; asked every 30 s": Scenario(forgets=True, asks_every_s=30.0),
}


@attrs.define
class Outage:
    """What came of it.

    Attributes:
        world: What was counted.
        registry: The registry.
        gone: How many of the instances that the gateways knew when the registry came back were no more.
        listed: How many instances of the service the gateways knew in the mean, by the second.
        arrived: How many requests the most burdened instance got in a second, and an instance in the mean.
    """

    world: World
    registry: SimulatedRegistry
    gone: float = 0.0
    listed: list[float] = attrs.field(factory=list)
    most: list[float] = attrs.field(factory=list)


class _Experiment:
    def __init__(self, world: World, scenario: Scenario, size: Size) -> None:
        self.world, self.scenario, self.size = world, scenario, size
        # Instances of a service are containers of a few machines: as many as you like may come from one address.
        settings = RegistrySettings(max_instances_per_address=1_000_000)
        self.registry = SimulatedRegistry(world, settings)
        self.result = Outage(world, self.registry)
        self.by_url: dict[str, SimulatedInstance] = {}
        self.numbers = iter(range(1, 1_000_000))
        self.running: list[tuple[SimulatedInstance, Registrant]] = []
        for number in range(size.services * size.instances):
            self._come(f"SERVICE-{number % size.services}")
        self.gateways = [SimulatedGateway(world, f"gateway-{number}", "", GatewaySettings(), self.by_url.__getitem__)
                         for number in range(size.gateways)]
        self.watches: list[Watch] = [watched(world, each, ListedSource(self.registry, SERVICE),
                                             every_s=scenario.asks_every_s, hold_s=scenario.hold_s)
                                     for each in self.gateways]
        capacity = size.instances / 0.05
        users = UserSettings(per_s=size.load * capacity)
        for begins, ends in size.windows:
            world.at(begins, Users, world, users, self.gateways, ends)
        world.at(BEGINS_S, self._cut_off)
        world.at(size.back_s, self._back)
        world.every(1.0, self._look, first=1.0)
        replaced = int(scenario.replaced * size.instances)
        for number in range(replaced):
            world.at(BEGINS_S + (number + 0.5) / replaced * size.outage_s, self._replace)

    def _come(self, service: str) -> None:
        instance = SimulatedInstance(self.world, next(self.numbers), "")
        self.by_url[instance.url] = instance
        registrant = Registrant(self.world, self.registry, service, instance)
        if service == SERVICE:
            self.running.append((instance, registrant))

    def _replace(self) -> None:
        instance, registrant = self.running.pop(0)
        registrant.leave()
        instance.end(self.scenario.ends_as)
        self._come(SERVICE)

    def _cut_off(self) -> None:
        self.registry.is_reachable = False

    def _back(self) -> None:
        known = [[each.instance.process is not Process.RUNS for each in gateway.endpoints.states]
                 for gateway in self.gateways]
        self.result.gone = sum(map(sum, known)) / sum(map(len, known))
        self.registry.is_reachable = True
        if self.scenario.forgets:
            self.registry.restart()

    def _look(self) -> None:
        result = self.result
        result.listed.append(sum(len(each.endpoints.states) for each in self.gateways) / len(self.gateways))
        arrived = [each.arrived for each, _ in self.running]
        for each, _ in self.running:
            each.arrived = 0
        result.most.append(max(arrived) / max(1e-9, sum(arrived) / len(arrived)))


def outage(scenario: Scenario, size: Size, seed: int) -> Outage:
    """The experiment."""
    made: _Experiment = simulate(size.seconds, seed, lambda world: _Experiment(world, scenario, size))[1]
    return made.result
