"""The order in which a directory's instances are used: tiers, shares by weight, and which of many a process uses."""

from __future__ import annotations

import random
from collections import Counter

from resilience.discovery import Instance
from resilience.discovery.instance_set import InstanceSet
from tests.seeds import over_seeds


def instance(number: int, **said: float | str | int) -> Instance:
    return Instance(url=f"http://10.0.0.{number}:80", **said)  # type: ignore[arg-type]


def numbers(found: tuple[Instance, ...]) -> list[int]:
    return [int(each.name.split(".")[3].partition(":")[0]) for each in found]


def test_priority_counts_more_than_zone_and_weight_zero_comes_last() -> None:
    found = InstanceSet([instance(1, zone="b"), instance(2, zone="a"), instance(3, priority=1, zone="a"), instance(4, weight=0, zone="a")], "a")
    assert [[2], [1], [3], [4]] == [numbers(tier) for tier in found.tiers]
    assert (1.0, 0.0, 0.0, 0.0) == found.weights(found.first(9, ""))
    assert [[1, 2], [3], [4]] == [numbers(tier) for tier in InstanceSet(found.instances.values()).tiers]


def test_equal_instances_are_taken_in_turn_and_others_by_weight() -> None:
    equal = InstanceSet([instance(1), instance(2), instance(3)])
    assert ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"] * 2 == [each.name for each in map(equal.pick, range(6)) if each]
    uneven = InstanceSet([instance(1, weight=1), instance(2, weight=3)])
    counts = Counter(each.name for each in map(uneven.pick, range(1000)) if each)
    assert 745 <= counts["10.0.0.2:80"] <= 755
    assert None is InstanceSet().pick(3)


@over_seeds(100)
def test_whatever_is_avoided_the_best_tier_that_has_another_one_is_used(seed: int) -> None:
    rng = random.Random(seed)
    found = InstanceSet([instance(number, priority=rng.randrange(2), zone=rng.choice("ab"), weight=rng.choice([0, 1, 1, 2.5]))
                         for number in range(1, rng.randrange(2, 9))], rng.choice(["", "a"]))
    avoid = {name for name in found.instances if rng.random() < 0.5}
    wanted = next((set(map(lambda each: each.name, tier)) - avoid for tier in found.tiers if any(each.name not in avoid for each in tier)),
                  {each.name for each in found.tiers[0]})
    picked = [found.pick(rng.randrange(1000), avoid) for _ in range(50)]
    assert {each.name for each in picked if each is not None} <= wanted
    assert None not in picked


def test_of_many_each_process_uses_some_and_keeps_them_when_others_come_and_go() -> None:
    many = [instance(number) for number in range(1, 101)]
    first = {each.name for each in InstanceSet(many).first(10, "one")}
    assert 10 == len(first)
    assert first != {each.name for each in InstanceSet(many).first(10, "two")}
    fewer = [each for each in many if each.name in first or each.name.endswith("7:80")]
    assert first == {each.name for each in InstanceSet(fewer).first(10, "one")}
    used = Counter(each.name for salt in range(200) for each in InstanceSet(many).first(10, f"{salt}"))
    assert 100 == len(used), "all of them together use all"
    preferred = [*many, *(Instance(url=f"http://10.0.1.{number}:80", priority=1) for number in range(5))]
    assert not any(each.priority for each in InstanceSet(preferred).first(100, ""))
