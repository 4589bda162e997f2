"""Rolling counts against windows that keep every event in a list."""

import random
from collections import Counter, deque

from resilience.core.window import CountWindow, Tally, TimeWindow
from tests.seeds import over_seeds

WIDTH = 3


class SlowTimeWindow:
    """All events since for ever, each with the slice it fell into."""

    def __init__(self, window, buckets, now):
        self.slice_s, self.buckets, self.origin = window / buckets, buckets, now
        self.running = 0
        self.events = []

    def _see(self, now):
        self.running = max(self.running, int((now - self.origin) // self.slice_s))

    def add(self, column, now, n=1):
        self._see(now)
        self.events += [(self.running, column)] * n

    def sums(self, now):
        self._see(now)
        inside = Counter(column for at, column in self.events if at > self.running - self.buckets)
        return [inside[column] for column in range(WIDTH)]

    def totals(self):
        return [sum(c == column for _, c in self.events) for column in range(WIDTH)]


def tick(rng):
    """A step of the clock on a grid that floats hold exactly: standing still, on, far on, and back."""
    return rng.choice([0, 0, rng.randrange(4), rng.randrange(64), rng.randrange(2000), -rng.randrange(64)]) / 16


@over_seeds(100)
def test_any_history_counts_as_a_list_of_events_does(seed):
    rng = random.Random(seed)
    buckets = rng.choice([1, 2, 3, 10])
    shape = {"window": buckets * rng.choice([0.25, 1.0, 4.0]), "buckets": buckets, "now": rng.randrange(100) / 16}
    window, slow = TimeWindow(WIDTH, **shape), SlowTimeWindow(**shape)
    now = shape["now"]
    for _ in range(150):
        now += tick(rng)
        column, n = rng.randrange(WIDTH), rng.choice([1, 1, 1, 5])
        window.add(column, now, n)
        slow.add(column, now, n)
        if rng.random() < 0.5:
            now += tick(rng)
            assert slow.sums(now) == window.sums(now)
    assert slow.totals() == window.totals


@over_seeds(100)
def test_a_resized_window_keeps_every_counts_age_to_within_a_slice(seed):
    rng = random.Random(seed)
    old_s, old_n, new_s, new_n = rng.choice([4.0, 10.0]), rng.choice([1, 4, 10]), rng.choice([2.0, 10.0, 40.0]), 8
    window, now, events = TimeWindow(1, window=old_s, buckets=old_n, now=0.0), 0.0, []
    for _ in range(rng.randrange(60)):
        now += rng.expovariate(4.0)
        window.add(0, now)
        events.append(now)
    now += rng.choice([0.0, 0.1, 3.0, 30.0])
    window, resized_at = window.resized(window=new_s, buckets=new_n, now=now), now
    for _ in range(30):
        old_slice, new_slice = old_s / old_n, new_s / new_n
        surely = [t for t in events if now - t <= new_s - new_slice
                  and (t >= resized_at or resized_at - t <= old_s - old_slice)]
        perhaps = [t for t in events if now - t <= new_s + new_slice + old_slice]
        assert len(surely) <= window.sums(now)[0] <= len(perhaps)
        now += rng.expovariate(1.0)
        if rng.random() < 0.5:
            window.add(0, now)
            events.append(now)
    assert [len(events)] == window.totals


def test_a_cleared_window_is_empty_and_its_totals_never_fall():
    window = TimeWindow(1, window=10.0, buckets=10, now=0.0)
    window.add(0, 1.0, 3)
    window.clear()

    assert [0] == window.sums(1.0)
    assert [3] == window.totals
    window.add(0, 1.5)
    assert [1] == window.sums(10.9)
    assert [0] == window.sums(11.0)


def test_a_slice_too_short_for_the_clock_still_rolls():
    window = TimeWindow(1, window=1e-9, buckets=10, now=1e9)
    for _ in range(3):
        window.add(0, 1e9)

    assert window.sums(1e9)[0] <= 3
    assert [0] == window.sums(1e9 + 1.0)


@over_seeds(100)
def test_a_count_window_is_the_last_so_many_calls(seed):
    rng = random.Random(seed)
    size = rng.choice([1, 2, 7, 50])
    window, slow = CountWindow(WIDTH, size=size), deque(maxlen=size)
    for _ in range(300):
        column, n = rng.randrange(WIDTH), rng.choice([1, 1, 1, 3, 60])
        window.add(column, 0.0, n)
        slow.extend([column] * n)
        if rng.random() < 0.05:
            size = rng.choice([1, 2, 7, 50])
            window, slow = window.resized(size), deque(slow, maxlen=size)
        assert [slow.count(column) for column in range(WIDTH)] == window.sums(0.0)


def test_a_tally_says_each_bump_once():
    tally = Tally()
    assert 0 == tally.take()
    tally.bump()
    tally.bump()

    assert [2, 0, 0] == [tally.take(), tally.take(), tally.take()]


def test_a_window_that_is_widened_keeps_what_it_holds_and_counts_in_its_new_columns_as_one_made_wide():
    for seed in range(60):
        rng, now = random.Random(seed), 3.0
        wide, widened = (TimeWindow(width, window=8.0, buckets=4, now=now) for width in (5, 2))
        at = rng.randrange(80)
        for n in range(100):
            now += rng.choice([0.0, 0.5, 1.0, 7.0])
            if n == at:
                widened.widen(5)
            column = rng.randrange(5 if n >= at else 2)
            for window in (wide, widened):
                window.add(column, now)
            assert wide.sums(now)[: len(widened.totals)] == widened.sums(now)
        assert wide.totals == widened.totals


def counted(window, at):
    for now, n in at:
        window.add(0, now, n)
    return window


def test_a_resized_window_goes_on_with_the_slices_that_it_has_room_for():
    old = counted(TimeWindow(1, window=4.0, buckets=4, now=0.0), [(0.5, 1), (1.5, 2), (2.5, 4), (3.5, 8)])
    assert [15] == old.sums(3.5)
    new = old.resized(window=2.0, buckets=2, now=3.5)

    assert ([12], 4.5) == (new.sums(3.5), new.edge)
    assert [12, 8, 8, 0] == [new.sums(now)[0] for now in (4.4, 4.5, 5.4, 5.5)]
    assert [15] == new.totals == old.totals


def test_a_resized_window_has_no_more_than_the_old_one_held():
    old = counted(TimeWindow(1, window=2.0, buckets=2, now=0.0), [(0.5, 1), (1.5, 2), (2.5, 4), (3.5, 8)])
    new = old.resized(window=8.0, buckets=4, now=3.5)

    assert [12, 12, 8, 0] == [new.sums(now)[0] for now in (3.5, 9.4, 9.5, 11.5)]


def test_rolling_on_says_how_many_slices_ended():
    window = TimeWindow(1, window=4.0, buckets=4, now=0.0)

    assert [1, 1, 2, 10] == [window.roll(now) for now in (1.0, 2.5, 4.0, 14.9)]
    assert 15.0 == window.edge


def test_counts_go_on_beyond_what_a_slice_has_room_for():
    window = counted(TimeWindow(1, window=2.0, buckets=2, now=0.0), [(0.5, 2**32 - 1), (1.5, 3)])
    assert [3] == window.sums(2.5)
    window.add(0, 2.5, 2**32 - 1)

    assert [2**32 - 1] == window.sums(3.5)
    assert [2**33 + 1] == window.totals


def test_a_count_window_keeps_its_last_calls_in_their_order():
    window = CountWindow(2, size=3)
    window.add(0, 0.0, 2)
    window.add(1, 0.0, 2)
    assert [1, 2] == window.sums(0.0)
    wider = window.resized(4)
    wider.add(1, 0.0)
    assert [1, 3] == wider.sums(0.0)
    wider.add(1, 0.0)
    assert [0, 4] == wider.sums(0.0)

    assert [0, 2] == window.resized(2).sums(0.0)


def test_a_slice_whose_end_was_rounded_to_now_has_ended():
    window = TimeWindow(1, window=0.3, buckets=1, now=0.0)
    now = 44.099999999999994  # 0.3 + 146 * 0.3, as floats have it

    assert (146, now + 0.3) == (window.roll(now), window.edge)


def test_a_window_resized_as_a_slice_ends_begins_with_the_next_one():
    old = counted(TimeWindow(1, window=4.0, buckets=4, now=0.0), [(2.5, 4), (3.5, 8)])

    assert [0] == old.resized(window=1.0, buckets=1, now=4.0).sums(4.0)


def test_what_is_taken_back_is_taken_from_the_newest_slices_and_never_more_than_there_is():
    window = TimeWindow(2, window=10.0, buckets=10, now=0.0)
    for column, now, n in ((0, 0.5, 7), (1, 0.5, 3), (1, 4.5, 2)):
        window.add(column, now, n)
    window.take_back(1, 4)
    assert ([7, 1], [7, 1]) == (window.totals, window.sums(9.9))
    assert [0, 0] == window.sums(10.0)
    window.take_back(1, 1)
    assert [0, 0] == window.sums(10.5)
    window.add(1, 10.5, 2)
    assert [0, 2] == window.sums(19.9)
