"""The histogram at literal durations and times: its bins, their bounds, how its range grows and what leaves the window."""

from array import array

import pytest

from resilience.core import histogram as module
from resilience.core.histogram import (
    BINS,
    EMPTY,
    HIGHEST_S,
    LE_BOUNDS,
    LOWEST_S,
    RELATIVE_ERROR,
    Latency,
    RollingHistogram,
    bin_of,
    value_of,
)


def new(slices=3):
    return RollingHistogram(window=float(slices), slices=slices, now=0.0)


def test_the_range_the_error_and_the_exported_bounds():
    assert (1e-8, 1e5, 0.01, 1772) == (LOWEST_S, HIGHEST_S, RELATIVE_ERROR, BINS)
    assert (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0) == LE_BOUNDS
    assert Latency(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0) == EMPTY
    assert [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 1.0] == list(module._QUANTILES)


@pytest.mark.parametrize(("duration", "index", "value"), [
    (0.0, 0, 1.0040062277213387e-08), (1e-8, 0, 1.0040062277213387e-08), (1.02e-8, 1, 1.0214698238250536e-08),
    (1e-7, 136, 1.0057421470129932e-07), (0.001, 680, 0.0009993924439408396), (0.1, 953, 0.09959980085784313),
    (1.0, 1089, 1.0057645631067962), (2.0, 1130, 2.0115291262135924), (99_999.0, 1771, 100602.13740458015),
    (1e5, 1771, 100602.13740458015), (1e9, 1771, 100602.13740458015), (-1.0, 0, 1.0040062277213387e-08),
    (float("nan"), 0, 1.0040062277213387e-08)])
def test_the_bin_of_a_duration_and_the_duration_that_stands_for_it(duration, index, value):
    assert (index, value) == (bin_of(duration), value_of(index))


def test_the_tables_are_as_they_are_made():
    assert (module._BIN_OF, module._VALUES) == module._merged_cells()
    assert (18_374, 18_373, 1771, 0) == (len(module._BIN_OF), module._LAST_CELL, module._BIN_OF[-1], module._BIN_OF[0])
    assert (680, 735, 776, 817, 871, 912, 953, 1007, 1048, 1089, 1144, 1185, 1226) == module._LE_BINS
    assert (1.0, 1.0078125, 16_256) == (module._bound(16_256), module._bound(16_257), module._cell(1.0))


@pytest.mark.parametrize("durations", [[1.0], [1.0, 1.0, 2.0], [0.0009765625, 1.0], [1.0, 1e-8], [99_000.0, 1.0], [1e5], [0.0, 1.0], [-1.0, 1.0],
                                       [1.0] * 300, [1.0, 2.0**100]])
def test_many_at_once_fall_into_the_bins_that_each_alone_does(durations):
    one_by_one, at_once = new(), new()
    for duration in array("f", durations):
        one_by_one.add(duration, 0.5)
    at_once.add_many(array("f", durations), 0.5)

    assert one_by_one.bins(0.5) == at_once.bins(0.5) == {bin_of(each): sum(bin_of(other) == bin_of(each) for other in durations)
                                                         for each in durations}
    assert one_by_one.latency(0.5) == at_once.latency(0.5)
    assert one_by_one.lifetime() == at_once.lifetime()


def test_the_range_grows_by_eights_to_both_sides_and_stays_between_the_outer_bins():
    histogram = new()
    histogram.add(1.0, 0.0)
    assert (1088, 8) == (histogram._low, len(histogram._head))
    histogram.add(1.0, 1.0)
    histogram.add(2.0, 1.0)
    assert (1088, 48) == (histogram._low, len(histogram._head))
    histogram.add(0.5, 1.0)
    assert (1048, 88, 1089 - 1048 + 1) == (histogram._low, len(histogram._head), len(histogram._closed[0]))
    histogram.add(1e9, 2.0)
    assert (1048, BINS) == (histogram._low, histogram._low + len(histogram._head))
    histogram.add(0.0, 2.0)
    assert (0, BINS, [1090, 1131]) == (histogram._low, len(histogram._head), [len(closed) for closed in histogram._closed])
    assert {0: 1, 1048: 1, 1089: 2, 1130: 1, 1771: 1} == histogram.bins(2.0)


