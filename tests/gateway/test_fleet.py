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
    with contextlib.ExitStack() as stack:
        yield [Member(stack.enter_context(running(
            directory, CONFIG.format(redis=redis.url, name=name, url=upstream.url), workers=1,
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
