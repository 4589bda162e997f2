"""The circuit, step by step: what a refusal and an event say, what a configuration changes, what is kept."""

import pickle
import threading
from math import inf

import attrs
import pytest

from resilience.core.breaker import CircuitBreaker
from resilience.core.circuit import Circuit
from resilience.core.circuit_checkpoint import CircuitCheckpoint
from resilience.core.events import Trigger
from resilience.core.outcome import CANCELLED, CUT_SHORT, FAILURE, IGNORED, REJECTED, SUCCESS, TIMEOUT
from resilience.core.stalls import Stalls
from resilience.errors import CircuitOpenError

TWO = CircuitBreaker(failure_rate=None, consecutive=2, open_for=5.0, half_open_for=3.0)
SLOW = CircuitBreaker(slow_call=1.0)


def circuit(config=TWO, heard=None):
    return Circuit(config, key="k", group="g", now=0.0, emit=[].append if heard is None else heard.append,
                   random=lambda: 0.5)


def call(machine, outcome, at, took=0.0):
    machine.settle(machine.acquire(at), outcome, at - took, at)


def opened(config=TWO, heard=None):
    """One that opened at 1 s."""
    machine = circuit(config, heard)
    call(machine, FAILURE, 1.0)
    call(machine, FAILURE, 1.0)
    assert "open" == machine.state
    return machine


def counts(machine, now):
    return machine.save(now).counts


def test_a_good_result_at_the_end_of_a_slice_is_counted_in_the_next_one():
    machine = circuit()
    assert 1.0 == machine.term.lock_free_until
    call(machine, SUCCESS, 1.0)

    assert [(1, 0, 0, 0), (0, 0, 0, 0)] == [counts(machine, 10.9), counts(machine, 11.0)]


@pytest.mark.parametrize(("outcome", "took", "count"), [
    (SUCCESS, 0.9, (1, 0, 0, 0)), (SUCCESS, 1.0, (0, 0, 1, 0)), (FAILURE, 0.9, (0, 1, 0, 0)), (FAILURE, 1.0, (0, 0, 0, 1)),
    (TIMEOUT, 0.9, (0, 1, 0, 0)), (TIMEOUT, 1.0, (0, 0, 0, 1)), (CUT_SHORT, 0.9, (0, 0, 0, 0)), (CUT_SHORT, 1.0, (0, 0, 0, 1)),
    (REJECTED, 0.9, (0, 0, 0, 0)), (REJECTED, 1.0, (0, 0, 0, 0)), (IGNORED, 1.0, (0, 0, 0, 0)), (CANCELLED, 1.0, (0, 0, 0, 0)),
])
def test_which_result_is_counted_in_which_column(outcome, took, count):
    machine = circuit(SLOW)
    call(machine, outcome, 0.5, took)

    assert count == counts(machine, 0.5)


def test_a_new_configuration_says_from_then_on_what_is_slow_and_what_counts():
    machine = circuit()
    machine.configure(attrs.evolve(TWO, slow_call=2.0, count_rejections=True, open_for=7.0), 0.5)
    assert 2.0 == machine.slow_s
    call(machine, SUCCESS, 0.5, 2.0)
    call(machine, REJECTED, 0.5)
    assert (0, 1, 1, 0) == counts(machine, 0.5)
    call(machine, REJECTED, 0.5)

    assert 7.0 == machine.retry_after(0.5)


def test_an_open_circuits_wait_is_reckoned_anew_from_when_it_opened():
    machine = opened()
    assert (6.0, 6.0) == (machine.term.until, machine.term.refuses_until)
    machine.configure(attrs.evolve(TWO, open_for=2.0), 1.5)
    assert (3.0, 3.0) == (machine.term.until, machine.term.refuses_until)
    machine.configure(attrs.evolve(TWO, open_for=2.0, open_jitter=1.0), 1.5)

    assert 3.0 == machine.term.until  # no number was drawn when it opened: it waits for no longer


def test_a_wait_is_lengthened_by_the_number_that_was_drawn():
    machine = opened(attrs.evolve(TWO, open_jitter=0.5))

    assert 6.25 == machine.retry_after(1.0)


def test_how_long_to_wait():
    machine = opened()
    assert [5.0, 1.0, 0.0] == [machine.retry_after(now) for now in (1.0, 5.0, 6.5)]
    machine.acquire(7.0)
    assert "half_open" == machine.state
    assert [3.0, 1.0, 0.0] == [machine.retry_after(now) for now in (7.0, 9.0, 11.0)]
    machine.configure(attrs.evolve(TWO, open_for=2.0), 7.0)
    assert 2.0 == machine.retry_after(7.0)  # the probe may take 3 s; the usual wait is less
    machine.steer(Trigger.RESET, 8.0)
    assert None is machine.retry_after(8.0)
    machine.steer(Trigger.FORCED_OPEN, 8.0)
    assert None is machine.retry_after(8.0)


