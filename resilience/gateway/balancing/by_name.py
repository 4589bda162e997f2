"""The balancers by the names that they have in a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import attrs

from .balancer import Balancer
from .hashing import Maglev, Rendezvous, RingHash
from .load import AvailabilityFiltering, BestAvailable, LeastRequest, PeakEwma, WeightedResponseTime
from .rotation import First, Random, Retry, RoundRobin
from .sticky import Sticky
from .zones import ZoneAvoidance


@attrs.frozen(kw_only=True)
class BalancerOptions:
    """What a balancer is told beside its name.

    Attributes:
        load_factor: Of hash balancers: how many times its share of the requests in flight an endpoint may have; None:
            any.
        max_in_flight: Of availability filtering: requests from which on an endpoint is passed over; None: any.
        zone: Of zone avoidance: where the gateway stands.
        sticky: Whether clients come back to the endpoint that they were given.
        seed: Of those that go in turn: a random number from which their order comes; 0: that of the list.
    """

    load_factor: float | None = None
    max_in_flight: int | None = None
    zone: str = ""
    sticky: bool = False
    seed: float = 0.0


#: By the name that ``balancer`` has in a file.
BALANCERS: Final[Mapping[str, Callable[[BalancerOptions], Balancer]]] = {
    "round_robin": lambda options: RoundRobin(options.seed),
    "random": lambda _: Random(),
    "first": lambda _: First(),
    "least_request": lambda _: LeastRequest(),
    "peak_ewma": lambda _: PeakEwma(),
    "weighted_response_time": lambda options: WeightedResponseTime(options.seed),
    "availability_filtering": lambda options: AvailabilityFiltering(options.max_in_flight, options.seed),
    "best_available": lambda _: BestAvailable(),
    "zone_avoidance": lambda options: ZoneAvoidance(options.zone, options.seed),
    "retry": lambda options: Retry(options.seed),
    "ring_hash": lambda options: RingHash(options.load_factor),
    "maglev": lambda options: Maglev(options.load_factor),
    "rendezvous": lambda options: Rendezvous(options.load_factor),
}
#: Those that go by something in the request.
KEYED: Final = frozenset({"ring_hash", "maglev", "rendezvous"})


def balancer(name: str, options: BalancerOptions) -> Balancer:
    """The balancer with this *name*."""
    made = BALANCERS[name](options)
    return Sticky(made) if options.sticky else made
