"""What a registry told of sixteen parts of its table could be more than the one that asked takes; then both failed for ever.

That took 170,000 usual instances, or two thousand whose metadata is as large as may be, which four addresses may register.
From then on no change reached the other registry, for a comparison that fails comes first.
"""

from __future__ import annotations

import asyncio
import json
import random

from resilience.discovery.registry.lease_table import part_of
from resilience.discovery.registry.peer_rest import MOST_COPIES_BYTES, MOST_PARTS
from tests.discovery.registry.plain_registry import instance
from tests.discovery.registry.three_registries import COMPARE_S, Net, end, on_virtual_time, start, three

LARGE, NUMBER = 150_000, 2 * MOST_PARTS


class Scales(Net):
    """A network that weighs what it carries."""

    largest = 0

    async def carry(self, source, target, method, path, body):  # type: ignore[no-untyped-def]
        status, answer = await super().carry(source, target, method, path, body)  # type: ignore[no-untyped-call]
        self.largest = max(self.largest, len(answer))
        return status, answer


def said(number: int) -> object:
    return instance("SHOP", f"i{number}", metadata={f"m{each}": "x" * (LARGE // 50) for each in range(50)}, dirty_ms=1)


async def registers_while_the_others_are_away() -> None:
    net: Scales = three(random.Random(0), Scales(random.Random(0)))
    start(net)
    node = net.nodes["A"]
    net.cut("A", "B")
    net.cut("A", "C")
    for number in range(NUMBER):
        node.registry.register(said(number), "10.0.0.9", node.now())
    for each in node.peers:
        each.queue.clear()
    net.heal()
    await asyncio.sleep(2 * COMPARE_S)
    assert net.nodes["B"].table() == net.nodes["C"].table() == node.table()
    assert len(node.table()) == NUMBER
    assert net.largest < MOST_COPIES_BYTES + 2 * LARGE
    await end(net)


def test_an_answer_has_as_many_parts_as_there_is_room_for_and_all_are_told_in_the_end() -> None:
    on_virtual_time(registers_while_the_others_are_away)


async def asks_for_parts() -> None:
    net = three(random.Random(0))
    start(net)
    node = net.nodes["A"]
    for number in range(NUMBER):
        node.registry.register(said(number), "10.0.0.9", node.now())
    parts = sorted({part_of(("SHOP", f"i{number}")) for number in range(NUMBER)})[:MOST_PARTS]
    answer = json.loads(node.answer("GET", f"/peerreplication/copies?parts={','.join(map(str, parts))}").body)
    told = {part_of((each["resilience"]["app"], each["resilience"]["id"])) for each in answer["copies"]}
    assert told == set(parts[:answer["parts"]])
    assert 1 < answer["parts"] < MOST_PARTS
    await end(net)


def test_it_says_of_how_many_parts_it_tells_all() -> None:
    on_virtual_time(asks_for_parts)


class Before(Net):
    """A network in which registries do not say yet of how many parts they tell, since they tell of all."""

    async def carry(self, source, target, method, path, body):  # type: ignore[no-untyped-def]
        status, answer = await super().carry(source, target, method, path, body)  # type: ignore[no-untyped-call]
        return status, answer.replace(b'"parts":', b'"unsaid":')


async def compares_with_registries_of_before() -> None:
    net: Before = three(random.Random(0), Before(random.Random(0)))
    start(net)
    node = net.nodes["A"]
    for number in range(40):
        node.registry.register(instance("SHOP", f"i{number}", dirty_ms=1), "10.0.0.9", node.now())
    for each in node.peers:
        each.queue.clear()
    await asyncio.sleep(2 * COMPARE_S)
    assert net.nodes["B"].table() == net.nodes["C"].table() == node.table()
    await end(net)


def test_one_that_does_not_say_of_how_many_parts_it_tells_tells_of_all() -> None:
    on_virtual_time(compares_with_registries_of_before)
