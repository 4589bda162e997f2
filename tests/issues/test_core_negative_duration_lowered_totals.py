"""A clock that stepped back made durations negative, and a total that must never fall fell."""

from array import array

import pytest

from resilience.core.histogram import RollingHistogram


@pytest.mark.parametrize("many", [False, True])
def test_a_negative_duration_counts_as_none(many):
    histogram = RollingHistogram(window=60.0, slices=6, now=0.0)
    histogram.add(2.0, 0.0)
    if many:
        histogram.add_many(array("f", [-5.0, 1.0]), 0.0)
    else:
        histogram.add(-5.0, 0.0)
        histogram.add(1.0, 0.0)

    assert 3.0 == histogram.lifetime().seconds
    assert 1.0 == histogram.latency(0.0).mean
