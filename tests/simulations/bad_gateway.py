"""One gateway of many has a broken network: nothing that it sends arrives, and it takes all instances for dead."""

from __future__ import annotations

import attrs

from resilience.discovery import Instance

from .gateways import GatewaySettings, SimulatedGateway
from .instances import SimulatedInstance
from .users import Users, UserSettings
from .world import World, simulate

BEGINS_S, ENDS_S = 20.0, 50.0


@attrs.define
class BadGateway:
    """What came of it.

    Attributes:
        world: What was counted.
        ejected_elsewhere: The most endpoints that any other gateway left out.
        ejected_there: The most that the bad one left out.
    """

    world: World
    ejected_elsewhere: int = 0
    ejected_there: int = 0


def bad_gateway(gateways: int, instances: int, seed: int, *, user: UserSettings) -> BadGateway:
    """The experiment; *user* says how users behave, but for how much they ask: half of what the instances can do."""
    def begin(world: World) -> BadGateway:
        result = BadGateway(world)
        servers = [SimulatedInstance(world, number, "") for number in range(instances)]
        by_url = {each.url: each for each in servers}
        fleet = [SimulatedGateway(world, f"gateway-{number}", "", GatewaySettings(), by_url.__getitem__)
                 for number in range(gateways)]
        for gateway in fleet:
            gateway.follow([Instance(url=each.url) for each in servers])

        def cut_off(is_cut_off: bool) -> None:
            fleet[0].is_cut_off = is_cut_off

        def look() -> None:
            left_out = [len(each.endpoints.states) - len(each.endpoints.available) for each in fleet]
            result.ejected_there = max(result.ejected_there, left_out[0])
            result.ejected_elsewhere = max(result.ejected_elsewhere, *left_out[1:])

        world.at(BEGINS_S, cut_off, True)
        world.at(ENDS_S, cut_off, False)
        world.every(5.0, look, first=5.0)
        Users(world, attrs.evolve(user, per_s=0.5 * instances / 0.05), fleet)
        return result

    return simulate(80.0, seed, begin)[1]
