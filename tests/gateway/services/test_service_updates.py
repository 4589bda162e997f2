"""A service that is configured anew while requests go on: what stays is kept, what is gone drains."""

from __future__ import annotations

import asyncio

import attrs
import pytest

from resilience import CircuitBreaker, ConfigError, RateLimit, State
from resilience.gateway.config import ServiceConfig
from resilience.gateway.config.endpoints import EndpointConfig
from resilience.gateway.messages.exchange import UpstreamError, UpstreamUnreachableError

from .stub_service import ONE, THREE, TWO, a_service, ask, updated


async def test_an_endpoint_that_stays_keeps_its_command_and_what_is_known_of_it() -> None:
    service, client, registry = a_service(ONE, TWO)
    client.does = {"10.0.0.1": lambda: UpstreamUnreachableError("no")}
    for _ in range(12):
        assert 200 == await ask(service)
    ill = service.endpoints.states[0]
    assert ill.rest.is_left_out
    command, failures = registry["s@10.0.0.1:80"], registry["s@10.0.0.1:80"].snapshot().counts["failure"]

    fresh = updated(service, ServiceConfig(endpoints=(ONE, TWO, THREE), connect_timeout=7.0))
    assert (ill, True) == (fresh.endpoints.states[0], ill.rest.is_left_out)
    assert (command, failures) == (registry["s@10.0.0.1:80"], command.snapshot().counts["failure"])
    assert {"10.0.0.2", "10.0.0.3"} == {*client.asked[-1:], *[client.asked[-1] for _ in range(6) if await ask(fresh)]}
    assert 7.0 == ill.connect_timeout


async def test_an_endpoint_that_is_gone_drains_and_its_counts_stay_in_the_sum() -> None:
    service, client, registry = a_service(ONE, TWO)
    go_on = asyncio.Event()

    async def wait() -> int:
        await go_on.wait()
        return 200

    for _ in range(6):
        await ask(service)
    client.does = {"10.0.0.1": wait, "10.0.0.2": wait}
    under_way = [asyncio.ensure_future(ask(service)) for _ in range(2)]
    await asyncio.sleep(0)
    gone = service.endpoints.states[1]
    assert 1 == gone.in_flight
    fresh = updated(service, ServiceConfig(endpoints=(ONE, THREE)))
    assert "s@10.0.0.2:80" not in registry
    assert ["10.0.0.2"] == client.gone
    assert 6 == registry["s"].__recorder__.totals()[0][0]
    go_on.set()
    assert [200, 200] == await asyncio.gather(*under_way)
    assert 0 == gone.in_flight
    asked = len(client.asked)
    for _ in range(8):
        assert 200 == await ask(fresh)
    assert {"10.0.0.1", "10.0.0.3"} == set(client.asked[asked:])


async def test_settings_change_in_place_and_a_circuit_stays_open_whatever_is_changed() -> None:
    breaker = CircuitBreaker(consecutive=1, failure_rate=None, open_for=60.0)
    service, _, registry = a_service(ONE, TWO, command={"breaker": breaker, "max_concurrent": 7})
    command = registry["s@10.0.0.1:80"]
    service = updated(service, attrs.evolve(service.config, command={"breaker": breaker, "max_concurrent": 9}))
    assert (command, 9) == (registry["s@10.0.0.1:80"], command.settings.max_concurrent)
    assert 18 == registry["s"].snapshot().max_concurrent

    registry["s"].force_open()
    changed = {"breaker": breaker, "max_concurrent": 9, "timeout": 0.5}  # it never said anything of a timeout
    service = updated(service, attrs.evolve(service.config, command=changed))
    assert (0.5, State.FORCED_OPEN) == (registry["s@10.0.0.1:80"].settings.timeout, registry["s@10.0.0.1:80"].state)
    assert State.FORCED_OPEN is registry["s"].state
    assert "CircuitOpenError" == await ask(service)