def test_since_when_it_is_open():
    machine = circuit()
    assert None is machine.opened_at
    machine = opened()
    assert 1.0 == machine.opened_at
    permit = machine.acquire(6.0)
    assert 1.0 == machine.opened_at
    machine.settle(permit, FAILURE, 6.0, 6.0)
    assert 1.0 == machine.opened_at
    call(machine, SUCCESS, 11.0)
    assert None is machine.opened_at


@pytest.mark.parametrize(("now", "remaining"), [(1.0, 5.0), (5.0, 1.0), (6.5, 0.0)])
def test_what_is_left_of_a_wait_is_kept(now, remaining):
    assert CircuitCheckpoint(state="open", remaining=remaining, openings=1, counts=(0, 0, 0, 0)) == opened().save(now)


def test_a_closed_or_half_open_circuit_waits_for_nothing():
    machine = opened()
    assert 0.0 == circuit().save(0.5).remaining
    machine.acquire(6.0)

    assert CircuitCheckpoint(state="open", remaining=0.0, openings=1, counts=(0, 0, 0, 0)) == machine.save(6.0)


@pytest.mark.parametrize(("openings", "kept"), [(0, 1), (1, 1), (3, 3)])
def test_a_restored_circuit_is_open_for_the_rest_of_its_wait_and_says_so(openings, kept):
    heard = []
    machine = circuit(heard=heard)
    machine.restore(CircuitCheckpoint(state="open", remaining=4.0, openings=openings), 1.0, 10.0)

    assert ("open", 13.0, 13.0, kept) == (machine.state, machine.term.until, machine.term.refuses_until, machine.save(10.0).openings)
    assert [(Trigger.RESTORED, "it was open before the process was started anew")] == [(event.trigger, event.reason) for event in heard]


def test_a_term_that_is_over_takes_no_result_without_the_lock():
    machine = circuit()
    term = machine.term
    machine.steer(Trigger.DISABLED, 0.5)

    assert -inf == term.lock_free_until


def refusal(machine, now):
    with pytest.raises(CircuitOpenError) as caught:
        machine.acquire(now)
    return caught.value


def test_a_refusal_says_why_the_circuit_opened_since_when_and_how_many_probes_failed_since():
    machine = opened()
    assert ("open", 1.0, "2 calls in a row failed", -inf) == refusal(machine, 2.0).args[2]
    permit = machine.acquire(6.0)
    assert ("half_open", 1.0, "2 calls in a row failed", -inf) == refusal(machine, 6.0).args[2]
    machine.settle(permit, FAILURE, 6.0, 6.0)
    assert ("open", 1.0, "2 calls in a row failed, and 1 probe failed since", -inf) == refusal(machine, 7.0).args[2]
    call(machine, FAILURE, 11.0)
    assert ("open", 1.0, "2 calls in a row failed, and 2 probes failed since", -inf) == refusal(machine, 12.0).args[2]


def test_a_refusal_of_a_circuit_that_slow_calls_opened_tells_of_failures_since_then_only():
    machine = circuit(attrs.evolve(SLOW, min_calls=2))
    call(machine, SUCCESS, 1.5, 1.0)
    call(machine, SUCCESS, 2.0, 1.0)

    assert ("open", 2.0, "2 of 2 calls were slow", 2.0) == refusal(machine, 2.0).args[2]


def test_a_restored_circuit_tells_of_failures_since_then_only():
    machine = circuit()
    machine.restore(CircuitCheckpoint(state="open", remaining=4.0, openings=1), 0.0, 10.0)

    assert ("open", 10.0, "it was open before the process was started anew", 10.0) == refusal(machine, 10.0).args[2]


def test_a_circuit_that_was_forced_open_says_so_and_tells_of_no_failure():
    machine = opened()
    machine.steer(Trigger.FORCED_OPEN, 3.0)

    assert ("k", None, ("forced_open", 3.0, "an operator forced it open, until it is released", inf)) == \
        refusal(machine, 4.0).args[:3]
    assert None is machine.opened_at


def test_each_change_is_told_with_its_reason():
    heard = []
    machine = opened(heard=heard)
    call(machine, FAILURE, 6.0)
    call(machine, SUCCESS, 11.0)
    for trigger in (Trigger.FORCED_CLOSED, Trigger.DISABLED, Trigger.FORCED_OPEN, Trigger.RELEASED, Trigger.RESET):
        machine.steer(trigger, 12.0)

    assert [
        ("open", "2 calls in a row failed"), ("half_open", "its wait is over, and a call came"),
        ("open", "2 calls in a row failed, and 1 probe failed since"), ("half_open", "its wait is over, and a call came"),
        ("closed", "its probes succeeded"), ("forced_closed", "an operator forced it closed, until it is released"),
        ("disabled", "an operator took its breaker away"), ("forced_open", "an operator forced it open, until it is released"),
        ("closed", "an operator released it"), ("closed", "an operator reset it"),
    ] == [(event.new, event.reason) for event in heard]


