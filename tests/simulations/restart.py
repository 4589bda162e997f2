"""A rolling restart: all instances of a service end and begin again, one in twenty at a time."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from resilience.discovery.registry.settings import RegistrySettings

from .gateways import GatewaySettings, SimulatedGateway
from .instances import Process, SimulatedInstance
from .registries import ASKS_EVERY_S, ListedSource, Registrant, SimulatedRegistry, watched
from .users import Users, UserSettings
from .world import World, simulate

#: When all gateways have their first list, and when the first instance is restarted.
ASKED_FROM_S, BEGINS_S = 32.0, 45.0


@attrs.frozen(kw_only=True)
class Size:
    """How large the simulated part of the fleet is.

    Attributes:
        gateways: How many there are.
        instances: Of the service.
        load: Requests of users, as a share of what the instances can do.
        seconds: How long.
    """

    gateways: int = 200
    instances: int = 100
    load: float = 0.5
    seconds: float = 240.0


@attrs.frozen(kw_only=True)
class Roll:
    """How instances are restarted.

    Attributes:
        share: Of the instances that are restarted at a time; one at least.
        serves_on_s: How long an instance serves after it has left the list.
        starts_s: How long a new process takes to be there.
        every_s: Seconds between two groups.
        leaves: Whether it leaves the list at all.
        asks_every_s: How often gateways ask for the list.
    """

    share: float = 0.05
    serves_on_s: float = 8.0
    starts_s: float = 5.0
    every_s: float = 10.0
    leaves: bool = True
    asks_every_s: float = ASKS_EVERY_S


VARIANTS: Mapping[str, Roll] = {
    "leaves, serves on for 8 s": Roll(),
    "leaves, serves on for 4 s": Roll(serves_on_s=4.0),
    "leaves and ends at once": Roll(serves_on_s=0.0),
    "ends without leaving": Roll(serves_on_s=0.0, leaves=False),
    "gateways ask every 30 s; serves on for 8 s": Roll(asks_every_s=30.0),
    "gateways ask every 30 s; serves on for 33 s": Roll(asks_every_s=30.0, serves_on_s=33.0),
    "the same, one group every 70 s": Roll(asks_every_s=30.0, serves_on_s=33.0, every_s=70.0),
}


@attrs.define
class Rolled:
    """What came of it.

    Attributes:
        world: What was counted.
        cut: Requests that were under way at an instance when it ended.
        most: How many requests the most burdened instance got, as a multiple of the mean of those that ran, in 10 s.
    """

    world: World
    cut: int = 0
    most: list[float] = attrs.field(factory=list)


def rolling_restart(roll: Roll, size: Size, seed: int, *, settings: GatewaySettings | None = None) -> Rolled:
    """The experiment; nothing that is asked may be sent twice, so that only what is safe is repeated."""
    at_once = max(1, int(roll.share * size.instances))
    groups = -(-size.instances // at_once)

    def begin(world: World) -> Rolled:
        result = Rolled(world)
        registry = SimulatedRegistry(world, RegistrySettings())
        instances = [SimulatedInstance(world, number, "") for number in range(size.instances)]
        by_url = {each.url: each for each in instances}
        clients = [Registrant(world, registry, "SERVICE", each) for each in instances]
        gateways = [SimulatedGateway(world, f"gateway-{number}", "", settings or GatewaySettings(), by_url.__getitem__)
                    for number in range(size.gateways)]
        for gateway in gateways:
            watched(world, gateway, ListedSource(registry, "SERVICE"), every_s=roll.asks_every_s)

        def end(instance: SimulatedInstance, client: Registrant) -> None:
            result.cut += not instance.is_idle
            instance.end(Process.GONE)
            world.later(roll.starts_s, start, instance, client)

        def start(instance: SimulatedInstance, client: Registrant) -> None:
            instance.start()
            if roll.leaves:
                client.come()

        def restart(group: int) -> None:
            for number in range(group * at_once, min((group + 1) * at_once, size.instances)):
                if roll.leaves:
                    clients[number].leave()
                world.later(roll.serves_on_s, end, instances[number], clients[number])

        def look() -> None:
            arrived = [each.arrived for each in instances if each.process is Process.RUNS]
            result.most.append(max(arrived) / max(1e-9, sum(arrived) / len(arrived)))
            for each in instances:
                each.arrived = 0

        for group in range(groups):
            world.at(BEGINS_S + group * roll.every_s, restart, group)
        world.every(10.0, look, first=10.0)
        world.at(ASKED_FROM_S, Users, world, UserSettings(per_s=size.load * size.instances / 0.05, repeatable=0.0, retry=None),
                 gateways)
        return result

    return simulate(max(size.seconds, BEGINS_S + groups * roll.every_s + 30.0), seed, begin)[1]
