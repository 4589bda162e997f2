"""A rate limit by cost beside a plain bucket that is filled drop by drop, and what must hold of it."""

import random
import sys

import attrs
import pytest

from resilience.core.callbacks import GIVE_PLAIN
from resilience.core.outcome import BUSY, CANCELLED, FAILURE, IGNORED, REJECTED, SUCCESS, TIMEOUT
from resilience.core.rate_cost import units
from resilience.core.rate_limit import RateLimit, has_cost, is_written_out
from resilience.core.rate_limiter import RateLimiter
from resilience.engine.cost_account import CostAccount
from resilience.errors import ConfigError, RateLimitedError
from tests.core.hammer import hammer


class Bucket:
    """So many units that flow in steadily, and a list of those who wait for some, in the plainest words."""

    def __init__(self, config, now):
        self.config, self.now, self.line = config, now, []
        self.left = float(config.burst or config.calls)
        self.begun = {}

    @property
    def burst(self):
        return self.config.burst or self.config.calls

    @property
    def per_s(self):
        return self.config.calls / self.config.per

    def first_at(self):
        need = min(self.line[0][1], self.burst)
        return self.now + max(0.0, (need - self.left) / self.per_s)

    def fill(self, until):
        self.left = min(self.burst, self.left + (until - self.now) * self.per_s)
        self.now = until

    def advance(self, now):
        while self.line and self.first_at() <= now + 1e-9:
            self.fill(max(self.now, self.first_at()))
            who, units, _ = self.line.pop(0)
            self.left -= units
            self.begun[who] = self.now
        self.fill(now)

    def ask(self, who, units, now):
        """For how long to wait, as things stand."""
        self.advance(now)
        ahead = sum(units for _, units, _ in self.line)
        wait = max(0.0, (min(units, self.burst) - (self.left - ahead)) / self.per_s)
        if self.line or wait > 0:
            if wait > self.config.max_wait:
                return None
            self.line.append((who, units, now))
        else:
            self.left -= units
        return wait

    def correct(self, units, now):
        self.advance(now)
        self.left = min(float(self.burst), self.left - units)
        self.advance(now)


def account(limit, now=0.0):
    return CostAccount(RateLimiter(limit, key="k", now=now), key="k")


@pytest.mark.parametrize("seed", range(4))
def test_random_histories_agree_with_a_plain_bucket(seed):
    for history in range(100):
        dice = random.Random(f"{seed} {history}")
        config = RateLimit(dice.choice([4, 64]), per=8.0, burst=dice.choice([None, 1, 16]), cost=lambda units: units,
                           true_cost=float, max_wait=dice.choice([0.0, 10_000.0]))
        costs, bucket, now = account(config), Bucket(config, 0.0), 0.0
        running, waiting = [], {}
        for step in range(60):
            now += dice.choice([0.0, 0.125, 1.0, 16.0])
            units = dice.choice([0, 1, 2, 8, 100])
            act = dice.random()
            if act < 0.6:
                expected = bucket.ask(step, units, now)
                if expected is None:
                    with pytest.raises(RateLimitedError):
                        costs.book(now, (units,), {})
                    continue
                booking = costs.book(now, (units,), {})
                assert (booking.turn is not None) == (expected > 1e-9)
                if booking.turn is None:
                    running.append(booking)
                else:
                    waiting[step] = booking
                    assert booking.turn.at == pytest.approx(now + expected, abs=1e-6)
            elif running:
                booking, true = running.pop(dice.randrange(len(running))), dice.choice([0, 1, 4, 200])
                bucket.correct(true - booking.units, now)
                costs.charge(booking, SUCCESS, true, now)
            bucket.advance(now)
            for who in list(waiting):
                if costs.limiter.look(waiting[who].turn, now) == 0.0:
                    assert who in bucket.begun
                    running.append(waiting.pop(who))
                else:
                    assert who not in bucket.begun
        assert len(waiting) == len(bucket.line)


def test_what_was_booked_too_much_is_given_back():
    costs = account(RateLimit(100, per=100.0, cost=100, true_cost=float))
    booking = costs.book(0.0, (), {})
    with pytest.raises(RateLimitedError):
        costs.book(0.0, (), {})
    costs.charge(booking, SUCCESS, 10, 0.0)
    costs.limiter.configure(RateLimit(100, per=100.0, cost=90, true_cost=float), 0.0)
    assert costs.book(0.0, (), {}).turn is None


