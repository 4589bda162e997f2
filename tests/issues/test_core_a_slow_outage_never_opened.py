"""A target that is called rarely could be down for days, and its circuit stayed closed: too few calls for a share.

The default breaker weighs at least 20 calls within 10 s. Resilience4j and Polly have the same blind spot, and tell
their users to choose another window. Measured on both sides: how soon an outage opens, and how seldom chance does.
"""

import random

import pytest

from resilience import CircuitBreaker, CircuitOpenError, Registry, command
from resilience.core.circuit import Circuit
from resilience.core.outcome import FAILURE, SUCCESS
from resilience.testing import ManualClock

WEEK_S = 7 * 24 * 3600


def circuit(seen, **settings):
    return Circuit(CircuitBreaker(**settings), key="k", group="g", now=0.0, emit=seen.append, random=lambda: 0.0)


def call(machine, outcome, now):
    machine.settle(machine.acquire(now), outcome, now, now)


def failing_calls_until_open(machine, seen, every, now=0.0, most=50):
    """How many calls in a row fail, one *every* seconds from *now* on, until the circuit opens."""
    for n in range(1, most + 1):
        call(machine, FAILURE, now)
        if seen:
            return n
        now += every
    return None


@pytest.mark.parametrize(("every", "calls"), [
    (0.125, 20), (0.5, 20), (0.625, 17), (1.0, 11), (2.0, 6), (2.5, 5), (5.0, 5), (19.0, 5), (60.0, 5), (1800.0, 5),
    (86_400.0, 5)])
def test_an_outage_opens_by_the_fifth_failed_call_or_after_ten_seconds(every, calls):
    seen = []

    assert calls == failing_calls_until_open(circuit(seen), seen, every)
    assert ("failure_rate" if every <= 0.5 else "sustained_failures") == seen[0].trigger


@pytest.mark.parametrize("every", [2.5, 19.0, 1800.0])
def test_an_outage_opens_as_soon_after_a_healthy_day(every):
    seen = []
    machine = circuit(seen)
    for n in range(1, 2001):
        call(machine, SUCCESS, n * 40.0)

    assert 5 == failing_calls_until_open(machine, seen, every, now=2001 * 40.0)


def test_a_call_that_was_tallied_without_a_lock_ends_a_run_too():
    """A changed configuration finds the window empty, and lets good results be tallied at once."""
    seen = []
    machine = circuit(seen)
    for n in range(4):
        call(machine, FAILURE, n * 19.0)
    machine.configure(CircuitBreaker(open_for=6.0), 70.0)
    permit = machine.acquire(70.0)
    assert 70.0 < permit.lock_free_until
    permit.bump()

    assert 8 == failing_calls_until_open(machine, seen, 19.0, now=76.0), "four of the first five failed"
    assert "8 calls in a row failed, over 133 s" == seen[0].reason


def test_one_good_call_in_five_keeps_it_closed():
    registry = Registry(clock=(clock := ManualClock()))
    outcomes = iter([OSError, OSError, OSError, OSError, None] * 200)

    @command(registry=registry, timeout=None)
    def rare():
        if error := next(outcomes):
            raise error

    for _ in range(1000):
        clock.advance(19.0)
        try:
            rare()
        except OSError:
            pass

    assert "closed" == rare.resilience.state


def test_where_calls_fail_now_and_then_a_run_must_be_longer():
    """At a steady 40 % five in a row are nothing; fourteen are what chance makes once in a million (0.36 ** 14)."""
    seen = []
    machine = circuit(seen, min_calls=100)
    for n in range(1000):
        call(machine, FAILURE if n % 5 in (0, 2) else SUCCESS, n * 19.0)
    assert [] == seen

    assert 14 == failing_calls_until_open(machine, seen, 19.0, now=19_000.0)