def test_many_at_once_grow_the_range_only_if_they_lie_outside_of_it():
    histogram = new()
    histogram.add_many(array("f", [1.0, 2.0]), 0.0)
    before = histogram._head
    histogram.add_many(array("f", [1.0, 1.5, 2.0, value_of(1088), value_of(1135)]), 0.0)
    assert (1088, 48, True) == (histogram._low, len(histogram._head), histogram._head is before)
    histogram.add_many(array("f", [0.5]), 0.0)
    assert (1048, 88) == (histogram._low, len(histogram._head))
    histogram.add_many(array("f", [4.0]), 0.0)
    assert (1048, 128) == (histogram._low, len(histogram._head))


@pytest.mark.parametrize("add", [lambda histogram: histogram.add_many(array("f", [1.0] * 200), 0.0),
                                 lambda histogram: [histogram.add(1.0, 0.0) for _ in range(200)]])
def test_a_bin_counts_beyond_a_byte_and_grows_as_others_do(add):
    histogram = new()
    add(histogram)
    assert isinstance(histogram._head, bytearray)
    add(histogram)
    assert isinstance(histogram._head, list)
    histogram.add(2.0, 0.0)
    histogram.add(0.5, 0.0)
    histogram.add(1.0, 1.0)

    assert {1048: 1, 1089: 401, 1130: 1} == histogram.bins(1.0)
    assert (1048, 88, "H") == (histogram._low, len(histogram._head), histogram._closed[0].typecode)
    assert isinstance(histogram._head, bytearray)


@pytest.mark.parametrize(("most", "typecode"), [(256, "H"), (65_535, "H"), (65_536, "I"), (2**32 - 1, "I"), (2**32, "Q")])
def test_counts_are_packed_as_small_as_their_largest_allows(most, typecode):
    packed = module._packed([0, most, 1])

    assert (typecode, [0, most, 1]) == (packed.typecode, list(packed))
    assert b"\x00\xff\x01" == module._packed([0, 255, 1])
    assert b"" == module._packed([])


def test_a_slice_leaves_the_window_and_stays_in_the_lifetime():
    histogram = new()
    for duration, now in [(1.0, 0.5), (2.0, 1.0), (4.0, 2.5)]:
        histogram.add(duration, now)
    seen = [(now, sorted(map(value_of, histogram.bins(now))), histogram.latency(now).mean, histogram.expired().seconds)
            for now in (2.9, 3.0, 4.0, 4.9, 5.0)]

    one, two, four = value_of(bin_of(1.0)), value_of(bin_of(2.0)), value_of(bin_of(4.0))
    assert [(2.9, [one, two, four], 7.0 / 3, 0.0), (3.0, [two, four], 3.0, 1.0), (4.0, [four], 4.0, 3.0), (4.9, [four], 4.0, 3.0),
            (5.0, [], 0.0, 7.0)] == seen
    assert (7.0, 3) == (histogram.lifetime().seconds, sum(histogram.lifetime().buckets))
    assert [0] * 9 + [1, 1, 1, 0, 0] == histogram.expired().buckets


def test_the_lifetime_has_a_bucket_for_each_bound_and_one_for_what_is_longer():
    histogram = new()
    for duration in (0.0005, 0.002, 0.2, 0.2, 7.0, 20.0, 1e9):
        histogram.add(duration, 0.0)
    expected = [1, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1, 2]

    assert (expected, [0] * 14) == (histogram.lifetime().buckets, histogram.expired().buckets)
    histogram.roll(100.0)
    assert (expected, expected) == (histogram.lifetime().buckets, histogram.expired().buckets)
    histogram.expired().buckets[0] = 99
    assert expected == histogram.expired().buckets