async def test_the_command_of_the_service_is_the_sum_and_passes_on_what_is_said_to_it() -> None:
    service, client, registry = a_service(ONE, TWO, command={"max_concurrent": 7, "breaker": CircuitBreaker()})
    whole = registry["s"]
    for _ in range(5):
        await ask(service)
    client.does = {"10.0.0.1": lambda: UpstreamError("broke"), "10.0.0.2": lambda: UpstreamError("broke")}
    await ask(service, "POST")
    snapshot = whole.snapshot()
    assert (5, 1, 14) == (snapshot.counts["success"], snapshot.counts["failure"], snapshot.max_concurrent)
    assert 6 == snapshot.latency.count
    whole.configure(max_concurrent=3)
    assert [3, 3] == [registry[f"s@10.0.0.{number}:80"].settings.max_concurrent for number in (1, 2)]
    registry["s@10.0.0.1:80"].force_open()
    assert State.CLOSED is whole.state
    registry["s@10.0.0.2:80"].force_open()
    assert State.FORCED_OPEN is whole.state
    whole.reset()
    assert (State.CLOSED, 0) == (registry["s@10.0.0.1:80"].state, whole.snapshot().counts["success"])


async def test_one_command_for_all_if_that_is_said_or_there_is_a_rate_limit() -> None:
    for said in ({"per": "service"}, {"rate_limit": RateLimit(100, per=1.0)}):
        service, _, registry = a_service(ONE, TWO, command=said)
        for _ in range(4):
            await ask(service)
        assert ["s"] == [each.key for each in registry]
        assert 4 == registry["s"].snapshot().counts["success"]


async def test_what_is_for_whom_may_change_too() -> None:
    service, _, registry = a_service(ONE, TWO)
    service = updated(service, ServiceConfig(endpoints=(ONE,)))
    assert ["s"] == [each.key for each in registry]
    assert 200 == await ask(service)
    service = updated(service, ServiceConfig(endpoints=(ONE, TWO)))
    assert {"s", "s@10.0.0.1:80", "s@10.0.0.2:80"} == {each.key for each in registry}
    assert 200 == await ask(service)
    service.close()
    assert [] == list(registry)


async def test_endpoints_come_and_go_as_discovery_finds_them() -> None:
    service, client, registry = a_service(ONE, TWO)
    service.endpoints.replace([EndpointConfig(url=THREE)])
    assert 200 == await ask(service)
    assert ("10.0.0.3", ["10.0.0.1", "10.0.0.2"]) == (client.asked[-1], client.gone)
    service.endpoints.replace([])
    assert "UpstreamUnreachableError" == await ask(service)
    service.endpoints.replace([EndpointConfig(url=ONE, weight=2.0), EndpointConfig(url=TWO)])
    assert {200} == {await ask(service) for _ in range(6)}
    assert {"s", "s@10.0.0.1:80", "s@10.0.0.2:80"} == {each.key for each in registry}


async def test_a_thousand_updates_leave_nothing_behind() -> None:
    service, _, registry = a_service(ONE, TWO)
    listeners = len(asyncio.all_tasks())
    for number in range(1000):
        urls = (ONE, TWO, THREE)[number % 2:][:2]
        service = updated(service, ServiceConfig(endpoints=urls, idle_timeout=1.0 + number % 3))
    assert 3 == len(list(registry))
    assert listeners == len(asyncio.all_tasks())
    assert {200} == {await ask(service) for _ in range(4)}


async def test_a_secret_that_is_not_there_leaves_the_service_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "hidden-value")
    secretive = EndpointConfig(url=ONE, headers={"authorization": "env:A_KEY"})
    service, _, _ = a_service(secretive, EndpointConfig(url=TWO))  # type: ignore[arg-type]
    assert "hidden-value" not in repr(service.config)
    monkeypatch.delenv("A_KEY")
    with pytest.raises(ConfigError, match="A_KEY") as caught:
        updated(service, attrs.evolve(service.config, idle_timeout=3.0))
    assert "hidden-value" not in str(caught.value)
    assert 200 == await ask(service)
