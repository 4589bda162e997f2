"""When a hedge begins a further attempt."""

import math
import random

import attrs
import pytest

from resilience import ConfigError, Hedge
from resilience.config.constraints import constraints
from resilience.core.checks import settings_for
from resilience.core.hedge import Racer, longest_call
from resilience.core.histogram import bin_of
from tests.seeds import over_seeds


def racer(durations=(), **settings):
    looks = []

    def bins(now):
        looks.append(now)
        found = {}
        for duration in durations:
            found[bin_of(duration)] = found.get(bin_of(duration), 0) + 1
        return found

    return Racer(Hedge(idempotent=True, **settings), bins=bins), looks


def test_a_fixed_delay_stands_between_all_attempts():
    machine, looks = racer(delay=0.25, attempts=3)
    assert [0.25, 0.25, None, None] == [machine.launch_after(n, 7.0) for n in (1, 2, 3, 4)]
    assert [] == looks


@over_seeds(20)
def test_without_one_it_is_the_percentile_of_the_latencies(seed):
    rng = random.Random(seed)
    durations = [rng.lognormvariate(-3, 1) for _ in range(rng.randrange(100, 2000))]
    percentile = rng.choice([50, 90, 95, 99, 99.9])
    machine, _ = racer(durations, percentile=percentile)

    expected = sorted(durations)[math.ceil(percentile / 100 * len(durations)) - 1]
    assert pytest.approx(expected, rel=0.01) == machine.launch_after(1, 0.0)


@pytest.mark.parametrize(("percentile", "durations", "rank"), [
    (1, [0.1], 0), (99.99, [0.1], 0), (50, [0.1, 0.2], 0), (51, [0.1, 0.2], 1), (50, [0.1, 0.2, 0.3, 0.4], 1),
    (75, [0.1, 0.2, 0.3, 0.4], 2), (76, [0.1, 0.2, 0.3, 0.4], 3), (50, [0.1, 0.1, 0.1, 0.4], 0), (1, [0.3, 0.2, 0.1], 2)])
def test_the_percentile_is_the_least_latency_that_so_many_do_not_exceed(percentile, durations, rank):
    machine, _ = racer(durations, percentile=percentile, min_calls=1)

    assert pytest.approx(durations[rank], rel=0.01) == machine.launch_after(1, 0.0)


def test_a_thread_that_comes_while_another_looks_for_the_first_time_looks_too():
    def bins(now):
        if not answers:  # as a thread that comes while the first one waits for the lock of the latencies
            answers.append(None)
            answers[0] = machine.launch_after(1, now)
        return {bin_of(0.1): 100}

    answers = []
    machine = Racer(Hedge(idempotent=True), bins=bins)

    assert machine.launch_after(1, 5.0) == answers[0] == pytest.approx(0.1, rel=0.01)


def test_too_few_latencies_are_no_percentile():
    assert None is racer([0.1] * 99)[0].launch_after(1, 0.0)
    assert None is not racer([0.1] * 100)[0].launch_after(1, 0.0)
    assert None is not racer([0.1] * 5, min_calls=5)[0].launch_after(1, 0.0)


def test_the_percentile_is_looked_at_once_a_second():
    durations = [0.1] * 100
    machine, looks = racer(durations)
    for tenth in range(25):
        machine.launch_after(1, 100 + tenth / 10)
    assert [100.0, 101.0, 102.0] == looks
    durations[:] = [0.5] * 100
    assert pytest.approx(0.1, rel=0.01) == machine.launch_after(1, 102.9)
    assert pytest.approx(0.5, rel=0.01) == machine.launch_after(1, 103.0)


def test_calls_of_one_moment_share_a_look():
    machine, looks = racer([0.1] * 100)
    for _ in range(3):
        machine.launch_after(1, 100.0)
    assert [100.0] == looks


def test_what_must_be_said_is_in_the_schema_and_in_what_a_message_suggests():
    assert {"const": True} == constraints(attrs.fields(Hedge).idempotent.validator)
    assert "Hedge(idempotent=True, delay=0.5)" == settings_for(Hedge, 0.5)


def test_a_clock_that_steps_back_does_not_end_the_looks():
    machine, looks = racer([0.1] * 100)
    for now in (100.0, 5.0, 5.5, 6.5):
        machine.launch_after(1, now)
    assert [100.0, 5.0, 6.5] == looks


def test_configured_or_renewed_it_looks_anew():
    machine, looks = racer([0.1] * 100)
    machine.launch_after(1, 1.0)
    machine.configure(Hedge(idempotent=True, percentile=50))
    machine.launch_after(1, 1.0)
    machine.renew()
    machine.launch_after(1, 1.0)
    assert [1.0] * 3 == looks


@pytest.mark.parametrize(("settings", "name"), [
    ({}, "idempotent"), ({"idempotent": 1}, "idempotent"), ({"idempotent": False, "delay": 1.0}, "idempotent"),
    ({"idempotent": True, "delay": 0}, "delay"), ({"idempotent": True, "delay": math.nan}, "delay"),
    ({"idempotent": True, "delay": 3601}, "delay"), ({"idempotent": True, "percentile": 0.5}, "percentile"),
    ({"idempotent": True, "percentile": 100}, "percentile"), ({"idempotent": True, "attempts": 1}, "attempts"),
    ({"idempotent": True, "attempts": 11}, "attempts"), ({"idempotent": True, "min_calls": 0}, "min_calls"),
    ({"idempotent": True, "budget": 0.1}, "budget"), ({"idempotent": True, "wait": 1}, "wait"),
])
def test_nonsense_is_refused_by_name(settings, name):
    with pytest.raises(ConfigError, match=name) as caught:
        Hedge(**settings)
    assert name == caught.value.option


@pytest.mark.parametrize(("delay", "attempts", "seconds", "longest"), [
    (0.5, 2, 2.0, 2.5), (0.5, 4, 2.0, 3.5), (5.0, 2, 2.0, 4.0), (None, 3, 2.0, 6.0), (0.5, 2, 0.25, 0.5),
    (0.5, 2, math.inf, math.inf), (None, 2, math.inf, math.inf), (0.5, 3, 0.0, 0.0)])
def test_how_long_a_call_takes_whose_attempts_may_run_at_once(delay, attempts, seconds, longest):
    assert longest == longest_call(Hedge(idempotent=True, delay=delay, attempts=attempts), seconds)
