"""Delays, their jitter and their limits; the budget against a plain list."""

import random

import pytest

from resilience.core.budget import Budget, RetryBudget
from resilience.core.retry import (
    Retry,
    has_held_enough,
    longest_delay,
    longest_pauses,
    most_held,
    next_delay,
    repeats,
    total_limit,
)
from resilience.core.retry_after import asked_for
from resilience.errors import BadRequestError, ConfigError, RejectedError
from tests.core.hammer import hammer
from tests.seeds import over_seeds


def after(*told):
    """The delay before the next attempt alone, without what prevents it."""
    return next_delay(*told)[0]


@pytest.mark.parametrize(("jitter", "u", "expected"), [
    ("none", 0.5, [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]), ("full", 0.5, [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]),
    ("full", 0.0, [0.0] * 6), ("equal", 0.0, [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]),
    ("equal", 0.5, [0.75, 1.5, 3.0, 6.0, 7.5, 7.5]), ("decorrelated", 0.0, [1.0] * 6),
    ("decorrelated", 0.5, [2.0, 3.5, 5.75, 9.125, 10.0, 10.0])])
def test_the_delays(jitter, u, expected):
    policy, delays = Retry(attempts=7, base=1.0, max_delay=10.0, jitter=jitter), [0.0]
    for attempt in range(1, 7):
        delays.append(after(policy, attempt, delays[-1], 0.0, u))

    assert expected == delays[1:]
    assert after(policy, 7, 1.0, 0.0, u) is None


@pytest.mark.parametrize("jitter", ["full", "equal", "decorrelated", "none"])
def test_no_delay_leaves_its_bounds(jitter):
    rng, policy = random.Random(jitter), Retry(attempts=1000, base=0.5, max_delay=60.0, jitter=jitter)
    last = 0.0
    for attempt in range(1, 1000):
        last = after(policy, attempt, last, 0.0, rng.random())
        assert 0.0 <= last <= 60.0
        assert jitter != "decorrelated" or last >= 0.5


def test_a_first_delay_that_is_the_longest_one_is_accepted():
    assert [2.0, 2.0] == [after(Retry(base=2.0, max_delay=2.0, jitter="none"), n, 0.0, 0.0, 0.0) for n in (1, 2)]


def test_a_thousand_attempts_do_not_overflow():
    assert 3600.0 == after(Retry(attempts=1000, base=1.0, factor=1000.0, max_delay=3600.0, jitter="none"), 999, 0, 0, 0)
    assert 0.0 == after(Retry(attempts=1000, base=0.0, factor=1000.0, jitter="none"), 999, 0, 0, 0)


def test_what_is_asked_for_is_a_lower_bound_up_to_the_longest_delay():
    policy = Retry(base=1.0, max_delay=10.0, jitter="none")
    assert [1.0, 4.0, 10.0, None] == [after(policy, 1, 0.0, 0.0, 0.0, asked) for asked in (0.5, 4.0, 10.0, 10.1)]
    deaf = Retry(base=1.0, max_delay=10.0, jitter="none", respect_retry_after=False)
    assert 1.0 == after(deaf, 1, 0.0, 0.0, 0.0, 100.0)


def test_no_attempt_begins_after_the_time_limit():
    policy = Retry(base=1.0, jitter="none", time_limit=5.0)
    assert [1.0, None] == [after(policy, 1, 0.0, elapsed, 0.0) for elapsed in (4.0, 4.1)]


@pytest.mark.parametrize(("settings", "attempt", "elapsed", "asked", "why"), [
    ({}, 3, 0.0, None, ""), ({}, 1, 0.0, 11.5, "the target asks for a wait of 11.5 s, longer than max_delay (10 s)"),
    ({"time_limit": 5.0}, 1, 4.5, None, "time_limit (5 s) leaves no time for another attempt"), ({}, 1, 0.0, 3.0, "")])
def test_what_prevents_another_attempt_is_said(settings, attempt, elapsed, asked, why):
    policy = Retry(base=1.0, max_delay=10.0, jitter="none", **settings)

    delay, said = next_delay(policy, attempt, 0.0, elapsed, 0.0, asked)
    assert (why, asked if why == "" and asked else None) == (said, delay)
    assert delay == after(policy, attempt, 0.0, elapsed, 0.0, asked)


@pytest.mark.parametrize(("settings", "seconds"), [
    ({}, 20.0), ({"attempts": 5}, 40.0), ({"respect_retry_after": False, "jitter": "none"}, 1.0 + 2.0),
    ({"respect_retry_after": False, "attempts": 6}, 1.0 + 2.0 + 4.0 + 8.0 + 10.0),
    ({"respect_retry_after": False, "jitter": "equal"}, 1.0 + 2.0),
    ({"respect_retry_after": False, "jitter": "decorrelated"}, 3.0 + 9.0),
    ({"respect_retry_after": False, "jitter": "decorrelated", "base": 0.25, "busy_base": 0.25}, 0.75 + 2.25), ({"respect_retry_after": False, "attempts": 2}, 1.0)])
