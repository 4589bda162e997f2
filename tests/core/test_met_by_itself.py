"""What a machine does when a signal handler, or a finalizer, calls in while its own thread is at work in it.

Nothing that is reported is lost, nothing is decided twice, and no answer is made up of what is half changed.
"""

import pytest

from resilience.core.adaptive import AdaptiveLimit, AdaptiveLimiter
from resilience.core.breaker import CircuitBreaker
from resilience.core.budget import Budget, RetryBudget
from resilience.core.circuit import Circuit
from resilience.core.events import State, Trigger
from resilience.core.outcome import FAILURE, SUCCESS, TIMEOUT
from resilience.core.throttle import Throttle, Throttler
from resilience.errors import CircuitOpenError, ThrottledError
from resilience.metrics.batch_statistics import BatchStatistics
from resilience.metrics.recorder import Recorder
from tests.visits import visited


def circuit(visit=lambda: None, **settings):
    """A circuit, its events, and the user's function that it calls in the middle of its work: *visit*."""
    events, met = [], []

    def random():
        if not met:
            met.append(None)
            visit(made)
        return 0.0

    made = Circuit(CircuitBreaker(min_calls=1, open_jitter=0.5, **settings), key="k", group="g", now=0.0,
                   emit=events.append, random=random)
    return made, events


def test_a_setting_changed_while_a_circuit_opens_holds_once_it_has_opened():
    seen = []

    def change(machine):
        machine.configure(CircuitBreaker(min_calls=1, slow_call=3.0, slow_rate=0.5, open_for=50.0), 1.0)
        seen.append(machine.slow_s)

    machine, events = circuit(change)
    machine.settle(machine.acquire(1.0), FAILURE, 1.0, 1.0)

    assert [float("inf")] == seen  # not in the middle of the work
    assert (State.OPEN, 3.0, 50.0) == (machine.state, machine.slow_s, machine.retry_after(1.0))
    assert [State.OPEN] == [event.new for event in events]


def test_an_operators_word_while_a_circuit_opens_holds_once_it_has_opened():
    seen = []

    def steer(machine):
        machine.steer(Trigger.FORCED_CLOSED, 1.0)
        seen.append(machine.state)

    machine, events = circuit(steer)
    machine.settle(machine.acquire(1.0), FAILURE, 1.0, 1.0)

    assert [State.CLOSED] == seen
    assert [(1, State.OPEN), (2, State.FORCED_CLOSED)] == [(event.term, event.new) for event in events]


def test_a_result_reported_while_another_is_weighed_is_weighed_after_it():
    seen = []

    def horizon():
        if seen == ["armed"]:
            seen.append(None)
            machine.settle(machine.term, FAILURE, 20.0, 20.0)
            seen[1] = machine.state
        return 1e9

    events = []
    machine = Circuit(CircuitBreaker(min_calls=1, failure_rate=0.5), key="k", group="g", now=0.0, emit=events.append,
                      random=lambda: 0.0, horizon=horizon)
    seen.append("armed")
    machine.settle(machine.acquire(20.0), SUCCESS, 20.0, 20.0)

    assert ["armed", State.CLOSED] == seen
    assert (State.OPEN, [1]) == (machine.state, [event.term for event in events])


def test_no_result_is_lost_at_whatever_line_of_another_one_it_is_reported():
    state = {}

    def work():
        state["machine"] = machine = Circuit(CircuitBreaker(min_calls=100), key="k", group="g", now=0.0,
                                             emit=lambda event: None, random=lambda: 0.0)
        machine.settle(machine.acquire(1.0), FAILURE, 1.0, 1.0)

    def visit():
        if "machine" in state:
            state["machine"].settle(state["machine"].term, FAILURE, 1.0, 1.0)
            state["visited"] = True

    visits = 0
    for n in visited(work, visit):
        visits += "visited" in state
        assert 1 + ("visited" in state) == state["machine"].term.counts(1.0)[1], n
        state.clear()
    assert visits > 20


def test_one_probe_is_admitted_at_whatever_line_of_asking_for_it_another_is_asked_for():
    state = {}

    def ask():
        try:
            state["admitted"].append(state["machine"].acquire(10.0))
        except CircuitOpenError:
            pass

    def work():
        machine = Circuit(CircuitBreaker(min_calls=1, open_for=5.0), key="k", group="g", now=0.0,
                          emit=lambda event: None, random=lambda: 0.0)
        machine.settle(machine.acquire(1.0), FAILURE, 1.0, 1.0)
        state.update(machine=machine, admitted=[])
        ask()

    for n in visited(work, lambda: state and ask()):
        assert 1 == len(state["admitted"]), n
        state.clear()


