"""A halt: the target asks its callers to wait, and the circuit refuses until then, whatever else is heard."""

import random

import pytest

from resilience import CircuitBreaker, CircuitOpenError, StateChanged, command, http_status
from resilience.core.circuit import Circuit
from resilience.core.events import State, Trigger
from resilience.core.failure_rules import FailureRules
from resilience.core.outcome import FAILURE, SUCCESS
from tests.seeds import over_seeds


def circuit(told=None, **settings):
    return Circuit(CircuitBreaker(**{"consecutive": 2, "open_for": 5.0, **settings}), key="k", group="g", now=0.0,
                   emit=(lambda event: None) if told is None else told.append, random=lambda: 0.5)


def test_calls_are_refused_until_the_end_of_the_halt_and_the_refusal_says_why():
    told = []
    machine = circuit(told)
    permit = machine.acquire(1.0)
    machine.halt(31.0, 1.0)
    machine.settle(permit, SUCCESS, 1.0, 2.0)  # a later success does not lift it
    assert machine.is_halted
    with pytest.raises(CircuitOpenError, match="its target asked its callers to wait") as caught:
        machine.acquire(30.9)
    assert caught.value.retry_after == pytest.approx(0.1)
    probe = machine.acquire(31.0)
    machine.settle(probe, SUCCESS, 31.0, 31.1)
    assert [(Trigger.HALTED, State.OPEN), (Trigger.WAIT_ELAPSED, State.HALF_OPEN),
            (Trigger.PROBES_PASSED, State.CLOSED)] == [(event.trigger, event.new) for event in told]


def test_a_halt_lengthens_an_open_circuits_wait_and_never_shortens_it():
    machine = circuit()
    machine.halt(10.0, 0.0)
    machine.halt(5.0, 1.0)
    machine.halt(20.0, 2.0)
    with pytest.raises(CircuitOpenError):
        machine.acquire(19.9)
    assert machine.acquire(20.0)


def test_a_halt_that_ends_with_the_wait_of_an_open_circuit_leaves_it_as_it_is():
    machine = circuit(consecutive=1)
    machine.settle(machine.acquire(0.0), FAILURE, 0.0, 0.0)
    machine.halt(5.0, 1.0)
    assert not machine.is_halted
    machine.halt(5.5, 1.0)
    assert machine.is_halted


def test_new_settings_do_not_end_a_halt():
    machine = circuit()
    machine.halt(100.0, 0.0)
    machine.configure(CircuitBreaker(open_for=1.0), 1.0)
    with pytest.raises(CircuitOpenError):
        machine.acquire(99.0)


def test_a_halted_probe_begins_a_new_halt_and_does_not_make_the_next_wait_grow():
    machine = circuit(open_growth=2.0, open_max=100.0)
    machine.halt(10.0, 0.0)
    machine.acquire(10.0)
    machine.halt(15.0, 11.0)
    probe = machine.acquire(15.0)
    machine.settle(probe, FAILURE, 15.0, 15.0)
    assert 5.0 == machine.retry_after(15.0)


@pytest.mark.parametrize("trigger", [Trigger.FORCED_OPEN, Trigger.FORCED_CLOSED, Trigger.DISABLED])
def test_what_an_operator_said_stays(trigger):
    machine = circuit()
    machine.steer(trigger, 0.0)
    state = machine.state
    machine.halt(100.0, 0.0)
    assert state is machine.state


@over_seeds(100)
def test_no_history_of_answers_lets_a_call_through_before_the_end_of_a_halt(seed):
    rng, machine, now, end, permits = random.Random(seed), circuit(), 0.0, 0.0, []
    for _ in range(200):
        now += rng.random()
        what = rng.random()
        if what < 0.1:
            until = now + rng.uniform(0, 10)
            machine.halt(until, now)
            end = max(end, until)
        elif what < 0.5 and permits:
            machine.settle(permits.pop(rng.randrange(len(permits))), rng.choice((SUCCESS, FAILURE)), now, now)
        else:
            try:
                permits.append(machine.acquire(now))
            except CircuitOpenError as refusal:
                assert refusal.retry_after is not None
            else:
                assert now >= end


@pytest.mark.parametrize("raised", [False, True])
def test_an_answer_that_is_judged_busy_and_says_retry_after_halts_its_key(registry, clock, raised):
    class Answer(Exception):
        status_code = 429

        def __init__(self, **headers):
            self.headers = headers

    heard = []
    registry.subscribe(StateChanged, heard.append)

    @command(key=lambda host: host, registry=registry, timeout=None,
             failures=FailureRules(status=http_status(), halts=True))
    def call(host):
        answer = Answer(**{"Retry-After": "30"}) if host == "busy" else Answer()
        if raised:
            raise answer
        return answer

    for host in ("busy", "well"):
        try:
            call(host)
        except Answer:
            pass
    assert ["busy"] == [event.key for event in heard]
    with pytest.raises(CircuitOpenError) as caught:
        call("busy")
    assert 30.0 == caught.value.retry_after
    assert "closed" == call.resilience["well"].state
    clock.advance(30.0)
    assert call.resilience["busy"].snapshot().retry_after in (None, 0.0)