def test_a_new_outage_is_not_the_old_one():
    machine = opened()
    call(machine, SUCCESS, 6.0)
    call(machine, FAILURE, 8.0)
    call(machine, FAILURE, 9.0)

    assert ("open", 9.0, "2 calls in a row failed", -inf) == refusal(machine, 9.0).args[2]
    assert 9.0 == machine.opened_at


def test_a_circuit_cannot_be_pickled():
    with pytest.raises(TypeError, match="one process"):
        pickle.dumps(circuit())


def test_a_forked_child_does_not_wait_for_a_thread_that_it_does_not_have():
    held, free = threading.Event(), threading.Event()
    machine = circuit()
    lock = machine._guard._lock

    def parent():
        with lock:
            held.set()
            free.wait(60)

    thread, done = threading.Thread(target=parent), threading.Event()
    thread.start()
    held.wait(60)

    def child():
        machine.renew(1.0)
        call(machine, FAILURE, 1.0)
        done.set()

    other = threading.Thread(target=child, daemon=True)
    other.start()
    went_on = done.wait(30)
    free.set()
    thread.join(60)
    assert went_on
    assert (0, 1, 0, 0) == counts(machine, 1.0)


def test_whether_a_call_would_be_refused_can_be_seen_without_asking():
    machine = opened()
    found = [(state, machine.refuses(now), machine.state) for state, now in [("open", 5.9), ("its wait is over", 6.0), ("later", 7.0)]]
    probe = machine.acquire(6.0)
    found.append(("all probes are under way", machine.refuses(6.1), machine.state))
    machine.settle(probe, IGNORED, 6.0, 6.2)
    found.append(("there is a probe to be had", machine.refuses(6.2), machine.state))
    call(machine, SUCCESS, 6.3)
    found.append(("closed", machine.refuses(6.4), machine.state))
    machine.steer(Trigger.FORCED_OPEN, 6.5)
    found.append(("forced open", machine.refuses(6.6), machine.state))
    machine.steer(Trigger.DISABLED, 6.7)
    found.append(("disabled", machine.refuses(6.8), machine.state))

    assert [("open", True, "open"), ("its wait is over", False, "open"), ("later", False, "open"), ("all probes are under way", True, "half_open"),
            ("there is a probe to be had", False, "half_open"), ("closed", False, "closed"), ("forced open", True, "forced_open"),
            ("disabled", False, "disabled")] == found
    assert [True, False, True, False, True, False] == [type(each) is bool and each for _, each, _ in (found[0], found[1], found[3], found[4], found[6], found[7])]


def test_nobody_would_be_refused_in_shadow_mode_but_by_an_operator():
    machine = opened()
    machine.shadow = lambda: None
    assert machine.refuses(2.0) is False
    machine.steer(Trigger.FORCED_OPEN, 2.0)
    assert machine.refuses(2.0) is True


@pytest.mark.parametrize(("lost", "is_slow"), [
    ((0.0, 1.0), True), ((0.0, 1.5), True), ((0.0, 3.0), False), ((1.5, 2.0), True), ((1.5, 2.1), False), ((1.5, 9.0), False), (None, True)])
def test_a_call_is_slow_by_the_time_that_no_stall_took(lost, is_slow):
    stalls = Stalls()
    if lost is not None:
        stalls.note(*lost)
    machine = Circuit(SLOW, key="k", group="g", now=0.0, emit=[].append, random=lambda: 0.5, stalls=stalls)
    machine.settle(machine.acquire(1.0), SUCCESS, 1.0, 2.5)  # it took 1.5 s; from 1 s on it is slow

    assert ((0, 0, 1, 0) if is_slow else (1, 0, 0, 0)) == counts(machine, 2.5)


def test_a_stall_that_ended_when_a_call_began_took_nothing_from_it_and_one_of_a_moment_is_no_matter():
    stalls = Stalls()
    stalls.note(0.0, 1.0)
    machine = Circuit(SLOW, key="k", group="g", now=0.0, emit=[].append, random=lambda: 0.5, stalls=stalls)
    machine.settle(machine.acquire(1.0), SUCCESS, 1.0, 1.5)

    assert (1, 0, 0, 0) == counts(machine, 1.5)


def test_a_circuit_whose_caller_keeps_nothing_to_itself_hears_of_every_good_result_until_its_slice_ends():
    machine = Circuit(TWO, key="k", group="g", now=0.0, emit=[].append, random=lambda: 0.5, horizon=lambda: 0.25)
    assert 0.25 == machine.term.lock_free_until
    machine.hears_at_once()
    call(machine, SUCCESS, 0.3)
    first = machine.term.lock_free_until
    for trigger in (Trigger.FORCED_CLOSED, Trigger.RELEASED):
        machine.steer(trigger, 2.0)
    call(machine, SUCCESS, 2.0)

    assert (1.0, 3.0) == (first, machine.term.lock_free_until)
