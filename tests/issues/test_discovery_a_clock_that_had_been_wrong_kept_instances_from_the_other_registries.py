"""A registry whose clock is days ahead for a moment gives versions of that time, and the others refuse these.

Its clock was put right, but the versions stayed: whatever came after was later still, and refused. An instance that only
renewed there was lost to the others for as long as the clock had been ahead.
"""

from __future__ import annotations

import asyncio
import logging
import random

import attrs
import pytest

from resilience.discovery.registry.instance_registry import PURGE_EVERY_S
from tests.discovery.registry.memory_records import Records
from tests.discovery.registry.plain_registry import instance
from tests.discovery.registry.three_registries import COMPARE_S, Net, end, on_virtual_time, three
from tests.seeds import over_seeds

DAYS_S = 2 * 86_400.0


@pytest.fixture(autouse=True)
def quiet_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="resilience")


async def a_wrong_clock(seed: int) -> None:
    rng = random.Random(seed)
    net: Net = three(rng)
    has_peers = rng.random() < 0.7
    net.store = Records(rng) if not has_peers or rng.random() < 0.3 else None  # type: ignore[attr-defined]
    for node in net.nodes.values():
        node.start([name for name in net.nodes if has_peers and name != node.name], 0.0, net.store)  # type: ignore[attr-defined]
    names, wrong = "abcd", net.nodes["A"]
    right = net.nodes["B"].now
    for name in names[:2]:
        wrong.registry.register(instance("SHOP", name, duration_s=3600, dirty_ms=right().unix_ms), "10.0.0.9", wrong.now())
    await asyncio.sleep(5.0)
    wrong.skew_s = DAYS_S
    for name in names:
        if rng.random() < 0.6 or name in names[2:]:
            said = instance("SHOP", name, duration_s=3600, dirty_ms=right().unix_ms, metadata={"seen": f"{rng.random()}"})
            wrong.registry.register(said, "10.0.0.9", wrong.now())
        if rng.random() < 0.5:
            wrong.registry.override("SHOP", name, "OUT_OF_SERVICE", 0, wrong.now())
    await asyncio.sleep(rng.uniform(0.0, 60.0))
    assert net.nodes["B"].table() != wrong.table(), "they were refused"
    wrong.skew_s = rng.uniform(-3600.0, 3600.0)
    await asyncio.sleep(PURGE_EVERY_S + 2 * COMPARE_S)
    tables = [node.table() for node in net.nodes.values()]
    assert tables[0] == tables[1] == tables[2]
    assert {("SHOP", name) for name in names} == set(tables[0])
    known = wrong.registry.counts["put_right"]
    wrong.registry.register(instance("SHOP", "a", duration_s=3600, dirty_ms=right().unix_ms), "10.0.0.9", wrong.now())
    await asyncio.sleep(PURGE_EVERY_S + COMPARE_S)
    assert net.nodes["C"].table() == wrong.table()
    assert known == wrong.registry.counts["put_right"], "it is done once"
    await end(net)


@over_seeds(25)
def test_what_was_accepted_while_a_clock_was_days_ahead_reaches_the_others_once_it_is_right(seed: int) -> None:
    on_virtual_time(a_wrong_clock, seed)


async def an_instance_of_the_same_machine() -> None:
    net: Net = three(random.Random(0))
    wrong, other = net.nodes["A"], net.nodes["B"]
    wrong.start(["B"])
    other.start(["A"])
    wrong.skew_s = DAYS_S
    said = instance("SHOP", "a", duration_s=3600, dirty_ms=wrong.now().unix_ms)
    wrong.registry.register(said, "10.0.0.9", wrong.now())
    await asyncio.sleep(COMPARE_S)
    wrong.skew_s = 0.0
    await asyncio.sleep(PURGE_EVERY_S + 2 * COMPARE_S)
    assert other.table() == wrong.table()
    assert set(other.table()) == {("SHOP", "a")}, "its own timestamp was days ahead as well"
    renewed = f"/apps/SHOP/a?lastDirtyTimestamp={said.dirty_ms}"
    assert wrong.answer("PUT", renewed, is_peer=False).status == 200, "to ask it to register would be of no use"
    assert other.answer("PUT", renewed).status == 200
    wrong.registry.register(attrs.evolve(said, dirty_ms=wrong.now().unix_ms), "10.0.0.9", wrong.now())
    await asyncio.sleep(COMPARE_S)
    assert other.table() == wrong.table()
    assert other.table()["SHOP", "a"][0].dirty_ms == wrong.now().unix_ms - COMPARE_S * 1000
    await end(net)


def test_an_instance_whose_clock_was_as_wrong_reaches_the_others_before_it_registers_anew() -> None:
    on_virtual_time(an_instance_of_the_same_machine)
