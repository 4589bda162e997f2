"""Three gateways and a redis-server: what one of them sees, the others know."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.shared.redis_server import RedisServer

from .harness import Gateway, Upstream, eventually, running
from .test_admin_api import HASH, Operator

pytestmark = pytest.mark.process

CONFIG = """
[shared]
url = "{redis}"
name = "{name}"
timeout = 1.0
fleet_secret = "file:{secret}"
[shared.circuits]
[services.up]
endpoints = ["{url}"]
command = {{ timeout = 5.0, per = "endpoint", breaker = {{ min_calls = 20, open_for = 60.0 }} }}
[services.other]
endpoints = ["{url}"]
[[routes]]
path = "/*"
service = "up"
[[routes]]
path = "/other"
service = "other"
"""


class Member:
    """One gateway of the fleet."""

    def __init__(self, gateway: Gateway, upstream: Upstream) -> None:
        self.gateway, self.operator, self.key = gateway, Operator(gateway), f"up@127.0.0.1:{upstream.port}"

    @property
    def circuit(self) -> dict[str, Any]:
        found: dict[str, Any] = self.operator.ask("GET", f"/admin/commands/{self.key}")[1]
        return found

    def heard(self) -> Any:
        """What it knows of the endpoint from others."""
        return self.operator.ask("GET", "/admin/shared")[1]["circuits"]["1"]["heard"].get(self.key)

    def ask(self, path: str, times: int = 1) -> list[int]:
        return [self.gateway.get(path)[0] for _ in range(times)]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, redis: RedisServer, upstream: Upstream) -> Iterator[list[Member]]:
    directory = tmp_path_factory.mktemp("fleet")
    (directory / "secret").write_text("only gateways of the fleet know this")
    with contextlib.ExitStack() as stack:
        yield [Member(stack.enter_context(running(
            directory, CONFIG.format(redis=redis.url, name=name, url=upstream.url, secret=directory / "secret"), workers=1,
            admin=f'tokens = {{ ops = "sha256:{HASH}" }}')), upstream) for name in "abc"]


def test_an_endpoint_that_most_gateways_see_down_is_left_by_the_last_one_too_and_one_sick_gateway_decides_nothing(
        fleet: list[Member], upstream: Upstream) -> None:
    a, b, c = fleet
    upstream.on("/sick", b"HTTP/1.1 503 Sick\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    a.ask("/sick", 20)
    assert a.circuit["state"] == "open"
    eventually(lambda: b.heard() == c.heard() == {"down": 1, "of": 3}, "word of the first gateway")
    assert (b.circuit["state"], c.circuit["state"], c.ask("/")) == ("closed", "closed", [200])

    b.ask("/sick", 20)
    opened = eventually(lambda: c.circuit if c.circuit["state"] == "open" else None, "the third gateway's circuit")
    assert opened["reason"] == "2 of 3 gateways see it down"
    assert opened["counts"]["failure"] == 0
    assert opened["retry_after"] < a.circuit["retry_after"] + 1 < 61
    assert (c.ask("/"), c.ask("/other")) == ([503], [200])
    assert 'resilience_shared_hints_total 1.0' in c.gateway.admin_get("/metrics")
    assert c.operator.ask("GET", "/admin/shared")[1]["circuits"]["1"]["told"] == []


def test_what_an_operator_says_to_one_gateway_for_the_fleet_is_in_force_in_all_and_each_says_so(
        fleet: list[Member]) -> None:
    a, b, c = fleet

    def stands(member: Member, thing: str, says: Any) -> Any:
        found = member.operator.ask("GET", "/admin/fleet")[1]["things"].get(thing)
        return found is not None and found["says"] == says and found["gateways"]

    status, said = a.operator.ask("PATCH", "/admin/services/other?fleet=true", {"idle_timeout": 7.0})
    assert (status, said["applied"], said["fleet"]) == (200, True, {"number": 1})
    status, said = b.operator.ask("POST", "/admin/commands/other?fleet=true", {"order": "force_open"})
    assert (status, said["state"]) == (200, "forced_open")
    everywhere = {name: {"applied": True} for name in "abc"}
    eventually(lambda: stands(c, "services/other", [{"idle_timeout": 7.0}]) == everywhere, "the change")
    eventually(lambda: stands(c, "commands/other", "force_open") == everywhere, "the order")
    assert [each.ask("/other") for each in fleet] == [[503]] * 3
    assert {each.operator.ask("GET", "/admin/services")[1]["other"]["config"]["idle_timeout"] for each in fleet} == {7.0}
    assert "ops from 127.0.0.1 at a" == c.operator.ask("GET", "/admin/fleet")[1]["things"]["services/other"]["by"]
    assert 'resilience_fleet_changes_total{result="applied"} 2.0' in c.gateway.admin_get("/metrics")

    assert 200 == c.operator.ask("POST", "/admin/commands/other?fleet=true", {"order": "release"})[0]
    eventually(lambda: stands(a, "commands/other", "release") == everywhere, "the release")
    assert 200 == c.operator.ask("POST", "/admin/fleet", {"withdraw": "services/other"})[0]
    eventually(lambda: stands(a, "services/other", "withdrawn") == everywhere, "the withdrawal")
    assert ["idle_timeout" in each.operator.ask("GET", "/admin/services")[1]["other"]["config"] for each in fleet] == [False] * 3


def test_what_no_operator_may_say_is_said_to_no_fleet(fleet: list[Member]) -> None:
    a = fleet[0].operator
    for status, method, path, body in (
            (422, "PATCH", "/admin/config?fleet=true", {"admin": {"bind": "0.0.0.0:1"}}),
            (422, "PATCH", "/admin/config?fleet=true", {"services": None}),
            (422, "PATCH", "/admin/services/other?fleet=true", {"endpoints": ["env:HOME"]}),
            (422, "PATCH", "/admin/services/other?fleet=maybe", {"idle_timeout": 7.0}),
            (422, "POST", "/admin/commands/nobody?fleet=true", {"order": "reset"}),
            (422, "POST", "/admin/reload?fleet=true", None), (422, "POST", "/admin/fleet", {"withdraw": 1}),
            (422, "POST", "/admin/fleet", {"withdraw": "routes"})):
        assert status == a.ask(method, path, body, **({} if body is not None else {"Content-Type": "application/json"}))[0], path
    assert 401 == a.ask("GET", "/admin/fleet", token=None)[0]
    assert a.ask("GET", "/admin/fleet")[1]["things"].keys() <= {"services/other", "commands/other"}