def test_what_was_booked_too_little_is_owed_by_the_next_calls():
    costs = account(RateLimit(100, per=100.0, cost=10, true_cost=float))
    costs.charge(costs.book(0.0, (), {}), SUCCESS, 250, 0.0)
    with pytest.raises(RateLimitedError) as refused:
        costs.book(0.0, (), {})
    assert refused.value.retry_after == pytest.approx(160.0)
    assert costs.book(160.0, (), {}).turn is None


@pytest.mark.parametrize(("outcome", "left"), [(REJECTED, True), (BUSY, True), (FAILURE, False), (TIMEOUT, False),
                                               (IGNORED, False), (CANCELLED, False)])
def test_a_call_that_did_not_reach_its_target_spent_nothing_and_of_others_that_failed_the_estimate_stands(outcome, left):
    costs = account(RateLimit(10, per=10.0, cost=10, true_cost=float))
    costs.charge(costs.book(0.0, (), {}), outcome, None, 0.0)
    if left:
        assert costs.book(0.0, (), {}).turn is None
    else:
        with pytest.raises(RateLimitedError):
            costs.book(0.0, (), {})


def test_a_call_that_costs_more_than_the_burst_begins_when_nothing_is_owed_and_pays_afterwards():
    costs = account(RateLimit(10, per=10.0, cost=lambda units: units, max_wait=100.0))
    assert costs.book(0.0, (25,), {}).turn is None
    assert costs.book(0.0, (1,), {}).turn.at == pytest.approx(16.0)


def test_a_refund_lets_those_who_wait_go_at_once_and_wakes_them():
    costs, woken = account(RateLimit(10, per=10.0, cost=10, true_cost=float, max_wait=100.0)), []
    running, waiting = costs.book(0.0, (), {}), costs.book(0.0, (), {})
    waiting.turn.wake = lambda: woken.append(1)
    costs.charge(running, SUCCESS, 0, 1.0)
    assert ([1], 0.0) == (woken, costs.limiter.look(waiting.turn, 1.0))


def test_a_debt_moves_those_who_wait_and_refuses_whoever_would_wait_longer_than_max_wait():
    costs = account(RateLimit(10, per=10.0, cost=10, true_cost=float, max_wait=25.0))
    running, first, second = (costs.book(0.0, (), {}) for _ in range(3))
    costs.charge(running, SUCCESS, 20, 5.0)
    assert costs.limiter.look(first.turn, 10.0) == pytest.approx(10.0)
    assert costs.limiter.look(first.turn, 20.0) == 0.0
    with pytest.raises(RateLimitedError):  # its turn would come at 30 s
        costs.limiter.look(second.turn, 20.0)
    assert costs.book(20.0, (), {}).turn.at == pytest.approx(30.0)


def test_nobody_waits_longer_than_max_wait_whatever_the_debt_is_and_wherever_in_the_line():
    costs = account(RateLimit(10, per=10.0, cost=10, true_cost=float, max_wait=25.0))
    running, first, second = (costs.book(0.0, (), {}) for _ in range(3))
    costs.charge(running, SUCCESS, 1000, 5.0)
    for now in (20.0, 25.0):
        assert 0 < costs.limiter.look(second.turn, now) < 6.0
    with pytest.raises(RateLimitedError):
        costs.limiter.look(second.turn, 25.00001)
    with pytest.raises(RateLimitedError):
        costs.limiter.look(first.turn, 25.00001)


def test_a_caller_that_gave_up_gives_its_units_back_once():
    costs = account(RateLimit(10, per=10.0, cost=10, max_wait=100.0))
    costs.book(0.0, (), {})
    waiting = costs.book(0.0, (), {})
    costs.limiter.withdraw(waiting.turn, 1.0)
    costs.refund(waiting, 1.0)
    costs.refund(waiting, 1.0)
    assert costs.book(1.0, (), {}).turn.at == pytest.approx(10.0)


