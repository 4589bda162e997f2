"""The recorder against lists of everything that happened."""

import math
import random
from collections import Counter

import pytest

from resilience.core.bulkhead import Bulkhead, Slots
from resilience.core.histogram import EMPTY
from resilience.core.outcome import FAILURE, SUCCESS, TIMEOUT, Event
from resilience.metrics.recorder import BATCH, Recorder
from tests.seeds import over_seeds

EVENTS = [int(event) for event in Event]
REFUSED = [Event.SHORT_CIRCUITED, Event.FALLBACK_MISSING, Event.EXCEPTIONS_THROWN]


class SlowRecorder:
    """Ten slices of one second, and every event since for ever."""

    def __init__(self, now):
        self.origin, self.running, self.events, self.durations = now, 0, [], []

    def see(self, now):
        self.running = max(self.running, math.floor(now - self.origin))

    def count(self, events, now, n=1):
        self.see(now)
        self.events += [(self.running, event) for event in events] * n

    def ran(self, events, started, now):
        self.count(events, now)
        self.durations.append((self.running // 10, now - started))

    def counts(self, now):
        self.see(now)
        inside = Counter(event for at, event in self.events if at > self.running - 10)
        return [inside[event] for event in EVENTS]

    def inside(self):
        return sorted(d for at, d in self.durations if at > self.running // 10 - 6)


@pytest.mark.parametrize("steps_back", [False, True])
@over_seeds(25)
def test_any_history_reads_as_a_list_of_events_does(seed, steps_back):
    rng = random.Random(seed)
    now = start = 64.0
    recorder, slow = Recorder(now=now), SlowRecorder(now)
    for _ in range(150):
        now += rng.choice([0, 0, 1, 1, rng.randrange(40), rng.randrange(400)]) / 64
        if steps_back and rng.random() < 0.1:
            now = max(start, now - rng.random())
        if rng.random() < 0.01:
            now += rng.randrange(90)
        dice, started = rng.random(), now - rng.lognormvariate(-3, 1)
        if dice < 0.6:
            for _ in range(rng.choice([1, 1, 1, 1, 1, 1, 1, BATCH])):
                recorder.success(started, now)
                slow.ran((SUCCESS,), started, now)
        elif dice < 0.75:
            events = rng.choice([(FAILURE, Event.FALLBACK_MISSING, Event.EXCEPTIONS_THROWN), (TIMEOUT,)])
            recorder.ran(events, started, now)
            slow.ran(events, started, now)
        elif dice < 0.85:
            n = rng.choice([1, 1, 7])
            recorder.count((Event.EMIT,), now, n)
            slow.count((Event.EMIT,), now, n)
        elif dice < 0.95:
            recorder.refused(now)
            slow.count(REFUSED, now)
        else:
            reading = recorder.read(now)
            assert slow.counts(now) == reading.counts
            if not steps_back:
                inside = slow.inside()
                assert len(inside) == reading.latency.count == sum(recorder.bins(now).values())
                if inside:
                    exact = inside[math.ceil(len(inside) / 2) - 1]
                    assert pytest.approx(exact, rel=0.01) == reading.latency.p50
    totals, lifetime = recorder.totals()
    counted = Counter(event for _, event in slow.events)
    assert [counted[event] for event in EVENTS] == totals
    assert len(slow.durations) == sum(lifetime.buckets)
    assert pytest.approx(sum(d for _, d in slow.durations), rel=1e-4) == lifetime.seconds


def test_clearing_empties_what_rolls_and_keeps_what_never_falls():
    slots = Slots(Bulkhead(5), key="k")
    recorder = Recorder(now=0.0, take_peak=slots.take_peak)
    slots.acquire(0.0)
    slots.acquire(0.0)
    slots.settle(slots.tokens, SUCCESS, 0.0, 0.0)
    slots.settle(slots.tokens, SUCCESS, 0.0, 0.0)
    recorder.success(0.0, 0.5)
    recorder.ran((FAILURE,), 0.0, 0.5)
    recorder.refused(0.5)
    recorder.clear()
    reading = recorder.read(0.6)

    assert [0] * len(EVENTS) == reading.counts
    assert 0 == reading.max_in_flight
    assert EMPTY == reading.latency
    totals, lifetime = recorder.totals()
    assert (1, 1, 1) == (totals[SUCCESS], totals[FAILURE], totals[Event.SHORT_CIRCUITED])
    assert 2 == sum(lifetime.buckets)


@over_seeds(60)
def test_most_in_flight_is_the_true_maximum_of_the_window(seed):
    rng = random.Random(seed)
    slots = Slots(Bulkhead(None), key="k")
    recorder = Recorder(now=0.0, take_peak=slots.take_peak)
    now, held, seen = 0.0, 0, [(0, 0)]  # (slice, calls in flight after a change)
    for _ in range(120):
        now += rng.choice([0.0, rng.random() / 8, rng.random() * 3, 20.0 if rng.random() < 0.1 else 0.0])
        if rng.random() < 0.5:
            slots.acquire(now)
            held += 1
        elif held:
            seen.append((int(now), held))
            slots.settle(slots.tokens, SUCCESS, now, now)
            recorder.success(now, now)
            held -= 1
        seen.append((int(now), held))
        if rng.random() < 0.3:
            entering = [n for at, n in seen if at <= int(now) - 10][-1:]  # what the window began with
            exact = max(entering + [n for at, n in seen if at > int(now) - 10])
            assert exact == recorder.read(now).max_in_flight


def test_a_renewed_recorder_starts_at_zero_and_wrappers_keep_their_hold_on_it():
    recorder = Recorder(now=0.0)
    push, pending = recorder.pending.append, recorder.pending
    recorder.success(0.0, 0.1)
    recorder.renew(5.0)
    push(0.25)

    assert pending is recorder.pending
    assert 1 == recorder.read(5.5).counts[SUCCESS] == recorder.totals()[0][SUCCESS]


def test_extreme_durations_do_no_harm():
    recorder = Recorder(now=0.0)
    for took in (0.0, -3.0, 1e-9, 1e9):
        recorder.success(1.0 - took, 0.5)
        recorder.ran((FAILURE,), 1.0 - took, 0.5)

    assert 8 == recorder.read(0.5).latency.count
    assert recorder.totals()[1].seconds >= 0
