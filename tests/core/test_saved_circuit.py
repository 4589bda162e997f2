"""A circuit that goes on where another was before a restart."""

import json
import math

import attrs
import pytest

from resilience.core.breaker import CircuitBreaker
from resilience.core.circuit import Circuit
from resilience.core.circuit_checkpoint import CircuitCheckpoint, check_elapsed, checkpoint_of
from resilience.core.outcome import FAILURE, SUCCESS
from resilience.errors import CircuitOpenError, ConfigError

CONFIG = CircuitBreaker(min_calls=4, open_for=4.0, open_growth=2.0, open_max=64.0)


def circuit(config=CONFIG, now=0.0, seen=None):
    return Circuit(config, key="k", group="g", now=now, emit=(seen if seen is not None else []).append,
                   random=lambda: 0.0)


def call(machine, outcome, now):
    machine.settle(machine.acquire(now), outcome, now, now)


def moved(machine, now, elapsed, later):
    """A new circuit, made on a clock that shows *later*, that has been through a file."""
    text = json.dumps(attrs.asdict(machine.save(now)))
    new = circuit(now=later)
    new.restore(CircuitCheckpoint(**json.loads(text)), elapsed, later)
    return new


def test_a_closed_circuit_goes_on_counting():
    old = circuit()
    call(old, SUCCESS, 1.0)
    call(old, FAILURE, 1.0)
    new = moved(old, now=2.0, elapsed=3.0, later=1000.0)
    call(new, FAILURE, 1000.0)
    assert "closed" == new.state
    call(new, SUCCESS, 1000.0)

    assert "open" == new.state


def test_counts_older_than_the_window_are_forgotten():
    old = circuit()
    for outcome in (SUCCESS, FAILURE, FAILURE):
        call(old, outcome, 1.0)
    new = moved(old, now=2.0, elapsed=10.0, later=0.0)
    call(new, FAILURE, 0.0)

    assert "closed" == new.state


@pytest.mark.parametrize(("elapsed", "left"), [(0.0, 3.0), (1.0, 2.0), (2.5, 0.5)])
def test_an_open_circuit_waits_out_what_was_left(elapsed, left):
    old = circuit()
    for _ in range(4):
        call(old, FAILURE, 1.0)
    new = moved(old, now=2.0, elapsed=elapsed, later=500.0)
    with pytest.raises(CircuitOpenError) as refused:
        new.acquire(500.0)

    assert left == refused.value.retry_after
    assert new.acquire(500.0 + left)
    assert "half_open" == new.state


def test_settings_that_change_after_the_restart_leave_the_wait_as_it_was_saved():
    old = circuit()
    for _ in range(4):
        call(old, FAILURE, 1.0)
    new = moved(old, now=2.0, elapsed=1.0, later=500.0)
    new.configure(attrs.evolve(CONFIG, min_calls=10), 500.5)

    assert 1.5 == new.retry_after(500.5)


def test_an_open_circuit_whose_wait_is_over_probes_at_once_and_waits_longer_if_that_fails():
    old = circuit()
    for _ in range(4):
        call(old, FAILURE, 1.0)
    new = moved(old, now=2.0, elapsed=100.0, later=0.0)
    call(new, FAILURE, 0.0)

    assert "open" == new.state
    assert 8.0 == new.retry_after(0.0)


def test_a_half_open_circuit_comes_back_open_with_its_wait_over():
    old = circuit()
    for _ in range(4):
        call(old, FAILURE, 1.0)
    old.acquire(5.0)

    assert CircuitCheckpoint(state="open", openings=1) == old.save(5.0)


@pytest.mark.parametrize("word", ["FORCED_OPEN", "FORCED_CLOSED", "DISABLED"])
def test_an_operators_word_survives(word):
    from resilience.core.events import Trigger

    old = circuit()
    old.steer(Trigger[word], 1.0)

    assert word.lower() == moved(old, now=2.0, elapsed=1.0, later=0.0).state


def test_a_circuit_that_has_changed_already_is_left_alone():
    old, new = circuit(), circuit()
    for machine in (old, new):
        for _ in range(4):
            call(machine, FAILURE, 1.0)
    new.restore(CircuitCheckpoint(state="forced_closed"), 0.0, 1.0)

    assert "open" == new.state


@pytest.mark.parametrize("bad", [dict(state="ajar"), dict(state="open", remaining=-1.0),
                                 dict(state="open", remaining=float("nan")), dict(state="open", openings=1.5),
                                 dict(state="closed", counts=(1, 2, 3)), dict(state="closed", counts=(1, 2, 3, -4)),
                                 dict(state="closed", counts=(1, 2, 3, -1)),
                                 dict(state="closed", counts=(1, 2, 3, 1_000_000_001)),
                                 dict(state="closed", counts=(1, 2, 3, True))])
def test_nonsense_is_refused_by_name(bad):
    with pytest.raises(ConfigError) as refused:
        CircuitCheckpoint(**bad)

    assert list(bad)[-1] == refused.value.option


def test_what_is_not_said_is_nothing_and_counts_go_to_a_thousand_million():
    plain = CircuitCheckpoint(state="closed")

    assert (0.0, 0, (0, 0, 0, 0)) == (plain.remaining, plain.openings, plain.counts)
    assert (0, 1, 2, 1_000_000_000) == CircuitCheckpoint(state="closed", counts=[0, 1, 2, 1_000_000_000]).counts


def test_counts_of_other_classes_of_numbers_are_kept_as_plain_ones():
    class Many(int):
        """As numpy's are."""

    assert [int] * 4 == [type(each) for each in CircuitCheckpoint(state="closed", counts=(Many(1), 2, 3, Many(4))).counts]


@pytest.mark.parametrize("elapsed", [math.nan, "1", None, True, 10**400])
def test_a_time_since_the_saving_that_is_none_is_refused(elapsed):
    with pytest.raises(ConfigError, match="^elapsed must be a number of seconds, not ") as refused:
        check_elapsed(elapsed)

    assert "elapsed" == refused.value.option


@pytest.mark.parametrize(("elapsed", "state"), [(math.inf, "half_open"), (-math.inf, "open"), (-1.0, "open"), (0, "open")])
def test_the_time_since_the_saving_may_be_without_end(elapsed, state):
    check_elapsed(elapsed)
    new = circuit()
    new.restore(CircuitCheckpoint(state="open", remaining=1.0), elapsed, 0.0)
    if state == "open":
        with pytest.raises(CircuitOpenError):
            new.acquire(0.0)
    else:
        new.acquire(0.0)

    assert state == new.state


def test_what_was_saved_is_read_and_what_was_not_is_told_with_its_command():
    assert CircuitCheckpoint(state="open", remaining=3.0) == checkpoint_of("stock", {"state": "open", "remaining": 3.0})
    told = "^stock: saved must be what save\\(\\) returns, such as {'state': 'open', 'remaining': 3.0}, not "
    with pytest.raises(ConfigError, match=told + "3$") as caught:
        checkpoint_of("stock", 3)
    assert "saved" == caught.value.option
    with pytest.raises(ConfigError, match=told + "{'state': 'ajar'}: state must be one of closed, .*$") as caught:
        checkpoint_of("stock", {"state": "ajar"})
    assert "state" == caught.value.option
