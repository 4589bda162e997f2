"""A reload gave a service a second endpoint, or took it: circuits that were open were closed, and counts were lost.

With one endpoint a service has one command, with several each endpoint has its own. Those are others; but the circuit of
the only endpoint is about the same as that of this endpoint among others.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resilience import CircuitBreaker, Registry, State
from resilience.gateway.config import ServiceConfig
from resilience.gateway.services.service import Service
from tests.gateway.services.stub_service import ONE, THREE, TWO, Client, ask, updated


def _config(*urls: str, **said: Any) -> ServiceConfig:
    command = {"breaker": CircuitBreaker(min_calls=2, failure_rate=0.9, open_for=60.0), **said}
    return ServiceConfig(endpoints=urls, retry=None, ejection=None, command=command)


def _service(down: set[str], *urls: str, **said: Any) -> tuple[Service, Registry, Client]:
    client, registry = Client(), Registry()
    client.does = {host: (lambda host=host: 500 if host in down else 200) for host in ("10.0.0.1", "10.0.0.2", "10.0.0.3")}
    return Service("s", _config(*urls, **said), client, registry), registry, client


async def _open(service: Service, registry: Registry, key: str) -> None:
    for _ in range(200):
        if registry[key].state is State.OPEN:
            return
        await ask(service)
    raise AssertionError(f"{key} does not open")


def _states(registry: Registry) -> dict[str, State]:
    return {command.key.removeprefix("s@10.0.0."): command.state for command in registry}


async def test_the_circuit_of_the_only_endpoint_stays_its_own_while_others_come_and_go() -> None:
    service, registry, client = _service({"10.0.0.1"}, ONE)
    await _open(service, registry, "s")
    for urls, states in (
            ((ONE, TWO), {"s": State.CLOSED, "1:80": State.OPEN, "2:80": State.CLOSED}), ((ONE,), {"s": State.OPEN}),
            ((THREE, ONE, TWO), {"s": State.CLOSED, "1:80": State.OPEN, "2:80": State.CLOSED, "3:80": State.CLOSED})):
        service = updated(service, _config(*urls))
        assert states == _states(registry)
        client.asked.clear()
        assert {200 if len(urls) > 1 else "CircuitOpenError"} == {await ask(service) for _ in range(4)}
        assert "10.0.0.1" not in client.asked


async def test_an_endpoint_that_was_well_is_so_when_it_is_the_only_one_and_one_that_is_new_is_not_judged() -> None:
    for url in (TWO, THREE):
        service, registry, _ = _service({"10.0.0.1"}, ONE, TWO)
        await _open(service, registry, "s@10.0.0.1:80")
        service = updated(service, _config(url))
        assert ({"s": State.CLOSED}, 200) == (_states(registry), await ask(service))


@pytest.mark.parametrize("per", ["service", "endpoint"])
async def test_what_is_known_of_all_endpoints_together_goes_on_for_the_service(per: str) -> None:
    down = {"10.0.0.1", "10.0.0.2"}
    service, registry, client = _service(down, ONE, TWO, per=per)
    if per == "service":
        await _open(service, registry, "s")
        service = updated(service, _config(ONE, TWO, per="both"))
        assert {"s": State.OPEN, "1:80": State.CLOSED, "2:80": State.CLOSED} == _states(registry)
    else:
        await _open(service, registry, "s@10.0.0.1:80")
        await _open(service, registry, "s@10.0.0.2:80")
        service = updated(service, _config(ONE, TWO, per="service"))
        assert {"s": State.OPEN} == _states(registry)
    client.asked.clear()
    assert ("CircuitOpenError", []) == (await ask(service), client.asked)


async def test_one_sick_endpoint_of_several_does_not_close_the_service() -> None:
    service, registry, _ = _service({"10.0.0.1"}, ONE, TWO)
    await _open(service, registry, "s@10.0.0.1:80")
    service = updated(service, _config(ONE, TWO, per="service"))
    assert {"s": State.CLOSED} == _states(registry)


async def test_counts_and_calls_under_way_stay_in_the_sum() -> None:
    service, registry, client = _service(set(), ONE)
    go = asyncio.Event()

    async def held() -> int:
        await go.wait()
        return 200

    assert [200] * 3 == [await ask(service) for _ in range(3)]
    client.does = {"10.0.0.1": held}
    call = asyncio.ensure_future(ask(service))
    while not registry["s"].in_flight:
        await asyncio.sleep(0)

    def counted() -> tuple[int, int]:
        return registry["s"].in_flight, registry["s"].__recorder__.totals()[0][0]

    service = updated(service, _config(ONE, TWO))
    assert (1, 3) == counted()
    service = updated(service, _config(ONE, THREE))
    go.set()
    assert await call == 200
    assert (0, 4) == counted()
    service = updated(service, _config(TWO, THREE))
    assert [200] * 2 == [await ask(service) for _ in range(2)]
    assert (0, 6) == counted()
