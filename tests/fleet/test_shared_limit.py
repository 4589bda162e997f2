"""One rate limit of three gateways with Redis on a host of its own: what they let through while it is well, and not.

How exact the limit is at any load, and what becomes of each request, is tested in virtual time (tests/shared). Here
are real processes, whose clocks and turns nobody steers: bounds are wide where the machine's speed is in them.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.harness import eventually

from .fleet import BURST, RATE, Fleet
from .load import Load, Record

pytestmark = pytest.mark.process

LIMITED = "/limited/"
#: The promise: at most this of the limit; and what a unit may be late by on its way to the client, seconds.
OVER, LATE_S = 1.05, 0.25


def passed(record: Record) -> bool:
    return record.is_answered


def most(records: list[Record]) -> float:
    """What may have passed from the first to the last of these."""
    time_s = max(each.began_at + each.took_s for each in records) - min(each.began_at for each in records)
    return OVER * (BURST + RATE * (time_s + LATE_S)) + 1


def stores(fleet: Fleet) -> list[dict[str, Any]]:
    """What each worker says of the shared store."""
    return [each for gateway in fleet.gateways.values() for each in gateway.tells("/admin/shared").get("store", {}).values()]


def connected(fleet: Fleet, wanted: bool) -> None:
    eventually(lambda: {wanted} == {each["is_connected"] for each in stores(fleet)}, f"connected: {wanted}")


def test_three_gateways_with_one_limit_let_no_more_through_than_one_would(fleet: Fleet) -> None:
    connected(fleet, True)
    with fleet.load(path=LIMITED, clients=9, pause_s=0.01) as load:
        load.go_on(RATE * 2 + BURST, until=passed)
    assert {"200", "429"} == {*load.fates()}
    got = list(filter(passed, load.records))
    assert len(got) <= most(load.records)
    assert {*fleet.gateways} == {name for name, each in fleet.gateways.items() if any(
        record.last.gateway == each.address for record in got)}


@pytest.mark.parametrize("fault", ["killed", "cut off", "frozen"])
def test_without_redis_requests_go_on_with_local_shares_and_the_limit_heals(fleet: Fleet, fault: str) -> None:
    redis = fleet.redis
    assert redis is not None
    connected(fleet, True)
    begin, end = {"killed": (redis.die, redis.start), "cut off": (redis.host.cut_off, redis.host.heal),
                  "frozen": (redis.host.freeze, redis.host.thaw)}[fault]
    with fleet.load(path=LIMITED, clients=9, pause_s=0.01) as load:
        load.go_on(10, until=passed)
        begin()
        load.go_on(20, until=passed)
        connected(fleet, False)
        load.go_on(20, until=passed)
        end()
        connected(fleet, True)
        load.go_on(20, until=passed)
    assert {"200", "429"} == {*load.fates()}
    assert len(list(filter(passed, load.records))) <= most(load.records)
    assert waited(load, 0.1 * 5) <= 4 + len(load.records) // 20, "one timeout for one request of each worker's connection"


def waited(load: Load, time_s: float) -> int:
    """How many requests took so long."""
    return sum(each.took_s >= time_s for each in load.records)
