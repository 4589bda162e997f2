"""A machine whose clock was days ahead when its service registered was refused for as many days, although NTP had set it right.

Each registration was later than the last one, whether that had been taken or not.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import pytest

from resilience.discovery import EurekaRegistrar, InstanceStatus, Registrant
from resilience.discovery.eureka_source import EurekaAnswer
from resilience.discovery.http_client import HttpClientError

DAY_S = 86_400.0
MINE = Registrant(app="shop", host="10.0.0.1", port=80)


class Servers:
    """Take what is at most so far ahead of the right time, which is 0."""

    def __init__(self, most_s: float) -> None:
        self.most_s, self.taken = most_s, list[int]()

    def ask(self, method: str, path: str, statuses: Collection[int], *, body: bytes, timeout_s: float) -> EurekaAnswer:
        said = int(json.loads(body)["instance"]["lastDirtyTimestamp"])
        if said > self.most_s * 1000:
            raise HttpClientError("it is ahead")
        self.taken.append(said)
        return EurekaAnswer(204, b"")


class Clock:
    s = 0.0

    def __call__(self) -> float:
        return self.s


def registrar_with(servers: Servers, clock: Clock) -> EurekaRegistrar:
    registrar = EurekaRegistrar("http://registry.test/eureka", wall_clock=clock)
    registrar._servers = servers  # type: ignore[assignment]
    return registrar


def register(registrar: Any) -> None:
    registrar.register(MINE, InstanceStatus.UP, 90.0, 1.0)


@pytest.mark.parametrize("ahead_s", [61.0, 2 * DAY_S])
def test_what_was_refused_is_not_outdone_once_the_clock_is_right(ahead_s: float) -> None:
    servers, clock = Servers(60.0), Clock()
    registrar = registrar_with(servers, clock)
    clock.s = ahead_s
    for _ in range(2):
        with pytest.raises(HttpClientError):
            register(registrar)
    clock.s = 1.0
    register(registrar)
    assert servers.taken == [1000]


def test_what_was_taken_by_a_registry_whose_clock_was_as_wrong_is_not_outdone_either() -> None:
    servers, clock = Servers(3 * DAY_S), Clock()
    registrar = registrar_with(servers, clock)
    clock.s = 2 * DAY_S
    register(registrar)
    servers.most_s, clock.s = 60.0, 1.0
    register(registrar)
    assert servers.taken == [int(2 * DAY_S * 1000), 1000]


def test_a_clock_that_goes_back_a_little_makes_no_registration_older_than_the_one_before() -> None:
    servers, clock = Servers(DAY_S), Clock()
    registrar = registrar_with(servers, clock)
    for clock.s in (100.0, 99.0, 99.5, 101.0):
        register(registrar)
    assert servers.taken == [100_000, 100_001, 100_002, 101_000]