def test_a_closed_circuit_admits_whoever_asks_while_it_weighs_the_calls_under_way():
    """With slow_call set, an asking caller finds the calls under way that are slow by now, and opens the circuit."""
    admitted, state = [], {}

    def work():
        machine = Circuit(CircuitBreaker(min_calls=100, slow_call=1.0, slow_rate=0.5), key="k", group="g", now=0.0,
                          emit=lambda event: None, random=lambda: 0.0)
        state["machine"] = machine
        admitted.append(machine.acquire(100.0).passes)
        state.clear()

    for n in visited(work, lambda: state and admitted.append(state["machine"].acquire(100.0).passes)):
        assert all(admitted), n
    assert len(admitted) > n


def test_a_throttle_that_is_met_by_itself_counts_all_and_adopts_what_it_is_told():
    state = {}

    def work():
        machine = Throttler(Throttle(min_calls=1, k=1.0), key="k", now=0.0)
        state.update(machine=machine, visited=0)
        for _ in range(3):
            machine.settle(None, TIMEOUT, 1.0, 1.0)

    def visit():
        machine = state.get("machine")
        if machine is not None:
            state["visited"] += 1
            machine.settle(None, TIMEOUT, 1.0, 1.0)
            with pytest.raises(ThrottledError):
                machine.rate = machine.rate or 0.5
                machine.acquire(1.0, 0.0)
            machine.configure(Throttle(min_calls=50, k=1.0, window=60.0), 1.0)
            assert 0 <= sum(machine.sums(1.0))

    seen = []
    for n in visited(work, visit):
        machine = state["machine"]
        total = sum(machine.sums(1.0))
        seen.append(total)
        if state["visited"]:
            assert (total, 0.0, 1.0) == (5, machine.rate, round(machine._window.edge - 1.0, 9) <= 1.0), n
        state.clear()
    assert 5 in seen


def test_a_budget_that_is_met_by_itself_allows_no_more_than_it_has():
    state = {}

    def work():
        budget = Budget(RetryBudget(ratio=0.0, per_second=0.2, window=10.0), 0.0)  # two
        state.update(budget=budget, made=0, calls=0)
        for now in (1.0, 2.5, 2.5, 2.5):
            budget.deposit(now)
            state["made"] += budget.withdraw(now)

    def visit():
        budget = state.get("budget")
        if budget is not None:
            budget.deposit(2.5)
            if budget.withdraw(2.5):
                state["made"] += 1
                budget.refund()
                state["made"] -= 1

    for n in visited(work, visit):
        assert 2 == state["made"], n
        state["budget"].configure(RetryBudget(ratio=1.0, per_second=0.0, window=10.0), 2.5)
        more = 0
        while state["budget"].withdraw(2.5):
            more += 1
        assert more in (2, 3), n  # of four calls, or five with the visitor's, two had their retries
        state.clear()


def test_an_adaptive_limit_that_is_met_by_itself_adopts_what_it_is_told():
    state = {}

    def work():
        machine = AdaptiveLimiter(AdaptiveLimit(initial=10, min_calls=1, window=0.1), key="k", now=0.0)
        state["machine"] = machine
        for n in range(1, 4):
            machine.settle(machine.acquire(n * 1.0), SUCCESS, n - 0.05, n * 1.0)

    def visit():
        if "machine" in state:
            state["machine"].configure(AdaptiveLimit(initial=3, max_limit=3, min_calls=1, window=0.1), 3.0)
            state["visited"] = True

    for n in visited(work, visit):
        machine = state["machine"]
        if "visited" in state:
            assert machine.limit <= 3, n
        assert 0 == machine.in_flight, n
        state.clear()


def test_a_recorder_that_is_met_by_itself_counts_all():
    state, events = {}, (1,)

    def work():
        recorder = Recorder(now=0.0)
        state.update(recorder=recorder, mine=0)
        recorder.ran(events, 0.5, 1.0)
        recorder.count(events, 2.0)
        recorder.ran(events, 0.5, 12.0)

    def visit():
        recorder = state.get("recorder")
        if recorder is not None:
            state["mine"] += 1
            recorder.ran(events, 0.5, 2.0)
            recorder.read(2.0)
            recorder.totals()
            recorder.bins(2.0)

    for n in visited(work, visit):
        totals, lifetime = state["recorder"].totals()
        assert 3 + state["mine"] == totals[1], n
        assert 2 + state["mine"] == sum(lifetime.buckets), n
        state.clear()


def test_the_statistics_of_collapsed_calls_that_are_met_by_themselves_count_all():
    state = {}

    def work():
        collapses = BatchStatistics("f", window=0.01, max_batch=10, now=0.0)
        state.update(collapses=collapses, mine=0)
        collapses.note(3, 4, 1.0)
        collapses.read(1.0)

    def visit():
        if "collapses" in state:
            state["mine"] += 1
            state["collapses"].note(3, 4, 1.0)
            state["collapses"].read(1.0)

    for n in visited(work, visit):
        reading = state["collapses"].read(1.0)
        assert (3 + 3 * state["mine"], 1 + state["mine"]) == (reading.items, reading.batches), n
        state.clear()
