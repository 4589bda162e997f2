"""Percentiles against sorted lists of every duration."""

import math
import random
import tracemalloc
from array import array
from collections import Counter

import pytest

from resilience.core.histogram import (
    BINS,
    EMPTY,
    HIGHEST_S,
    LE_BOUNDS,
    LOWEST_S,
    RollingHistogram,
    bin_of,
    value_of,
)
from tests.seeds import over_seeds

QUANTILES = {"p0": 0.0, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p995": 0.995,
             "p100": 1.0}

DISTRIBUTIONS = {
    "uniform": lambda rng: rng.uniform(0.001, 0.9),
    "exponential": lambda rng: rng.expovariate(20.0) + 1e-7,
    "lognormal": lambda rng: rng.lognormvariate(-4.0, 2.0),
    "pareto": lambda rng: min(0.001 * rng.paretovariate(0.7), 9e4),
    "constant": lambda rng: 0.025,
    "two humps": lambda rng: rng.choice([rng.gauss(0.002, 0.0002), rng.gauss(30.0, 1.0)]),
    "microseconds": lambda rng: rng.uniform(1e-7, 5e-6),
    "everything": lambda rng: math.exp(rng.uniform(math.log(LOWEST_S), math.log(HIGHEST_S))),
    "powers of two": lambda rng: 2.0 ** rng.randrange(-20, 16),
}


def nearest_rank(ordered, q):
    return ordered[max(1, math.ceil(round(q * len(ordered), 9))) - 1]


@pytest.mark.parametrize("one_by_one", [True, False])
@pytest.mark.parametrize("count", [1, 2, 7, 200, 2000])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_percentiles_are_within_one_percent_of_the_exact_ones(name, count, one_by_one):
    rng = random.Random(f"{name} {count}")
    values = array("f", [abs(DISTRIBUTIONS[name](rng)) for _ in range(count)])
    histogram = RollingHistogram(window=60.0, slices=6, now=0.0)
    if one_by_one:
        for value in values:
            histogram.add(value, rng.choice([0.0, 1.0]))
    else:
        histogram.add_many(values, 0.0)
    latency, ordered = histogram.latency(59.0), sorted(values)

    assert count == latency.count
    assert pytest.approx(sum(values) / count, rel=1e-5) == latency.mean
    for field, q in QUANTILES.items():
        exact = nearest_rank(ordered, q)
        assert abs(getattr(latency, field) - exact) <= 0.01 * exact, field


def test_every_bins_value_is_within_one_percent_of_all_that_falls_into_it():
    value, step = LOWEST_S * 1.0001, 1.0003
    while value < HIGHEST_S:
        assert abs(value_of(bin_of(value)) - value) <= 0.01 * value
        value *= step


def test_bins_grow_with_the_duration():
    durations = sorted(random.Random(1).uniform(0, 40) ** 5 * 1e-8 for _ in range(5000))
    bins = [bin_of(duration) for duration in durations]

    assert sorted(bins) == bins
    assert all(0 <= index < BINS for index in bins)


@pytest.mark.parametrize("add", ["add", "add_many"])
def test_extreme_durations_fall_into_the_outer_bins(add):
    histogram = RollingHistogram(window=60.0, slices=6, now=0.0)
    for duration in [0.0, -0.0, -5.0, 1e-12, 1e9, math.inf, 0.5]:
        histogram.add(duration, 0.0) if add == "add" else histogram.add_many(array("f", [duration]), 0.0)

    assert {0: 4, bin_of(0.5): 1, BINS - 1: 2} == histogram.bins(0.0)
    assert value_of(0) == histogram.latency(0.0).p0
    assert 0.99 * HIGHEST_S < histogram.latency(0.0).p100 < 1.01 * HIGHEST_S


