"""A KeyboardInterrupt while a slice of the latencies was closed left one slice more than sums of durations.

From then on whatever read them for ever, a reset() or a scrape by Prometheus, raised ValueError, as a widening that was
interrupted half-way did for snapshots.
"""

import random

from resilience.core.histogram import RollingHistogram
from tests.interrupts import interrupted


def test_whatever_is_interrupted_the_slices_and_their_sums_belong_together():
    rng, now, counted, runs = random.Random(3), 5.0, 0, 0
    histogram = RollingHistogram(window=4.0, slices=4, now=0.0)
    for step in range(12):
        duration = 10.0 ** rng.uniform(-6, 4)
        for _ in interrupted(lambda: histogram.add(duration, now)):  # a slice has ended each time
            runs += 1
            assert 0 <= sum(histogram.lifetime().buckets) - counted <= 1
            counted = sum(histogram.lifetime().buckets)
            assert sum(histogram.bins(now).values()) == histogram.latency(now).count
            now += rng.choice((1.5, 2.0, 9.0))
        for _ in interrupted(histogram.clear) if step % 3 == 2 else ():
            assert sum(histogram.lifetime().buckets) == counted
    assert runs > 100
