"""Zone avoidance kept every endpoint that a service ever had: a leak where pods come and go."""

from __future__ import annotations

import gc
import weakref

import pytest

from resilience.gateway.balancing import BALANCERS, BalancerOptions, EndpointSet, EndpointState, balancer


@pytest.mark.parametrize("sticky", [False, True])
@pytest.mark.parametrize("weight", [1.0, 2.0])
@pytest.mark.parametrize("name", BALANCERS)
def test_no_balancer_keeps_an_endpoint_that_is_gone(name: str, weight: float, sticky: bool) -> None:
    made = balancer(name, BalancerOptions(sticky=sticky, seed=0.3))
    kept = [EndpointState(f"kept-{number}", zone="ab"[number % 2]) for number in range(2)]
    gone = list[weakref.ref[EndpointState]]()
    for number in range(20):
        guest = _Guest(f"guest-{number}", weight=weight, zone="abc"[number % 3])
        endpoints = EndpointSet([*kept, guest], made, None, None, 0.0)
        for turn in range(10):
            endpoints.choose(0.0, turn / 10, b"%d" % turn)
        for each in endpoints.states:
            each.time(0.1, 0.0)
        gone.append(weakref.ref(guest))
    EndpointSet(kept, made, None, None, 0.0)
    del guest, each, endpoints
    gc.collect()
    assert [None] * 20 == [each() for each in gone]


class _Guest(EndpointState):
    __slots__ = ("__weakref__",)
