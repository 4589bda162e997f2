"""Active checks, hedges, deadlines and sticky clients of a service, with stub endpoints and on a virtual clock."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resilience import RetryBudget, deadline
from resilience.gateway.balancing import EndpointState
from resilience.gateway.balancing.health import Health, HealthChecks
from resilience.gateway.balancing.retry_state import Repetition
from resilience.gateway.balancing.sticky import token_of
from resilience.gateway.config.balancing import BalancingConfig
from resilience.gateway.messages.exchange import Request
from resilience.testing import virtual_time

from .stub_service import ONE, TWO, a_service, ask


@pytest.mark.parametrize(("found", "healthy"), [
    ("-", "1"), ("--", "11"), ("---", "110"), ("--+---", "111110"), ("---+", "1100"), ("---++", "11001"),
    ("---+-++", "1100001")])
def test_an_endpoint_turns_by_so_many_checks_in_a_row(found: str, healthy: str) -> None:
    state = EndpointState("a")
    health = Health(HealthChecks(unhealthy=3, healthy=2), state)
    seen = ""
    for each in found:
        health.found(each == "+")
        seen += str(int(state.is_healthy))
    assert healthy == seen


def test_an_endpoint_that_fails_its_checks_gets_no_requests_until_it_passes_them() -> None:
    async def scenario() -> None:
        service, client, registry = a_service(ONE, TWO, checks=HealthChecks(interval=1.0, unhealthy=2, healthy=2))
        client.does = {"10.0.0.1": lambda: 503}
        await ask(service)
        await asyncio.sleep(5.0)
        client.does = {"10.0.0.1": lambda: 404}  # what a request would get
        client.asked.clear()
        assert {200} == {await ask(service) for _ in range(10)}
        assert {"10.0.0.2"} == set(client.asked)
        client.does = {}
        await asyncio.sleep(5.0)
        client.asked.clear()
        assert {200} == {await ask(service) for _ in range(10)}
        assert {"10.0.0.1", "10.0.0.2"} == set(client.asked)
        assert registry["s"].snapshot().counts["success"] >= 20, "checks are counted nowhere"
        assert registry["s"].snapshot().counts["success"] <= 22
        service.stop()
        await asyncio.sleep(0)
        assert 1 == len(asyncio.all_tasks())

    virtual_time(scenario())


def slow(seconds: float, answer: Any = 200) -> Any:
    async def wait() -> Any:
        await asyncio.sleep(seconds)
        return answer

    return wait


@pytest.mark.parametrize(("first", "second", "answered", "took"), [
    (slow(0.9), slow(0.1), 200, 0.3), (slow(0.25), slow(0.9), 200, 0.25), (slow(0.1), slow(0.0), 200, 0.1),
    (slow(0.9), slow(0.1, 503), 200, 0.9), (slow(0.9, 503), slow(0.1, 500), 503, 0.9)])
def test_a_slow_endpoint_is_hedged_and_the_first_good_answer_counts(
        first: Any, second: Any, answered: int, took: float) -> None:
    async def scenario() -> None:
        service, client, _ = a_service(ONE, TWO, hedge=0.2, balancer="first", retry=Repetition(attempts=1),
                                       command={"timeout": 5.0, "breaker": None})
        client.does = {"10.0.0.1": first, "10.0.0.2": second}
        began = asyncio.get_running_loop().time()
        assert answered == await ask(service)
        assert took == pytest.approx(asyncio.get_running_loop().time() - began, abs=0.01)
        assert [0, 0] == [each.in_flight for each in service.endpoints.states]
        assert 1 == len(asyncio.all_tasks())

    virtual_time(scenario())


def test_no_post_is_hedged_and_none_without_a_token_and_a_client_that_leaves_takes_both_along() -> None:
    async def scenario() -> None:
        nothing = Repetition(budget=RetryBudget(ratio=0.0, per_second=0.0))
        for method, retry in (("POST", Repetition()), ("GET", nothing)):
            service, client, _ = a_service(ONE, TWO, hedge=0.1, balancer="first", retry=retry)
            client.does = {"10.0.0.1": slow(0.5)}
            assert 200 == await ask(service, method)
            assert ["10.0.0.1"] == client.asked
        service, client, _ = a_service(ONE, TWO, hedge=0.1)
        client.does = {"10.0.0.1": slow(0.5), "10.0.0.2": slow(0.5)}
        asking = asyncio.ensure_future(ask(service))
        await asyncio.sleep(0.3)
        assert [1, 1] == [each.in_flight for each in service.endpoints.states]
        asking.cancel()
        await asyncio.wait((asking,))
        assert ([0, 0], 1) == ([each.in_flight for each in service.endpoints.states], len(asyncio.all_tasks()))
        assert [0, 0] == [each.failures for each in service.endpoints.states]

    virtual_time(scenario())


def test_the_clients_deadline_is_heeded_and_passed_on_in_what_is_left_of_it() -> None:
    async def scenario() -> None:
        service, client, _ = a_service(ONE, pass_deadline=True, deadline=5.0, command={"timeout": 9.0})
        for told, left in ((b"700", b"700"), (b"99999", b"5000"), (None, b"5000")):
            headers = [] if told is None else [(deadline.HEADER.encode(), told)]
            request = Request(method="GET", target=b"/x", host=None, headers=headers)
            with service.bounded(request):
                attempts = service.attempts(request)
                await attempts.answered()
                await attempts.settled()
            told_on = dict(client.requests[-1].headers)[deadline.HEADER.encode()]
            assert abs(int(left) - int(told_on)) <= 2

    virtual_time(scenario())


async def test_a_sticky_client_is_given_a_cookie_once_and_comes_back_by_it() -> None:
    service, client, _ = a_service(ONE, TWO, balancing=BalancingConfig(sticky="seat"))
    request = Request(method="GET", target=b"/x", host=None, headers=[])
    attempts = service.attempts(request)
    await attempts.answered()
    [(name, value)] = service.cookie(request, attempts)
    token = token_of(attempts.endpoint.name)
    assert (b"set-cookie", True) == (name, value.startswith(b"seat=%b; Path=/; HttpOnly" % token))
    await attempts.settled()
    client.asked.clear()
    request = Request(method="GET", target=b"/x", host=None, headers=[(b"cookie", b"a=b; seat=%b" % token)])
    for _ in range(4):
        attempts = service.attempts(request)
        await attempts.answered()
        assert [] == service.cookie(request, attempts)
        await attempts.settled()
    assert 1 == len(set(client.asked))