def test_a_turn_that_came_as_its_caller_was_cancelled_is_given_back():
    costs = account(RateLimit(10, per=10.0, cost=10, max_wait=100.0))
    costs.book(0.0, (), {})
    waiting = costs.book(0.0, (), {})
    assert costs.limiter.look(waiting.turn, 10.0) == 0.0
    costs.limiter.withdraw(waiting.turn, 10.0)
    costs.refund(waiting, 10.0)
    assert costs.book(10.0, (), {}).turn is None


def test_each_key_pays_for_itself_and_a_debt_finds_a_key_that_was_forgotten_meanwhile():
    costs = account(RateLimit(10, per=10.0, by=lambda tenant: tenant, cost=10, true_cost=float, max_keys=1))
    red = costs.book(0.0, ("red",), {})
    assert costs.book(20.0, ("blue",), {}).turn is None  # red owed nothing any more, and made room
    costs.limiter.clear(20.0)
    assert costs.book(20.0, ("blue",), {}).turn is None
    costs.charge(red, SUCCESS, 500, 20.0)  # what was booked before clear() is forgotten
    late = costs.book(40.0, ("red",), {})
    assert costs.book(60.0, ("blue",), {}).turn is None
    assert costs.book(80.0, ("green",), {}).turn is None
    costs.charge(late, SUCCESS, 40, 100.0)
    with pytest.raises(RateLimitedError):
        costs.book(100.0, ("red",), {})


@pytest.mark.parametrize("forget", ["clear", "renew"])
def test_what_was_booked_before_all_was_forgotten_is_not_corrected(forget):
    costs = account(RateLimit(10, per=10.0, cost=10, true_cost=float))
    booking = costs.book(0.0, (), {})
    getattr(costs.limiter, forget)(0.0)
    costs.charge(booking, SUCCESS, 500, 0.0)
    assert costs.book(0.0, (), {}).turn is None


def test_a_call_that_began_before_there_were_keys_makes_none():
    config = RateLimit(10, per=10.0, cost=1, true_cost=float)
    costs = account(config)
    booking = costs.book(0.0, (), {})
    costs.limiter.configure(attrs.evolve(config, by=lambda tenant: tenant), 0.0)
    costs.charge(booking, SUCCESS, 5, 0.0)
    assert costs.limiter.keys == 0


def test_a_debt_of_half_a_unit_finds_a_key_that_was_forgotten_and_a_refund_does_not():
    costs = account(RateLimit(1, per=10.0, by=lambda tenant: tenant, cost=1, true_cost=float, max_keys=1))
    red = costs.book(0.0, ("red",), {})
    blue = costs.book(20.0, ("blue",), {})
    costs.charge(red, SUCCESS, 1.5, 30.0)
    with pytest.raises(RateLimitedError) as refused:
        costs.book(30.0, ("red",), {})
    assert refused.value.retry_after == pytest.approx(5.0)
    costs.charge(blue, SUCCESS, 0.0, 30.0)
    with pytest.raises(RateLimitedError):
        costs.book(30.0, ("red",), {})


def test_what_a_call_took_counts_under_the_limit_that_is_in_force_though_its_key_was_not_looked_at_since():
    config = RateLimit(10, per=10.0, by=lambda tenant: tenant, cost=10, true_cost=float)
    costs = account(config)
    for number in range(8):
        costs.book(0.0, (number,), {})
    red = costs.book(0.0, ("red",), {})
    costs.limiter.configure(attrs.evolve(config, calls=20, burst=10), 0.0)
    costs.charge(red, SUCCESS, 20, 0.0)  # ten units more, of half a second each
    with pytest.raises(RateLimitedError) as refused:
        costs.book(0.0, ("red",), {})
    assert refused.value.retry_after == pytest.approx(10.0)


def test_in_shadow_mode_a_call_that_would_have_waited_books_what_it_costs():
    costs = account(RateLimit(10, per=20.0, cost=10, max_wait=100.0))
    costs.limiter.shadow = lambda: None
    assert [None, None] == [costs.book(0.0, (), {}).turn for _ in range(2)]
    costs.limiter.shadow = None
    assert costs.book(0.0, (), {}).turn.at == pytest.approx(40.0)


