"""The clocks of one stream, told the time: which runs out when, and what counts as progress."""

from math import inf

import pytest

from resilience import ConfigError, StreamTimeout
from resilience.core.stream_timeout import StreamMeter, longest_until


def meter(**fields):
    return StreamMeter(StreamTimeout(**fields))


def test_the_first_item_has_a_time_of_its_own_or_that_of_all_others():
    one = meter(first_item=5.0, between_items=1.0, total=9.0)
    assert (5.0, ("first_item", 5.0)) == (one.limit, one.ran_out(False))
    assert (1.0, ("between_items", 1.0)) == (one.arrived("a", 4.0), one.ran_out(True))
    other = meter(between_items=1.0)
    assert (1.0, ("first_item", 1.0), ("between_items", 1.0)) == (other.limit, other.ran_out(False), other.ran_out(True))


def test_without_a_limit_between_items_a_stream_may_pause_for_ever():
    one = meter(first_item=5.0, progress=bool)
    assert inf == one.arrived("a", 4.0)
    assert inf == meter(first_item=5.0).idle


def test_a_meter_need_not_hear_of_items_where_only_the_last_wait_matters():
    assert not meter(first_item=5.0, between_items=1.0).counts
    assert meter(total=1.0).counts
    assert meter(min_rate=1.0).counts
    assert meter(between_items=1.0, progress=bool).counts


def test_the_whole_runs_out_however_the_items_come():
    one = meter(between_items=2.0, total=5.0)
    assert (2.0, 2.0, 1.0) == (one.limit, one.arrived("a", 3.0), one.arrived("b", 4.0))
    assert ("total", 5.0) == one.ran_out(True)
    assert -1.0 == one.arrived("c", 6.0)


def test_what_is_no_progress_stops_no_clock():
    one = meter(first_item=3.0, between_items=2.0, progress=lambda item: item != "ping")
    assert (1.0, ("first_item", 3.0)) == (one.arrived("ping", 2.0), one.ran_out(True))
    assert 2.0 == one.arrived("a", 2.5)
    assert (0.5, ("between_items", 2.0)) == (one.arrived("ping", 4.0), one.ran_out(True))


@pytest.mark.parametrize(("answer", "counts"), [
    (True, True), (1, True), (0.5, True), ("yes", True), (False, False), (0, False), (None, False), ("", False),
    (-1, False), (float("nan"), False)])
def test_progress_is_a_number_above_0_or_what_is_true(answer, counts):
    one = meter(between_items=2.0, progress=lambda item: answer)
    assert (2.0 if counts else 1.0) == one.arrived("a", 1.0)


def test_too_little_in_a_window_runs_out_at_its_end():
    one = meter(min_rate=2.0, window=1.0)
    assert inf == one.limit
    assert (1.0, ("min_rate", 1.0)) == (one.arrived("a", 10.0), one.ran_out(True))  # until 11, one more is needed
    assert 1.5 == one.arrived("b", 10.5)  # enough until 11; the next window, until 12, would be empty
    assert 1.0 == one.arrived("c", 11.0)  # which is in the next
    assert 1.5 == one.arrived("d", 11.5)
    assert 1.0 == one.arrived("e", 12.0)
    assert -0.5 == one.arrived("f", 13.5)  # too late for the window that ended at 13


def test_the_rate_adds_up_what_progress_returns():
    one = meter(min_rate=100.0, window=10.0, progress=len)
    assert 10.0 == one.arrived(b"x" * 999, 0.0)
    assert 15.0 == one.arrived(b"x", 5.0)


def test_of_several_that_run_out_at_once_the_first_of_the_table_is_named():
    assert ("first_item", 1.0) == meter(first_item=1.0, total=1.0).ran_out(False)
    one = meter(total=2.0, min_rate=5.0, window=1.0)
    one.arrived("a", 1.0)
    assert ("total", 2.0) == one.ran_out(True)


@pytest.mark.parametrize(("fields", "option"), [
    ({}, "first_item"), ({"window": 5.0}, "first_item"), ({"first_item": 0}, "first_item"),
    ({"between_items": -1.0}, "between_items"), ({"total": 1e9}, "total"), ({"min_rate": 0}, "min_rate"),
    ({"min_rate": 1e12 + 0.5}, "min_rate"),
    ({"total": 1.0, "window": 0}, "window"), ({"total": 1.0, "progress": 5}, "progress"),
    ({"total": 1.0, "progress": "nowhere:at_all"}, "progress")])
def test_a_stream_timeout_says_what_is_wrong_with_it(fields, option):
    with pytest.raises(ConfigError) as refused:
        StreamTimeout(**fields)
    assert option == refused.value.option


def test_progress_may_be_named():
    assert StreamTimeout(total=1.0, progress="builtins:len").progress is len


@pytest.mark.parametrize(("fields", "items", "longest"), [
    ({"total": 9.0}, 1, 9.0), ({"between_items": 2.0}, 1, 2.0), ({"between_items": 2.0}, 2, 4.0),
    ({"between_items": 2.0}, 3, 6.0), ({"first_item": 10.0, "between_items": 2.0}, 3, 14.0),
    ({"first_item": 10.0}, 1, 10.0), ({"first_item": 10.0}, 2, inf),
    ({"first_item": 10.0, "between_items": 2.0, "total": 11.0}, 3, 11.0),
    ({"first_item": 10.0, "between_items": 2.0, "total": 100.0}, 2, 12.0), ({"min_rate": 1.0}, 1, inf)])
def test_how_long_so_many_items_may_take(fields, items, longest):
    assert longest_until(StreamTimeout(**fields), items) == longest


def test_what_comes_as_a_window_of_too_little_ends_is_too_late():
    meter = StreamMeter(StreamTimeout(min_rate=1.0, window=10.0, progress=float))
    assert meter.arrived(1, 0.0) == 10.0
    assert meter.arrived(20, 10.0) == 0.0
    assert meter.ran_out(True) == ("min_rate", 10.0)
