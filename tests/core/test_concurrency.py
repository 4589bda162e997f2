"""Real threads against the machines: nothing is lost, and no bound is passed."""

import itertools
import threading

import pytest

from resilience.core.breaker import CircuitBreaker
from resilience.core.bulkhead import Bulkhead, Slots
from resilience.core.circuit import Circuit
from resilience.core.events import State, Trigger
from resilience.core.outcome import CANCELLED, FAILURE, SUCCESS
from resilience.core.window import Tally
from resilience.errors import BulkheadFullError, CircuitOpenError
from resilience.metrics.recorder import Recorder
from tests.core.hammer import hammer


class Inside:
    """How many are inside, exactly; a deque's length would do, but this one also knows the most."""

    def __init__(self):
        self.lock, self.now, self.most = threading.Lock(), 0, 0

    def __enter__(self):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *_):
        with self.lock:
            self.now -= 1


def test_a_tally_loses_no_bump():
    tally, taken, ended = Tally(), [], []

    def bump():
        for _ in range(5000):
            tally.bump()
        ended.append(1)

    def take():
        while len(ended) < 4:
            taken.append(tally.take())

    threads = [threading.Thread(target=take)]
    threads[0].start()
    hammer(bump)
    threads[0].join(10)

    assert 20_000 == sum(taken) + tally.take()


@pytest.mark.parametrize("limit", [1, 3])
def test_no_more_than_the_limit_are_ever_inside_and_no_token_is_lost(limit):
    slots, inside, admitted = Slots(Bulkhead(limit), key="k"), Inside(), Tally()

    def work():
        for _ in range(1500):
            try:
                slots.acquire(0.0)
            except BulkheadFullError:
                continue
            with inside:
                admitted.bump()
            slots.settle(slots.tokens, SUCCESS, 0.0, 0.0)

    hammer(work)

    assert inside.most <= limit
    assert admitted.take() > 0
    assert 0 == slots.in_flight
    for _ in range(limit):
        slots.acquire(0.0)
    with pytest.raises(BulkheadFullError):
        slots.acquire(0.0)


def test_an_unlimited_bulkhead_counts_exactly_and_never_below_zero():
    slots, inside, seen = Slots(Bulkhead(None), key="k"), Inside(), []

    def work():
        for _ in range(1500):
            slots.acquire(0.0)
            with inside:
                pass
            slots.settle(slots.tokens, SUCCESS, 0.0, 0.0)

    def look():
        for _ in range(1500):
            seen.append(slots.in_flight)
            slots.take_peak()

    hammer(work, look, threads=2)

    assert 0 == slots.in_flight
    assert min(seen) >= 0
    assert max(seen) <= 2


def test_after_any_number_of_live_changes_the_limit_is_the_last_one():
    slots, limits = Slots(Bulkhead(5), key="k"), itertools.cycle([1, None, 7, 2, None, 3])

    def work():
        for _ in range(1500):
            try:
                slots.acquire(0.0)
            except BulkheadFullError:
                continue
            slots.settle(slots.tokens, SUCCESS, 0.0, 0.0)

    def change():
        for _ in range(300):
            slots.configure(Bulkhead(next(limits)))

    hammer(work, change, threads=3)
    slots.configure(Bulkhead(4))

    assert 0 == slots.in_flight
    for _ in range(4):
        slots.acquire(0.0)
    with pytest.raises(BulkheadFullError):
        slots.acquire(0.0)


def circuit(**changes):
    seen = []
    config = CircuitBreaker(**{"min_calls": 1, "open_for": 5.0, "half_open_for": 1000.0} | changes)
    return Circuit(config, key="k", group="g", now=0.0, emit=seen.append, random=lambda: 0.0), seen


