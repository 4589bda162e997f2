"""When leases are kept although they have run out: the documented formula, and a registry that loses its network."""

import random

import pytest

from resilience.discovery.registry.instance_registry import InstanceRegistry
from resilience.discovery.registry.self_preservation import RenewalRate, SelfPreservation
from resilience.discovery.registry.settings import RegistrySettings
from tests.discovery.registry.plain_registry import instance, moment
from tests.seeds import over_seeds


def preservation(**more):
    return SelfPreservation(**{"enabled": True, "renewal_interval_s": 30.0, "threshold_ratio": 0.85, "expected": 0,
                               "counts_from_zero": True, **more})


@pytest.mark.parametrize(("expected", "interval", "ratio", "threshold"), [
    (0, 30, 0.85, 0), (1, 30, 0.85, 1), (2, 30, 0.85, 3), (10, 30, 0.85, 17), (100, 30, 0.85, 170), (100, 10, 0.85, 510),
    (7, 45, 0.5, 4)])
def test_the_threshold_is_that_of_the_documented_formula(expected, interval, ratio, threshold):
    assert preservation(expected=expected, renewal_interval_s=interval, threshold_ratio=ratio).threshold == threshold


def test_evictions_need_more_renewals_than_the_threshold():
    state = preservation(expected=10)

    assert [state.allows_eviction(renewals) for renewals in (0, 16, 17, 18, 20)] == [False, False, False, True, True]
    assert preservation(expected=10, enabled=False).allows_eviction(0)
    assert not preservation(expected=0).allows_eviction(100)


def test_the_expected_number_is_not_lowered_by_a_recount_that_misses_too_many():
    state = preservation(expected=100)
    state.recount(85)
    assert state.expected == 100
    state.recount(86)
    assert state.expected == 86
    state.recount(200)
    assert state.expected == 200


def test_a_registry_counts_its_instances_anew_every_15_minutes():
    registry = InstanceRegistry(RegistrySettings(expected_instances=10), moment(0.0))
    for number in range(100):
        registry.register(instance(identity=str(number)), "10.0.0.1", moment(0.0))
    assert registry.preservation.expected == 110
    run(registry, 899, range(100))
    assert registry.preservation.expected == 110
    run(registry, 1, range(100), 899)
    assert registry.preservation.expected == 100


def test_a_registry_that_expects_nobody_learns_from_registrations_unless_the_defect_is_asked_for():
    ours, theirs = preservation(), preservation(counts_from_zero=False)
    for state in (ours, theirs):
        state.lease_began()
        state.lease_began()
        state.lease_ended()

    assert (ours.expected, theirs.expected) == (1, 0)


@over_seeds(15)
def test_the_renewals_of_the_last_minute_are_counted_as_a_list_of_them_says(seed):
    random_, rate, came, now = random.Random(seed), RenewalRate(), [], random.Random(seed).uniform(0, 1e6)
    rate.last_minute(now)
    for _ in range(400):
        now += random_.choice((0.0, 0.01, 0.3, 1.0, 7.0)) if random_.random() < 0.98 else random_.uniform(50, 200)
        if random_.random() < 0.7:
            rate.add(now)
            came.append(now)
        assert rate.last_minute(now) == sum(int(now) - 60 <= int(each) < int(now) for each in came)


def run(registry, seconds, alive, start=0):
    """Let so many *seconds* pass, in which those who are *alive* renew every 30 s; how many were evicted."""
    evicted = 0
    for second in range(start + 1, start + seconds + 1):
        for number in alive:
            if (second + number) % 30 == 0:
                registry.renew("SHOP", str(number), moment(second))
        evicted += len(registry.tick(moment(second), random.Random(second).sample))
    return evicted


def filled(**settings):
    registry = InstanceRegistry(RegistrySettings(**settings), moment(0.0))
    for number in range(100):
        registry.register(instance(identity=str(number)), "10.0.0.1", moment(0.0))
    run(registry, 120, range(100))
    return registry


def test_a_few_instances_that_die_are_evicted():
    assert run(filled(), 300, range(90), 120) == 10


def test_half_of_the_instances_that_fall_silent_at_once_are_all_kept_and_none_is_lost_when_they_are_back():
    registry = filled()

    assert run(registry, 1200, range(50), 120) == 0
    assert not registry.allows_eviction(moment(1320))
    assert run(registry, 300, range(100), 1320) == 0
    assert registry.allows_eviction(moment(1620))


def test_nothing_is_kept_with_self_preservation_off():
    assert run(filled(self_preservation=False), 2400, range(50), 120) == 50