@pytest.mark.parametrize(("percent", "needed"), [(0, 5), (5, 5), (10, 6), (20, 9), (30, 12), (40, 15), (45, 17)])
def test_how_long_a_run_must_be_is_as_the_reference_says(percent, needed):
    seen = []
    machine = circuit(seen)
    for n in range(1000):
        call(machine, SUCCESS if (n + 1) * percent // 100 == n * percent // 100 else FAILURE, n * 19.0)
    call(machine, SUCCESS, 19_000.0)
    assert [] == seen

    assert needed == failing_calls_until_open(machine, seen, 19.0, now=19_019.0)


def test_as_many_failures_in_a_row_as_the_share_needs_calls_are_enough_in_any_case():
    seen = []
    machine = circuit(seen, min_calls=10, failure_rate=1.0)
    for n in range(1000):
        call(machine, FAILURE if n % 2 else SUCCESS, n * 19.0)
    assert [] == seen

    assert 10 == failing_calls_until_open(machine, seen, 19.0, now=19_000.0) + 1  # the last of them failed too


def test_what_was_long_ago_is_forgotten():
    """Ten thousand bad calls, then as many good ones: five failures in a row mean an outage again."""
    seen = []
    machine = circuit(seen)
    for n in range(10_000):
        call(machine, FAILURE if n % 3 == 0 else SUCCESS, n * 19.0)
    for n in range(10_000):
        call(machine, FAILURE if n % 500 == 0 else SUCCESS, (10_000 + n) * 19.0)
    assert [] == seen

    assert 5 == failing_calls_until_open(machine, seen, 19.0, now=20_000 * 19.0)


def test_the_target_is_asked_again_and_one_answer_closes_the_circuit():
    clock = ManualClock()
    broken = True

    @command(registry=Registry(clock=clock), timeout=None)
    def rare():
        if broken:
            raise ConnectionError("no route")
        return 7

    states = []
    for _ in range(8):
        with pytest.raises(ConnectionError):
            rare()
        states.append(str(rare.resilience.state))
        with pytest.raises((ConnectionError, CircuitOpenError)):
            rare()
        clock.advance(19.0)
    assert ["closed", "closed"] + ["open"] * 6 == states, "two failures each time: the fifth is the third time's first"
    broken = False

    assert 7 == rare()
    assert "closed" == rare.resilience.state


@pytest.mark.parametrize("settings", [{"sustained_failures": None}, {"failure_rate": None, "consecutive": 50}])
def test_it_can_be_switched_off_and_is_where_no_share_opens(settings):
    seen = []

    assert failing_calls_until_open(circuit(seen, **settings), seen, 19.0, most=40) is None


def test_it_can_be_tightened_and_loosened():
    assert 2 == failing_calls_until_open(circuit(seen := [], sustained_failures=2), seen, 19.0)
    assert 8 == failing_calls_until_open(circuit(seen := [], sustained_failures=8), seen, 19.0)
    assert 7 == failing_calls_until_open(circuit(seen := [], window=110.0), seen, 19.0)


def test_it_opens_a_circuit_that_weighs_the_last_calls():
    seen = []

    assert 5 == failing_calls_until_open(circuit(seen, window_calls=40, min_calls=40), seen, 19.0)


def test_a_ramp_ends_by_it_too():
    seen = []
    machine = circuit(seen, window=2.0, ramp=3600.0, ramp_shares=(0.9,))
    for n in range(5):
        call(machine, FAILURE, n * 1.0)
    call(machine, SUCCESS, 100.0)
    assert "half_open" == machine.state
    now = 101.0
    while machine.state == "half_open":
        try:
            call(machine, FAILURE, now)
        except CircuitOpenError:
            pass
        now += 19.0

    assert 190.0 < now < 240.0
    assert "probe_failed" == seen[-1].trigger


def opened_by_chance(share, per_second, calls, seed):
    """How often each trigger opened a circuit whose target fails a steady *share* of Poisson's calls."""
    rng, seen, now = random.Random(f"{share} {per_second} {seed}"), [], 0.0
    machine = circuit(seen)
    for _ in range(calls):
        now += rng.expovariate(per_second)
        try:
            permit = machine.acquire(now)
        except CircuitOpenError:
            continue
        machine.settle(permit, FAILURE if rng.random() < share else SUCCESS, now, now)
    return [event.trigger for event in seen if event.old == "closed"], now


@pytest.mark.parametrize(("per_second", "share"), [(10.0, 0.1), (100.0, 0.1), (1000.0, 0.1), (100.0, 0.2), (1000.0, 0.3)])
def test_a_busy_target_with_a_steady_share_of_failures_stays_closed(per_second, share):
    """A run would have to last ten seconds, which is a hundred failures in a row and more; no week has that."""
    triggers, _ = opened_by_chance(share, per_second, 40_000, seed=1)

    assert [] == triggers


@pytest.mark.parametrize(("per_second", "share", "most"), [
    (1 / 1800, 0.1, 0), (1 / 1800, 0.4, 0), (1 / 60, 0.1, 0), (1 / 60, 0.4, 1), (0.1, 0.1, 0), (0.1, 0.2, 1),
    (0.1, 0.4, 3)])
def test_a_week_of_rare_calls_of_which_some_fail_seldom_opens(per_second, share, most):
    triggers, lasted = opened_by_chance(share, per_second, int(per_second * WEEK_S), seed=2)

    assert 0.8 * WEEK_S < lasted
    assert triggers.count("sustained_failures") <= most
