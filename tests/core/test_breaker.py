"""The circuit, rule by rule: no clock, no sleep, no event loop."""

import copy
import pickle

import attrs
import pytest

from resilience.core.breaker import CircuitBreaker, time_open
from resilience.core.circuit import Circuit
from resilience.core.events import State, StateChanged, Trigger
from resilience.core.outcome import CANCELLED, CUT_SHORT, FAILURE, IGNORED, REJECTED, SUCCESS
from resilience.core.transitions import TRANSITIONS
from resilience.errors import CircuitOpenError

CONFIG = CircuitBreaker(min_calls=4, window=10.0, open_for=5.0, half_open_for=3.0)


@pytest.fixture(name="seen")
def _seen():
    return []


@pytest.fixture(name="make")
def _make(seen):
    def make(config=CONFIG, **changes):
        return Circuit(attrs.evolve(config, **changes), key="db", group="g", now=0.0, emit=seen.append,
                       random=lambda: 0.5)
    return make


def run(circuit, outcome, now, took=0.0):
    circuit.settle(circuit.acquire(now), outcome, now - took, now)


def trip(circuit, now, calls=4):
    for _ in range(calls):
        run(circuit, FAILURE, now)


def refusal(circuit, now):
    with pytest.raises(CircuitOpenError) as caught:
        circuit.acquire(now)
    return caught.value


def test_it_opens_on_the_call_that_completes_min_calls(make):
    circuit = make()
    for _ in range(4):
        assert State.CLOSED is circuit.state
        run(circuit, FAILURE, 1.0)

    assert State.OPEN is circuit.state


def test_the_first_knock_after_open_for_is_the_only_probe(make, seen):
    circuit = make()
    trip(circuit, 1.0)
    assert 5.0 == refusal(circuit, 1.0).retry_after
    assert pytest.approx(0.001) == refusal(circuit, 5.999).retry_after
    probe = circuit.acquire(6.0)
    assert 3.0 == refusal(circuit, 6.0).retry_after
    circuit.settle(probe, SUCCESS, 6.0, 6.5)

    assert State.CLOSED is circuit.state
    assert [
        StateChanged("db", "g", State.CLOSED, State.OPEN, Trigger.FAILURE_RATE, 1, 1.0),
        StateChanged("db", "g", State.OPEN, State.HALF_OPEN, Trigger.WAIT_ELAPSED, 2, 6.0),
        StateChanged("db", "g", State.HALF_OPEN, State.CLOSED, Trigger.PROBES_PASSED, 3, 6.5),
    ] == seen


def test_failures_older_than_the_window_are_forgotten(make):
    circuit = make()
    for _ in range(3):
        run(circuit, FAILURE, 0.0)
    run(circuit, FAILURE, 10.0)

    assert State.CLOSED is circuit.state


def test_slow_calls_open_the_circuit_though_they_succeed(make, seen):
    circuit = make(slow_call=1.0, slow_rate=0.5)
    for took in (1.0, 0.999, 0.1, 1.5):
        run(circuit, SUCCESS, 3.0, took)

    assert [Trigger.SLOW_RATE] == [event.trigger for event in seen]


def test_a_slow_probe_opens_again(make, seen):
    circuit = make(slow_call=1.0)
    trip(circuit, 0.0)
    circuit.settle(circuit.acquire(5.0), SUCCESS, 5.0, 6.0)

    assert State.OPEN is circuit.state
    assert Trigger.PROBE_FAILED is seen[-1].trigger


def test_all_probes_must_pass_and_one_failure_is_enough(make):
    circuit = make(half_open_calls=3)
    trip(circuit, 0.0)
    probes = [circuit.acquire(5.0) for _ in range(3)]
    refusal(circuit, 5.0)
    circuit.settle(probes[0], SUCCESS, 5.0, 5.1)
    refusal(circuit, 5.1)  # a probe that passed frees no place for a fourth
    circuit.settle(probes[1], FAILURE, 5.0, 5.2)
    circuit.settle(probes[2], SUCCESS, 5.0, 5.3)

    assert State.OPEN is circuit.state
    assert pytest.approx(4.9) == circuit.retry_after(5.3)


@pytest.mark.parametrize("outcome", [IGNORED, CANCELLED, REJECTED, CUT_SHORT])
def test_a_probe_that_told_us_nothing_gives_its_place_to_the_next(make, outcome):
    circuit = make(half_open_calls=2)
    trip(circuit, 0.0)
    first, second = circuit.acquire(5.0), circuit.acquire(5.0)
    circuit.settle(first, outcome, 5.0, 5.1)
    third = circuit.acquire(5.2)
    refusal(circuit, 5.2)
    circuit.settle(second, SUCCESS, 5.0, 5.3)
    circuit.settle(third, SUCCESS, 5.0, 5.4)

    assert State.CLOSED is circuit.state


