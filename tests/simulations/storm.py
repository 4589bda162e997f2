"""A retry storm: for half a minute a service can do 40 % of what it usually does, and everybody tries again."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from resilience.core.adaptive import AdaptiveLimit
from resilience.core.breaker import CircuitBreaker
from resilience.core.budget import RetryBudget
from resilience.core.throttle import Throttle
from resilience.discovery import Instance
from resilience.gateway.balancing.retry_state import Repetition

from .gateways import GatewaySettings, SimulatedGateway
from .instances import SimulatedInstance
from .users import Users, UserSettings
from .world import World, simulate

BEGINS_S, ENDS_S = 20.0, 50.0
#: A request takes so many times longer than usual meanwhile.
SLOWDOWN = 2.5


@attrs.frozen(kw_only=True)
class Size:
    """How large the simulated part of the fleet is.

    Attributes:
        gateways: How many there are.
        instances: Of the one service that is simulated.
        load: Requests of users, as a share of what the instances can do; each takes 50 ms for one, one after the other.
        seconds: How long.
    """

    gateways: int = 200
    instances: int = 100
    load: float = 0.6
    seconds: float = 100.0

    @property
    def capacity(self) -> float:
        """Requests a second that the instances can do."""
        return self.instances / 0.05


_BARE = {"ejection": None, "breaker": None, "whole": None}
_SERVICE = {"is_per_endpoint": False}
VARIANTS: Mapping[str, GatewaySettings] = {
    "no protection": GatewaySettings(retry=Repetition(budget=None), **_BARE),  # type: ignore[arg-type]
    "retry budget only": GatewaySettings(**_BARE),  # type: ignore[arg-type]
    "circuits of endpoints only": GatewaySettings(whole=None),
    "the same, budget without a floor": GatewaySettings(
        whole=None, retry=Repetition(budget=RetryBudget(per_second=0.0))),
    "the same, no retries at gateways": GatewaySettings(whole=None, retry=None),
    "the same, subset of 5": GatewaySettings(whole=None, subset=5),
    "defaults": GatewaySettings(),
    "defaults, open for 1 s": GatewaySettings(
        breaker=CircuitBreaker(open_for=1.0), whole=CircuitBreaker(open_for=1.0)),
    "defaults, open for 20 s": GatewaySettings(
        breaker=CircuitBreaker(open_for=20.0), whole=CircuitBreaker(open_for=20.0)),
    "circuit of the service only": GatewaySettings(**_SERVICE),  # type: ignore[arg-type]
    "the same, and adaptive limit": GatewaySettings(
        **_SERVICE, adaptive_limit=AdaptiveLimit()),  # type: ignore[arg-type]
    "adaptive limit, no circuit": GatewaySettings(
        **_SERVICE, adaptive_limit=AdaptiveLimit(), breaker=None),  # type: ignore[arg-type]
    "throttle of 10 s, no circuit": GatewaySettings(
        **_SERVICE, throttle=Throttle(window=10.0), breaker=None),  # type: ignore[arg-type]
}


def storm(settings: GatewaySettings, size: Size, seed: int, *, users: UserSettings | None = None) -> World:
    """The experiment with gateways that have these settings."""
    def begin(world: World) -> None:
        instances = [SimulatedInstance(world, number, "") for number in range(size.instances)]
        by_url = {each.url: each for each in instances}
        gateways = [SimulatedGateway(world, f"gateway-{number}", "", settings, by_url.__getitem__)
                    for number in range(size.gateways)]
        for gateway in gateways:
            gateway.follow([Instance(url=each.url) for each in instances])

        def slow_down(factor: float) -> None:
            for each in instances:
                each.slowdown = factor

        world.at(BEGINS_S, slow_down, SLOWDOWN)
        world.at(ENDS_S, slow_down, 1.0)
        behaviour = UserSettings(per_s=1.0) if users is None else users
        Users(world, attrs.evolve(behaviour, per_s=size.load * size.capacity), gateways)

    return simulate(size.seconds, seed, begin)[0]