def test_cleared_it_has_nothing_in_its_window_and_all_in_its_lifetime():
    histogram = new()
    histogram.add(1.0, 0.0)
    histogram.add(2.0, 1.0)
    assert 2 == histogram.latency(1.0).count
    histogram.clear()

    assert (EMPTY, {}, 3.0) == (histogram.latency(1.0), histogram.bins(1.0), histogram.lifetime().seconds)
    assert (0, 0, 3.0) == (histogram._low, len(histogram._head), histogram.expired().seconds)
    histogram.add(4.0, 1.0)
    assert (1, 4.0) == (histogram.latency(1.0).count, histogram.latency(1.0).mean)


def test_percentiles_are_by_the_nearest_rank_over_all_slices():
    histogram = new()
    for n in range(100):
        histogram.add(0.01 * (n + 1), n * 0.02)
    found = histogram.latency(2.0)
    values = [value_of(bin_of(0.01 * rank)) for rank in (1, 25, 50, 75, 90, 95, 99, 100, 100)]

    assert (100, values) == (found.count, [found.p0, found.p25, found.p50, found.p75, found.p90, found.p95, found.p99, found.p995,
                                           found.p100])
    assert pytest.approx(0.505) == found.mean


def test_a_late_reader_finds_the_slices_by_which_time_went_on():
    histogram = new()
    histogram.add(1.0, 0.5)
    assert 1.0 == histogram._edge
    histogram.roll(1.0)
    assert (2.0, 1, 2) == (histogram._edge, len(histogram._closed), len(histogram._seconds))
    histogram.roll(4.5)
    assert (5.0, 2, 3) == (histogram._edge, len(histogram._closed), len(histogram._seconds))
    histogram.roll(1000.0)
    assert (1001.0, 2, 3) == (histogram._edge, len(histogram._closed), len(histogram._seconds))


def test_a_slice_always_ends_later_than_now_however_its_end_was_rounded():
    histogram = RollingHistogram(window=0.1, slices=1, now=0.6000000000000001)
    assert 20.2 == histogram._edge + (int((20.2 - histogram._edge) // 0.1) + 1) * 0.1
    histogram.roll(20.2)
    assert 20.3 == pytest.approx(histogram._edge)


def test_one_that_has_just_been_made_reads_zero_and_a_slice_ends_as_its_time_comes():
    histogram = new(1)
    assert (EMPTY, {}) == (histogram.latency(0.5), histogram.bins(0.5))
    histogram.add(1.0, 0.5)
    assert (1, EMPTY) == (histogram.latency(0.9).count, histogram.latency(1.0))


def test_many_at_once_are_summed_in_the_slice_they_come_in():
    histogram = new()
    histogram.add(1.0, 0.5)
    histogram.add_many(array("f", [2.0, 2.0]), 1.0)
    histogram.roll(3.0)
    assert (1.0, [4.0, 0.0, 0.0]) == (histogram.expired().seconds, list(histogram._seconds))


def test_what_was_reckoned_of_the_closed_slices_is_kept_until_they_or_their_range_change():
    histogram = new()
    histogram.add(1.0, 0.0)
    histogram.add(1.0, 1.0)
    histogram.latency(1.0)
    kept = histogram._settled
    histogram.add(1.0, 1.5)
    assert (3, True) == (histogram.latency(1.5).count, histogram._settled is kept)
    histogram.add(2.0, 1.5)
    assert 4 == histogram.latency(1.5).count
    assert (3, False) == (histogram.latency(3.0).count, histogram._settled is kept)


def test_a_duration_of_a_clock_that_stepped_back_counts_as_none():
    histogram = new()
    histogram.add(-5.0, 0.0)
    histogram.add(0.0, 0.0)
    histogram.add(0.5, 0.0)

    assert (0.5, {0: 2, 1048: 1}) == (histogram.lifetime().seconds, histogram.bins(0.0))
