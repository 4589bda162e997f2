"""One gateway of many has a broken network: nothing that it sends arrives, and it takes all instances for dead."""

from __future__ import annotations

import attrs

from resilience.core.events import State
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
        left_out_elsewhere: The most endpoints that any other gateway left out.
        opened_there: Whether the circuit of the service was open in the bad one.
        opened_elsewhere: In how many others.
    """

    world: World
    left_out_elsewhere: int = 0
    opened_there: bool = False
    opened_elsewhere: int = 0


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
            opened = [each.circuit is not None and each.circuit.state is State.OPEN for each in fleet]
            result.left_out_elsewhere = max(result.left_out_elsewhere, *left_out[1:])
            result.opened_there |= opened[0]
            result.opened_elsewhere = max(result.opened_elsewhere, sum(opened[1:]))

        world.at(BEGINS_S, cut_off, True)
        world.at(ENDS_S, cut_off, False)
        world.every(0.5, look, first=0.5)
        Users(world, attrs.evolve(user, per_s=0.5 * instances / 0.05), fleet)
        return result

    return simulate(80.0, seed, begin)[1]
