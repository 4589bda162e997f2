"""What the page on fleets says, at a size that takes seconds."""

from __future__ import annotations

import math

import attrs
import pytest

from . import bad_gateway, outage, restart, storm, zones
from .figures import sizes
from .gateways import GatewaySettings
from .instances import Process
from .users import UserSettings

SMALL = storm.Size(gateways=6, instances=3, seconds=75.0)
SEED = 1


def stormed(variant, seed=SEED, **changed):
    return storm.storm(storm.VARIANTS[variant], attrs.evolve(SMALL, **changed), seed)


def test_a_run_repeats_exactly():
    runs = [stormed("defaults", seconds=30.0) for _ in range(2)]
    assert runs[0].slices == runs[1].slices
    assert runs[0].share_served(0, 20) > 0.99


def test_retries_without_a_bound_keep_a_service_down_after_its_capacity_is_back():
    world = stormed("no protection", seconds=70.0)
    assert world.share_served(60, 67) < 0.5
    assert math.isinf(world.recovery_s(storm.ENDS_S))


@pytest.mark.parametrize("variant", ["defaults", "circuit of the service only", "the same, and adaptive limit"])
def test_a_service_that_is_guarded_as_one_is_well_again_after_the_storm(variant):
    worlds = [stormed(variant, seed) for seed in range(1, 6)]
    # In one run of ten it falls ill once more, and is well a little later.
    assert sum(world.share_served(65, 72) > 0.95 for world in worlds) >= 4
    for world in worlds:
        assert sum(each.attempts for each in world.slices[25:50]) / 25 < 0.8 * SMALL.capacity


def test_many_gateways_in_front_of_many_endpoints_know_too_little_of_each_and_enough_of_the_service():
    many = {"gateways": 60, "instances": 30, "seconds": 73.0}
    endpoints, both = (stormed(name, **many) for name in ("circuits of endpoints only", "defaults"))
    assert endpoints.share_served(0, 20) > 0.99
    assert endpoints.share_served(65, 72) < 0.5
    assert both.share_served(65, 72) > 0.95


def test_a_registry_that_is_away_and_comes_back_as_it_was_costs_no_request():
    size = outage.Size(gateways=6, instances=10, services=6, outage_s=120.0, seconds=250.0)
    result = outage.outage(outage.VARIANTS["back as it was"], size, SEED)
    assert 1.0 == result.world.share_served(size.back_s - 18, size.seconds - 5)
    assert 2 == result.registry.machine.counts["evicted"]  # those that are gone


def test_a_registry_that_has_forgotten_everything_lists_a_few_first_which_gateways_do_not_believe():
    size = outage.Size(gateways=6, instances=10, services=6, outage_s=10.0, seconds=120.0, load=0.1)
    hasty, patient = (outage.outage(outage.VARIANTS[name], size, SEED)
                      for name in ("back with nothing, and believed", "back with nothing"))
    assert min(hasty.listed[int(size.back_s):]) < 6
    assert min(patient.listed[int(size.back_s):]) >= 10
    assert 1.0 == patient.world.share_served(size.back_s, size.seconds - 5)


@pytest.mark.parametrize("ends_as", [Process.SILENT, Process.GONE])
def test_the_loss_of_a_zone_costs_time_and_no_request(ends_as):
    size = zones.Size(gateways=6, instances=9, load=0.3, seconds=80.0)
    world = zones.loss(zones.Loss(ends_as=ends_as), size, SEED)
    assert world.share_served(0, 75) > 0.999


def test_the_registry_forgets_a_few_dead_and_those_that_die_slowly_and_keeps_a_third_that_dies_at_once():
    size = zones.Size(registered=200, registry_seconds=900.0)
    assert 0 == zones.listed(0.1, 0.0, size, SEED)[-1]
    assert 66 == zones.listed(0.33, 0.0, size, SEED)[-1]
    assert 0 == zones.listed(0.33, 600.0, attrs.evolve(size, registry_seconds=1100.0), SEED)[-1]


def test_a_rolling_restart_loses_no_request_to_an_instance_that_ends_and_burdens_nobody():
    size = restart.Size(gateways=6, instances=12, load=0.4, seconds=185.0)
    gentle, hard = (restart.rolling_restart(restart.VARIANTS[name], size, SEED)
                    for name in ("leaves, serves on for 8 s", "ends without leaving"))
    chosen = gentle.world.slices[45:180]
    assert 0 == gentle.cut
    assert sum(each.asked for each in chosen) - sum(each.served for each in chosen) <= 1
    assert hard.cut > gentle.cut
    assert max(gentle.most[5:]) < 1.6


def test_one_gateway_that_sees_all_instances_down_changes_nothing_for_the_others():
    result = bad_gateway.bad_gateway(6, 6, SEED, user=UserSettings(per_s=1.0, retry=None))
    assert (0, 0) == (result.left_out_elsewhere, result.opened_elsewhere)
    assert result.opened_there
    assert result.world.share_served(20, 50) == pytest.approx(5 / 6, abs=0.05)


def test_the_whole_size_has_two_hundred_gateways_and_two_thousand_instances():
    whole = sizes(100)
    assert (200, 100, 20) == (whole.outage.gateways, whole.outage.instances, whole.outage.services)
    assert 2000 == whole.zones.registered
    assert GatewaySettings() == storm.VARIANTS["defaults"]