@pytest.mark.parametrize("probes", [1, 3])
def test_exactly_so_many_probes_are_admitted_however_many_knock(probes):
    for _ in range(20):
        machine, seen = circuit(half_open_calls=probes)
        machine.settle(machine.acquire(0.0), FAILURE, 0.0, 0.0)
        permits = []

        def knock(machine=machine, permits=permits):
            for _ in range(20):
                try:
                    permits.append(machine.acquire(5.0))
                except CircuitOpenError as refusal:
                    assert refusal.retry_after is not None

        hammer(knock)

        assert probes == len(permits)
        assert [Trigger.FAILURE_RATE, Trigger.WAIT_ELAPSED] == [event.trigger for event in seen]
        hammer(lambda machine=machine, permits=permits: machine.settle(permits.pop(), SUCCESS, 5.0, 6.0),
               threads=probes)
        assert State.CLOSED is machine.state


def test_cancelled_probes_never_let_two_in_at_once():
    machine, _ = circuit()
    machine.settle(machine.acquire(0.0), FAILURE, 0.0, 0.0)
    inside, admitted = Inside(), Tally()

    def probe():
        for _ in range(800):
            try:
                permit = machine.acquire(5.0)
            except CircuitOpenError:
                continue
            with inside:
                admitted.bump()
            machine.settle(permit, CANCELLED, 5.0, 5.0)

    hammer(probe)

    assert 1 == inside.most
    assert State.HALF_OPEN is machine.state
    machine.settle(machine.acquire(5.0), SUCCESS, 5.0, 5.0)
    assert State.CLOSED is machine.state


def test_every_result_of_a_closed_circuit_is_weighed():
    """4 x 500 good ones and 4 x 500 bad ones: it must open at exactly half, not before and not later."""
    machine, seen = circuit(min_calls=4000, failure_rate=0.5, window=1000.0)

    def good():
        for _ in range(500):
            machine.settle(machine.acquire(1.0), SUCCESS, 1.0, 1.0)

    def bad():
        for _ in range(500):
            machine.settle(machine.acquire(1.0), FAILURE, 1.0, 1.0)

    hammer(good)
    assert [] == seen
    hammer(bad)

    assert [Trigger.FAILURE_RATE] == [event.trigger for event in seen]


def test_terms_are_numbered_without_a_gap_when_everything_happens_at_once():
    machine, seen = circuit(open_for=0.001, half_open_for=0.001)
    clock = itertools.count()

    def calls():
        for i in range(400):
            now = next(clock) / 1000
            try:
                permit = machine.acquire(now)
            except CircuitOpenError:
                continue
            machine.settle(permit, (SUCCESS, FAILURE, CANCELLED)[i % 3], now, now)

    def operator():
        for trigger in [Trigger.FORCED_OPEN, Trigger.RELEASED, Trigger.FORCED_CLOSED, Trigger.RESET] * 30:
            machine.steer(trigger, next(clock) / 1000)
            machine.configure(CircuitBreaker(min_calls=1, open_for=0.001, window_calls=5), next(clock) / 1000)

    hammer(calls, operator, threads=2)
    terms = sorted(seen, key=lambda event: event.term)

    assert list(range(1, len(seen) + 1)) == [event.term for event in terms]
    assert all(before.new is after.old for before, after in itertools.pairwise(terms))


def test_a_recorder_counts_every_call_of_every_thread():
    recorder, clock = Recorder(now=0.0), itertools.count()
    times = [0.0]

    def success():
        for _ in range(1500):
            now = times[0]
            recorder.success(now - 0.01, now)

    def fail():
        for i in range(500):
            now = times[0] = next(clock) / 400
            recorder.ran((FAILURE,), now - 0.01, now)
            recorder.refused(now)
            if not i % 20:
                recorder.read(now)
                recorder.totals()

    hammer(success, fail, threads=2)
    totals, lifetime = recorder.totals()

    assert (3000, 1000, 1000) == (totals[SUCCESS], totals[FAILURE], totals[3])
    assert 4000 == sum(lifetime.buckets)
    assert [3000, 1000] == recorder.read(times[0]).counts[:2]