def test_the_longest_pauses_are_those_of_bad_luck_or_of_a_target_that_asks_for_them(settings, seconds):
    assert seconds == longest_pauses(Retry(**{"base": 1.0, "max_delay": 10.0, **settings}))


class Asks(Exception):
    """Has what it is made with for attributes."""

    def __init__(self, **attributes):
        vars(self).update(attributes)


class Hostile(Exception):
    """Has a property that raises."""

    @property
    def retry_after(self):
        raise ValueError


class Response:
    """An HTTP client's."""

    def __init__(self, headers):
        self.headers = headers


@pytest.mark.parametrize(("error", "seconds"), [
    (Asks(retry_after=5), 5.0), (Asks(retry_after="7"), 7.0), (Asks(retry_after=0), 0.0), (Asks(retry_after=-1), None),
    (Asks(retry_after=float("inf")), None), (Asks(retry_after=float("nan")), None), (Asks(), None), (Hostile(), None),
    (Asks(response=Response({"Retry-After": "120"})), 120.0), (Asks(response=Response({})), None),
    (Asks(response=Response(None)), None), (Asks(retry_after=None, response=Response({"Retry-After": "120"})), 120.0),
    (Asks(retry_after=3, response=Response({"Retry-After": "120"})), 3.0),
    (Asks(response=Response({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"})), None),
    (ExceptionGroup("many", [Asks(retry_after=3), Asks(), Asks(retry_after=5), Asks(retry_after=4)]), 5.0),
    (ExceptionGroup("many", [Asks(), Hostile()]), None)])
def test_how_long_an_exception_asks_to_wait(error, seconds):
    assert seconds == asked_for(error)


def test_what_is_wanted():
    policy = Retry(on=OSError, unless=FileNotFoundError)
    assert [True, False, False, False, False] == [repeats(policy, error) for error in (
        OSError(), FileNotFoundError(), ValueError(), KeyboardInterrupt(), BadRequestError())]
    assert not repeats(Retry(), RejectedError("k"))
    assert repeats(Retry(retry_rejections=True), RejectedError("k"))
    assert not repeats(Retry(retry_rejections=True), BadRequestError())


@over_seeds(40)
def test_the_budget_allows_what_a_plain_list_of_calls_says(seed):
    rng = random.Random(seed)
    config = RetryBudget(ratio=rng.choice([0.0, 0.1, 0.5, 1.0]), per_second=rng.choice([0.0, 0.3]), window=10.0)
    budget, now, calls, retries = Budget(config, 0.0), 0.0, [], []
    for _ in range(400):
        now += rng.choice([0.0, 0.0, 0.1, 0.7, 3.0])
        if rng.random() < 0.6:
            budget.deposit(now)
            calls.append(int(now))
            continue
        newest = int(now)
        known = [sum(at > newest - 10 for at in times) for times in (calls, retries)]
        allowed = known[1] + 1 <= config.ratio * known[0] + config.per_second * config.window
        assert allowed == budget.withdraw(now)
        if allowed:
            retries.append(newest)


def test_threads_never_withdraw_more_than_there_is():
    budget, granted = Budget(RetryBudget(ratio=0.1, per_second=0.0), 0.0), []

    def work():
        for _ in range(500):
            budget.deposit(1.0)
            if budget.withdraw(1.0):
                granted.append(1)

    hammer(work, threads=8)
    while budget.withdraw(1.0):
        granted.append(1)

    assert 400 == len(granted)


@pytest.mark.parametrize(("kind", "settings", "name"), [
    (Retry, dict(attempts=1), "attempts"), (Retry, dict(base=-1), "base"), (Retry, dict(base=11.0), "base"),
    (Retry, dict(factor=0.5), "factor"), (Retry, dict(max_delay=0), "max_delay"),
    (Retry, dict(jitter="some"), "jitter"), (Retry, dict(on=(BaseException,)), "on"),
    (Retry, dict(unless=3), "unless"), (Retry, dict(on_result=3), "on_result"),
    (Retry, dict(time_limit=0), "time_limit"), (Retry, dict(respect_retry_after=1), "respect_retry_after"),
    (Retry, dict(retry_rejections="no"), "retry_rejections"), (Retry, dict(budget=0.1), "budget"),
    (Retry, dict(tries=3), "tries"), (RetryBudget, dict(ratio=1.1), "ratio"),
    (RetryBudget, dict(per_second=-1), "per_second"), (RetryBudget, dict(window=0), "window")])
def test_nonsense_is_refused_by_name(kind, settings, name):
    with pytest.raises(ConfigError) as refused:
        kind(**settings)

    assert name == refused.value.option


def test_a_busy_target_has_a_longest_delay_of_its_own():
    policy = Retry(max_delay=10.0, busy_max_delay=20.0)
    assert (longest_delay(policy), longest_delay(policy, busy=True)) == (10.0, 20.0)
    assert longest_delay(Retry(max_delay=10.0), busy=True) == 10.0


@pytest.mark.parametrize(("settings", "timeout", "waits", "limit"), [
    ({"attempts": 4, "max_delay": 2.0}, None, 0.0, 46.0), ({"attempts": 3, "max_delay": 4.0}, 0.5, 1.5, 14.0),
    ({"attempts": 3, "max_delay": 2.0, "busy_max_delay": 20.0}, None, 0.0, 100.0),
    ({"attempts": 3, "max_delay": 20.0, "busy_max_delay": 2.0}, 1.0, 0.0, 43.0),
    ({"time_limit": 7.0}, 0.5, 3.0, 7.0)])
def test_all_attempts_and_delays_bound_a_retry_that_has_no_time_limit(settings, timeout, waits, limit):
    assert total_limit(Retry(**settings), timeout, waits) == limit


def test_an_attempt_of_which_nothing_is_said_does_not_wait_for_its_turn():
    policy = Retry(attempts=2, base=1.0, max_delay=1.0, jitter="none")
    assert total_limit(policy, 1.0) == 3.0
    assert next_delay(policy, 1, 0.0, 2.0, 0.5, timeout=1.0) == (1.0, "")
    assert next_delay(policy, 1, 0.0, 2.5, 0.5, timeout=1.0)[0] is None


@pytest.mark.parametrize(("respects", "seconds"), [(True, 40.0), (False, 12.0)])
def test_the_longest_pauses_may_be_those_of_a_busy_target(respects, seconds):
    policy = Retry(attempts=3, base=1.0, factor=2.0, max_delay=10.0, jitter="none", busy_base=4.0, busy_max_delay=20.0,
                   respect_retry_after=respects)
    assert longest_pauses(policy) == seconds
    quick = Retry(attempts=3, base=4.0, factor=2.0, jitter="none", busy_base=1.0, respect_retry_after=False)
    assert longest_pauses(quick) == 12.0


@pytest.mark.parametrize(("settings", "busy", "name"), [
    ({}, True, "max_delay (10 s)"), ({"busy_max_delay": 20.0}, False, "max_delay (10 s)"),
    ({"busy_max_delay": 20.0}, True, "busy_max_delay (20 s)")])
def test_a_wait_that_is_too_long_is_told_with_the_setting_that_bounds_it(settings, busy, name):
    delay, why = next_delay(Retry(max_delay=10.0, **settings), 1, 0.0, 0.0, 0.5, 30.0, busy=busy)
    assert delay is None
    assert f"longer than {name}" in why


@pytest.mark.parametrize(("price", "times"), [(1.0, 10), (2.0, 5), (0.5, 20), (0.1013, 100)])
def test_a_retry_takes_its_price_out_of_the_budget(price, times):
    budget = Budget(RetryBudget(ratio=0.0, per_second=1.0, window=10.0), 0.0)
    assert [True] * times + [False] == [budget.withdraw(0.0, price) for _ in range(times + 1)]


@pytest.mark.parametrize(("hold", "hold_bytes", "most"), [(0, 0, 0), (3, 0, 3), (0, 50, 50), (3, 50, 3), (50, 3, 3), (1, 0, 1)])
def test_how_many_first_items_may_be_held_back(hold, hold_bytes, most):
    assert most == most_held(Retry(hold=hold, hold_bytes=hold_bytes))


@pytest.mark.parametrize(("hold", "hold_bytes", "items", "size", "enough"), [
    (0, 0, 0, 0, True), (0, 0, 1, 9, True), (3, 0, 2, 99, False), (3, 0, 3, 0, True), (3, 0, 4, 0, True), (0, 50, 9, 49, False),
    (0, 50, 0, 50, True), (0, 50, 0, 51, True), (3, 50, 2, 49, False), (3, 50, 3, 0, True), (3, 50, 0, 50, True),
    (1, 0, 0, 0, False), (0, 1, 0, 0, False), (1, 1, 0, 0, False), (1, 0, 1, 0, True), (0, 1, 0, 1, True), (1, 2, 1, 0, True),
    (2, 1, 0, 1, True)])
def test_when_first_items_are_passed_on(hold, hold_bytes, items, size, enough):
    assert enough is has_held_enough(Retry(hold=hold, hold_bytes=hold_bytes), items, size)
