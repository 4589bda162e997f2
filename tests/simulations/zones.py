"""The loss of a zone: a third of the instances is silent, at once or one after the other, and comes back."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from resilience.discovery import Instance
from resilience.discovery.registry.settings import RegistrySettings
from resilience.gateway.balancing import Ejection

from .gateways import GatewaySettings, SimulatedGateway
from .instances import Process, SimulatedInstance
from .registries import Registrant, SimulatedRegistry
from .users import Users, UserSettings
from .world import World, simulate

ZONES = ("a", "b", "c")
LOST_S, BACK_S = 20.0, 140.0


@attrs.frozen(kw_only=True)
class Size:
    """How large the simulated part of the fleet is.

    Attributes:
        gateways: How many there are.
        instances: Of the one service whose requests are simulated.
        registered: Of all services, in the registry.
        load: Requests of users, as a share of what the instances can do.
        seconds: How long requests are simulated.
        registry_seconds: How long the registry is.
    """

    gateways: int = 198
    instances: int = 99
    registered: int = 2000
    load: float = 0.5
    seconds: float = 200.0
    registry_seconds: float = 1800.0


@attrs.frozen(kw_only=True)
class Loss:
    """What happens.

    Attributes:
        gateways: How they are set up.
        over_s: In how many seconds the zone is lost, instance by instance; 0: at once.
        ends_as: What is left of the instances.
    """

    gateways: GatewaySettings = GatewaySettings()
    over_s: float = 0.0
    ends_as: Process = Process.SILENT


VARIANTS: Mapping[str, Loss] = {
    "round robin": Loss(),
    "round robin, slowly": Loss(over_s=60.0),
    "round robin, connections refused": Loss(ends_as=Process.GONE),
    "least request": Loss(gateways=GatewaySettings(balancer="least_request")),
    "zone avoidance": Loss(gateways=GatewaySettings(balancer="zone_avoidance")),
    "subset of 10": Loss(gateways=GatewaySettings(subset=10)),
    "ejection after 2 failures": Loss(gateways=GatewaySettings(ejection=Ejection(consecutive=2))),
    "at most a tenth ejected": Loss(gateways=GatewaySettings(ejection=Ejection(max_share=0.1))),
}


def loss(what: Loss, size: Size, seed: int) -> World:
    """The requests of one service. Its list does not change: self-preservation keeps the dead, see listed()."""
    def begin(world: World) -> None:
        instances = [SimulatedInstance(world, number, ZONES[number % 3]) for number in range(size.instances)]
        by_url = {each.url: each for each in instances}
        gateways = [SimulatedGateway(world, f"gateway-{number}", ZONES[number % 3], what.gateways, by_url.__getitem__)
                    for number in range(size.gateways)]
        for gateway in gateways:
            gateway.follow([Instance(url=each.url, zone=each.zone) for each in instances])
        lost = [each for each in instances if each.zone == ZONES[-1]]
        for number, each in enumerate(lost):
            world.at(LOST_S + what.over_s * number / len(lost), each.end, what.ends_as)
            world.at(BACK_S, each.start)
        Users(world, UserSettings(per_s=size.load * size.instances / 0.05), gateways)

    return simulate(size.seconds, seed, begin)[0]


def listed(share: float, over_s: float, size: Size, seed: int, *, threshold: float = 0.85) -> list[int]:
    """How many dead instances the registry lists, second by second, when this *share* of all is lost.

    Args:
        share: Of the instances.
        over_s: In how many seconds they are lost; 0: at once.
        size: Of the fleet.
        seed: Of everything drawn.
        threshold: The registry's ``renewal_threshold``.
    """
    dead: list[int] = []

    def begin(world: World) -> None:
        registry = SimulatedRegistry(world, RegistrySettings(renewal_threshold=threshold))
        instances = [SimulatedInstance(world, number, "") for number in range(size.registered)]
        for each in instances:
            Registrant(world, registry, "SERVICE", each)
        lost = instances[:int(share * len(instances))]
        for number, each in enumerate(lost):
            world.at(120.0 + over_s * number / len(lost), each.end, Process.SILENT)

        def look() -> None:
            running = sum(each.process is Process.RUNS for each in instances)
            dead.append(max(0, len(registry.machine) - running))

        world.every(1.0, look, first=1.0)

    simulate(size.registry_seconds, seed, begin)
    return dead