class SlowHistogram:
    def __init__(self, window, slices, now):
        self.slice_s, self.slices, self.origin, self.running, self.values = window / slices, slices, now, 0, []

    def see(self, now):
        self.running = max(self.running, int((now - self.origin) // self.slice_s))

    def add(self, value, now):
        self.see(now)
        self.values.append((self.running, value))

    def bins(self, now):
        self.see(now)
        return dict(Counter(bin_of(v) for at, v in self.values if at > self.running - self.slices))


@over_seeds(40)
def test_any_history_rolls_as_a_list_of_durations_does(seed):
    rng = random.Random(seed)
    slices = rng.choice([1, 2, 6])
    shape = {"window": slices * 4.0, "slices": slices, "now": 3.0}
    histogram, slow, now = RollingHistogram(**shape), SlowHistogram(**shape), 3.0
    for _ in range(80):
        now += rng.choice([0, rng.randrange(16), rng.randrange(300), -rng.randrange(30)]) / 16
        batch = array("f", [rng.lognormvariate(-3, rng.choice([0.1, 3.0])) for _ in range(rng.randrange(1, 9))])
        if rng.random() < 0.5:
            histogram.add_many(batch, now)
        else:
            for value in batch:
                histogram.add(value, now)
        for value in batch:
            slow.add(value, now)
        now += rng.choice([0, rng.randrange(40)]) / 16
        expected = slow.bins(now)
        assert expected == histogram.bins(now)
        assert sum(expected.values()) == histogram.latency(now).count
        if rng.random() < 0.03:
            histogram.clear()
            slow.see(now)
            slow.values = [(-100, value) for _, value in slow.values]

    lifetime = histogram.lifetime()
    assert len(slow.values) == sum(lifetime.buckets)
    assert pytest.approx(sum(value for _, value in slow.values), rel=1e-4) == lifetime.seconds


@pytest.mark.parametrize("many", [70_000, 131_073])
def test_more_than_sixteen_bits_of_one_duration_are_all_counted(many):
    histogram = RollingHistogram(window=6.0, slices=6, now=0.0)
    histogram.add_many(array("f", [0.01]) * many, 0.0)
    histogram.add(2.0, 1.0)
    histogram.add_many(array("f", [0.01]) * many, 2.0)

    assert 2 * many + 1 == histogram.latency(5.5).count
    assert 2 * many + 1 == sum(histogram.lifetime().buckets)
    assert many + 1 == histogram.latency(6.5).count
    assert 2 * many + 1 == sum(histogram.lifetime().buckets)


@pytest.mark.parametrize("many", [255, 256, 65_536])
def test_a_faster_call_later_leaves_a_closed_slices_many_counts_in_their_bins(many):
    histogram = RollingHistogram(window=10.0, slices=10, now=0.0)
    histogram.add_many(array("f", [0.01]) * many, 0.0)
    histogram.add(0.0001, 1.5)
    histogram.add(0.00001, 3.0)

    found = histogram.latency(3.0)
    assert (many + 2, pytest.approx(0.01, rel=0.01)) == (found.count, found.p50)
    assert pytest.approx(0.00001, rel=0.01) == found.p0


def test_histograms_merge_by_adding_their_bins():
    rng = random.Random(3)
    parts = [[rng.lognormvariate(-3, 1) for _ in range(n)] for n in (10, 500, 3000)]
    merged = Counter()
    for part in parts:
        histogram = RollingHistogram(window=60.0, slices=6, now=0.0)
        for value in part:
            histogram.add(value, 0.0)
        merged.update(histogram.bins(0.0))
    ordered, rank, seen = sorted(sum(parts, [])), math.ceil(0.99 * 3510), 0
    for index in sorted(merged):
        seen += merged[index]
        if seen >= rank:
            break

    assert pytest.approx(ordered[rank - 1], rel=0.01) == value_of(index)


def test_memory_is_bounded_however_many_durations_come():
    rng = random.Random(4)
    histogram = RollingHistogram(window=60.0, slices=6, now=0.0)

    def feed(start, n):
        for i in range(n):
            histogram.add(math.exp(rng.uniform(-19, 12)), start + i * 0.02)

    feed(0.0, 8000)
    tracemalloc.start()
    try:
        before = tracemalloc.take_snapshot()
        feed(160.0, 8000)
        grown = sum(stat.size_diff for stat in tracemalloc.take_snapshot().compare_to(before, "filename")
                    if "histogram.py" in str(stat.traceback))
    finally:
        tracemalloc.stop()

    assert grown < 200_000  # every bin of six slices, remade
    assert len(histogram.bins(320.0)) <= BINS


def test_lifetime_buckets_hold_what_their_bounds_say_to_within_a_bin():
    histogram = RollingHistogram(window=60.0, slices=6, now=0.0)
    for bound in LE_BOUNDS:
        histogram.add(bound * 0.98, 0.0)
    histogram.add(LE_BOUNDS[-1] * 1.02, 0.0)

    assert [1] * (len(LE_BOUNDS) + 1) == histogram.lifetime().buckets


def test_lifetime_never_falls_while_slices_leave_and_the_window_is_cleared():
    rng, now, seen, last = random.Random(5), 0.0, 0, ([0] * 14, 0.0)
    histogram = RollingHistogram(window=6.0, slices=3, now=0.0)
    for _ in range(300):
        now += rng.expovariate(0.5)
        histogram.add(rng.uniform(-1.0, 5.0), now)
        seen += 1
        if rng.random() < 0.1:
            histogram.clear()
        lifetime = histogram.lifetime()
        assert all(new >= old for new, old in zip(lifetime.buckets, last[0], strict=True))
        assert lifetime.seconds >= last[1] - 1e-9
        last = (lifetime.buckets, lifetime.seconds)

    assert seen == sum(last[0])


def test_a_histogram_with_nothing_in_it_reads_zero():
    assert EMPTY == RollingHistogram(window=60.0, slices=6, now=0.0).latency(1000.0)
    assert 0.0 == EMPTY.p995


def test_a_slice_that_is_closed_ends_at_its_own_last_value_whatever_came_before_and_after():
    histogram = RollingHistogram(window=60.0, slices=6, now=0.0)
    for at, durations in enumerate(([0.01], [0.02], [], [30.0], [0.001] * 300, [0.005])):
        for duration in durations:
            histogram.add(duration, at * 10.0)
    assert {bin_of(d): n for d, n in ((0.001, 300), (0.005, 1), (0.01, 1), (0.02, 1), (30.0, 1))} == histogram.bins(50.0)

    first, second, idle, long, many = map(len, histogram._closed)
    assert 0 == idle < many < first < second < long
    assert (304, 30.0) == (histogram.latency(50.0).count, pytest.approx(histogram.latency(50.0).p100, rel=0.01))