def test_whoever_comes_behind_one_that_is_refused_for_a_debt_goes_at_once_if_its_turn_has_come():
    costs, woken = account(RateLimit(10, per=10.0, cost=lambda units: units, true_cost=float, max_wait=25.0)), []
    running, first, second = (costs.book(0.0, (units,), {}) for units in (10, 10, 1))
    second.turn.wake = lambda: woken.append(second)
    costs.charge(running, SUCCESS, 30, 5.0)
    with pytest.raises(RateLimitedError):
        costs.limiter.look(first.turn, 21.0)
    assert [second] == woken


def test_a_live_change_keeps_what_is_owed_beyond_the_burst():
    config = RateLimit(10, per=10.0, cost=10, true_cost=float)
    costs = account(config)
    costs.charge(costs.book(0.0, (), {}), SUCCESS, 40, 0.0)
    costs.limiter.configure(attrs.evolve(config, calls=20, burst=10), 0.0)
    with pytest.raises(RateLimitedError) as refused:
        costs.book(0.0, (), {})
    assert refused.value.retry_after == pytest.approx(20.0)


def test_a_true_cost_that_raises_is_logged_once_and_the_estimate_stands(caplog):
    costs = account(RateLimit(10, per=10.0, cost=5, true_cost=lambda result: result["usage"]))
    for result in ({}, {"usage": -1}):
        costs.charge(costs.book(0.0, (), {}), SUCCESS, result, 0.0)
    with pytest.raises(RateLimitedError):
        costs.book(0.0, (), {})
    assert ["k: true_cost raised KeyError('usage'); the estimate stands, and such a mistake is not logged again"] == [
        record.message for record in caplog.records]


@pytest.mark.parametrize("said", ["10", None, -1, float("inf"), float("nan"), True])
def test_a_cost_that_is_no_number_of_units_is_the_callers_mistake(said):
    with pytest.raises(TypeError, match=r"k: cost must return a number of units, 0 or more, not "):
        account(RateLimit(10, cost=lambda: said)).book(0.0, (), {})


def test_the_greatest_number_of_units_is_the_greatest_float():
    assert units(sys.float_info.max, "cost", "k") == sys.float_info.max
    assert units(10 ** 300, "cost", "k") == 1e300
    with pytest.raises(TypeError, match=r"^k: cost must return a number of units"):
        units(10 ** 400, "cost", "k")


@pytest.mark.parametrize("said", ["10", None, -1, float("nan"), True])
def test_a_cost_is_a_number_or_callable(said):
    with pytest.raises(ConfigError, match=r"cost must be callable, or a number at least 0 and at most 1000000000, not "):
        RateLimit(10, cost=said)


@pytest.mark.parametrize(("settings", "with_cost"), [
    ({}, False), ({"cost": 1.0}, False), ({"cost": 2}, True), ({"cost": 0}, True), ({"cost": len}, True), ({"true_cost": len}, True)])
def test_calls_of_a_limit_have_a_cost_if_they_do_not_all_cost_one(settings, with_cost):
    limit = RateLimit(10, **settings)
    assert (has_cost(limit), is_written_out(limit)) == (with_cost, not with_cost)


def test_limits_with_the_same_cost_are_equal():
    assert RateLimit(10, cost=5000.0) == RateLimit(10, cost=float("5000"))
    assert RateLimit(10, cost=len) == RateLimit(10, cost=len) != RateLimit(10, cost=max)


def test_threads_that_book_and_settle_at_once_lose_no_unit():
    config = RateLimit(1000, per=1e4, cost=7, true_cost=float)
    costs = account(config)

    def work():
        for step in range(200):
            try:
                booking = costs.book(0.0, (), {})
            except RateLimitedError:
                continue
            costs.charge(booking, SUCCESS, step % 3, 0.0)

    hammer(work, threads=8)
    spent = costs.limiter.pace.tat / (config.per / config.calls)
    assert spent == pytest.approx(round(spent), abs=1e-3)
    assert 0 < spent <= 1600 * 2


def test_what_a_cost_may_be_is_kept_and_told_by_what_it_is():
    class Units(float):
        """As numpy's are."""

    async def later(text):
        return 1.0

    check = attrs.fields(RateLimit).cost.validator
    assert len is check.kept(len)
    assert float is type(check.kept(Units(2.0)))
    assert GIVE_PLAIN == check.hint(later)
    assert "" == check.hint(-1)
