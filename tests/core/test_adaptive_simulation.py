"""A short form of the benchmark's simulation: an overloaded server behind the limit keeps its goodput.

What others asked for: an adaptive limit at all (Hystrix #131, resilience4j #201), one that ramps fast and withstands
noise in the shortest time (Netflix/concurrency-limits #35, #37, #150, #165), and priorities (resilience4j #2063).
"""

import attrs
import pytest

from resilience.core.adaptive import AdaptiveLimit, AdaptiveLimiter
from tests.benchmarks.simulation import Adaptive, Change, NoLimit, Run, World, fluke, lognormal, stragglers

START = Change(at=0.0, workers=20, service_s=0.05)
STEADY = World(changes=[START], seconds=20.0)
CHANGES = {
    "half the workers": [START, Change(at=12.0, workers=10, service_s=0.05)],
    "twice the workers": [START, Change(at=12.0, workers=40, service_s=0.05)],
    "half the speed": [START, Change(at=12.0, workers=20, service_s=0.1)],
    "twice the speed": [START, Change(at=12.0, workers=20, service_s=0.025)],
}


def run(world, **options):
    return Run(world, Adaptive(AdaptiveLimiter(AdaptiveLimit(**options), key="server", now=0.0))).go()


@pytest.mark.parametrize("algorithm", ["gradient", "vegas", "aimd"])
@pytest.mark.parametrize("seed", [1, 2])
def test_at_three_times_the_load_goodput_stays_at_ninety_percent_of_the_capacity(algorithm, seed):
    assert run(attrs.evolve(STEADY, seed=seed), algorithm=algorithm).goodput(10.0, 20.0) >= 0.9


def test_without_a_limit_the_same_server_answers_nobody_in_time():
    assert Run(STEADY, NoLimit()).go().goodput(10.0, 20.0) < 0.01


@pytest.mark.parametrize("algorithm", ["gradient", "vegas"])
@pytest.mark.parametrize("change", CHANGES)
def test_ten_seconds_after_a_change_of_capacity_goodput_is_back(algorithm, change):
    result = run(World(changes=CHANGES[change], seconds=32.0), algorithm=algorithm)

    assert result.recovery(12.0) <= 10.0
    assert result.goodput(22.0, 32.0) >= 0.9


@pytest.mark.parametrize("algorithm", ["gradient", "vegas"])
@pytest.mark.parametrize("noise", [stragglers, fluke], ids=["stragglers", "fluke"])
def test_answers_that_come_late_or_from_elsewhere_do_not_bring_it_down(algorithm, noise):
    assert run(attrs.evolve(STEADY, noise=noise), algorithm=algorithm).goodput(10.0, 20.0) >= 0.9


@pytest.mark.parametrize("algorithm", ["gradient", "vegas"])
def test_ten_seconds_after_an_outage_goodput_is_back(algorithm):
    changes = [START, attrs.evolve(START, at=8.0, workers=0), attrs.evolve(START, at=18.0)]
    result = run(World(changes=changes, seconds=38.0, calls_per_s=1200.0), algorithm=algorithm)

    assert result.recovery(18.0) <= 10.0
    assert result.goodput(28.0, 38.0) >= 0.9


def test_a_service_with_room_for_hundreds_gets_them_within_two_seconds():
    result = run(World(changes=[Change(at=0.0, workers=300, service_s=0.05)], seconds=4.0))

    assert result.goodput(2.0, 4.0) >= 0.9


def test_a_queue_in_front_keeps_goodput_too():
    assert run(attrs.evolve(STEADY, service=lognormal), max_queue=20).goodput(10.0, 20.0) >= 0.9


def test_a_load_below_the_capacity_is_let_through():
    result = run(attrs.evolve(STEADY, load=0.4))
    refused, good = (sum(getattr(part, name) for part in result.slices) for name in ("refused", "good"))

    assert refused < 0.01 * good


def test_the_important_calls_are_refused_less_than_the_others():
    policy = Adaptive(AdaptiveLimiter(AdaptiveLimit(), key="server", now=0.0))
    result = Run(STEADY, policy, priority=lambda rng: rng.choice([0, 3])).go()

    assert result.good_of[0] > 3 * result.good_of[3]