def test_refusals_inside_count_as_failures_only_if_asked_to(make):
    circuit, like_hystrix = make(), make(count_rejections=True)
    for _ in range(4):
        run(circuit, REJECTED, 1.0)
        run(like_hystrix, REJECTED, 1.0)

    assert (State.CLOSED, State.OPEN) == (circuit.state, like_hystrix.state)


def test_waits_grow_with_each_opening_up_to_open_max_and_start_over_after_a_recovery(make):
    circuit, now, waits = make(open_growth=2.0, open_max=15.0), 0.0, []
    trip(circuit, now)
    for _ in range(4):
        waits.append(circuit.retry_after(now))
        now += waits[-1]
        run(circuit, FAILURE, now)
    now += circuit.retry_after(now)
    run(circuit, SUCCESS, now)
    trip(circuit, now)

    assert [5.0, 10.0, 15.0, 15.0] == waits
    assert 5.0 == circuit.retry_after(now)


def test_a_wait_grown_beyond_all_floats_ends_at_open_max():
    config = CircuitBreaker(open_for=1.0, open_growth=10.0, open_max=60.0)

    assert [1.0, 60.0, 60.0] == [time_open(config, n, 0.0) for n in (1, 400, 100_000)]
    assert 60.0 == time_open(CircuitBreaker(open_for=1, open_growth=10, open_max=60), 2000, 0.0)


def test_jitter_lengthens_the_wait_by_a_share_of_it(make):
    circuit = make(open_jitter=0.4)
    trip(circuit, 0.0)

    assert 6.0 == circuit.retry_after(0.0)


def test_a_forced_open_circuit_refuses_for_ever_and_names_no_wait(make):
    circuit = make()
    circuit.steer(Trigger.FORCED_OPEN, 0.0)

    assert refusal(circuit, 1e6).retry_after is None
    assert State.FORCED_OPEN is circuit.state


def test_a_forced_closed_circuit_admits_all_and_remembers_what_it_saw(make):
    circuit = make()
    circuit.steer(Trigger.FORCED_CLOSED, 0.0)
    trip(circuit, 1.0, calls=20)
    assert State.FORCED_CLOSED is circuit.state
    circuit.steer(Trigger.RELEASED, 2.0)
    assert State.CLOSED is circuit.state
    run(circuit, FAILURE, 2.0)

    assert State.OPEN is circuit.state


@pytest.mark.parametrize("state", list(State))
def test_releasing_what_nobody_forced_changes_nothing(make, seen, state):
    if (state, Trigger.RELEASED) in TRANSITIONS:
        return
    circuit = make()
    if state is not State.CLOSED:
        trip(circuit, 0.0)
    if state is State.HALF_OPEN:
        circuit.acquire(5.0)
    before = len(seen)
    circuit.steer(Trigger.RELEASED, 6.0)

    assert state is circuit.state
    assert before == len(seen)


def test_reset_empties_the_history_even_of_a_closed_circuit(make, seen):
    circuit = make()
    trip(circuit, 0.0, calls=3)
    circuit.steer(Trigger.RESET, 0.0)
    run(circuit, FAILURE, 0.0)

    assert State.CLOSED is circuit.state
    assert [Trigger.RESET] == [event.trigger for event in seen]


def test_configuring_an_open_circuit_reckons_its_wait_from_when_it_opened(make):
    circuit = make()
    trip(circuit, 10.0)
    circuit.configure(attrs.evolve(CONFIG, open_for=2.0), 11.0)
    assert 1.0 == circuit.retry_after(11.0)
    circuit.acquire(12.0)

    assert State.HALF_OPEN is circuit.state


def test_listeners_may_call_back_into_the_circuit():
    states = []
    circuit = Circuit(CONFIG, key="db", group="g", now=0.0, emit=lambda _: states.append(circuit.state),
                      random=lambda: 0.0)
    trip(circuit, 1.0)
    circuit.acquire(6.0)

    assert [State.OPEN, State.HALF_OPEN] == states


def test_a_renewed_circuit_starts_over_closed(make):
    circuit = make()
    trip(circuit, 0.0)
    circuit.renew(1.0)
    run(circuit, FAILURE, 1.0)

    assert State.CLOSED is circuit.state


def test_the_table_covers_every_state_and_operator_trigger():
    for state in State:
        for trigger in (Trigger.FORCED_OPEN, Trigger.FORCED_CLOSED, Trigger.DISABLED, Trigger.RESET):
            assert (state, trigger) in TRANSITIONS
    assert set(State) == set(TRANSITIONS.values())
    assert set(Trigger) == {trigger for _, trigger in TRANSITIONS}


@pytest.mark.parametrize("dump", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_circuit_belongs_to_its_process_and_says_so(make, dump):
    with pytest.raises(TypeError, match="cannot be pickled"):
        dump(make())
