"""The rate limit beside a plain model that keeps every call, and what must hold of any limit."""

import random
import tracemalloc

import pytest

from resilience.core.rate_limit import RateLimit, RateLimiter
from resilience.errors import ConfigError, RateLimitedError
from tests.core.hammer import hammer


class Model:
    """Bookings, one after another: each is [asked, turn or None]."""

    def __init__(self, config, now):
        self.config, self.bookings, self.origin = config, [], now

    def until(self, bookings):
        end = self.origin
        for asked, _ in bookings:
            end = max(end, asked) + self.config.spacing
        return end

    def reserve(self, now):
        start = max(self.until(self.bookings), now)
        wait = start - self.config.ahead - now
        if wait > self.config.max_wait:
            return "refused", wait - self.config.max_wait
        self.bookings.append([now, None if wait <= 0 else now + wait])
        return ("now", None) if wait <= 0 else ("turn", self.bookings[-1])

    def withdraw(self, booking, now):
        if booking[1] <= now:
            return
        i = next(i for i, each in enumerate(self.bookings) if each is booking)
        before, behind = self.bookings[:i], self.bookings[i + 1 :]
        self.bookings = before
        for each in behind:
            start = max(self.until(self.bookings), now)
            each[0], each[1] = now, min(each[1], start - self.config.ahead)
            self.bookings.append(each)


@pytest.mark.parametrize("seed", range(150))
def test_any_history_goes_as_the_plain_model_says(seed):
    rng = random.Random(seed)
    config = RateLimit(rng.choice([1, 2, 4, 8]), per=rng.choice([1.0, 4.0]), burst=rng.choice([None, 1, 3]),
                       max_wait=rng.choice([0.0, 1.0, 8.0, 64.0]))
    now, line = 16.0, []
    limiter, plain = RateLimiter(config, key="k", now=now), Model(config, now)
    for _ in range(120):
        now += rng.choice([0, 0, 1, 2, rng.randrange(20), rng.randrange(200)]) / 16
        if line and rng.random() < 0.25:
            turn, booking = line.pop(rng.randrange(len(line)))
            limiter.withdraw(turn, now)
            plain.withdraw(booking, now)
        else:
            what, value = plain.reserve(now)
            try:
                turn = limiter.reserve(now)
            except RateLimitedError as error:
                assert ("refused", pytest.approx(value)) == (what, error.retry_after)
            else:
                assert what == ("now" if turn is None else "turn")
                if turn is not None:
                    line.append((turn, value))
        for turn, booking in line:
            if booking[1] > now or turn.at > now:
                assert booking[1] == pytest.approx(turn.at)


@pytest.mark.parametrize("seed", range(40))
def test_no_stretch_of_time_sees_more_than_the_limit_and_turns_are_in_order(seed):
    rng = random.Random(seed)
    config = RateLimit(4, per=1.0, burst=rng.choice([1, 2, 4]), max_wait=3.0)
    limiter, now, begun, line = RateLimiter(config, key="k", now=0.0), 0.0, [], []
    for _ in range(400):
        now += rng.expovariate(6.0)
        begun += [turn.at for turn in line if turn.at <= now]
        line = [turn for turn in line if turn.at > now]
        if line and rng.random() < 0.2:
            limiter.withdraw(line.pop(rng.randrange(len(line))), now)
        else:
            try:
                turn = limiter.reserve(now)
            except RateLimitedError:
                continue
            if turn is None:
                begun.append(now)
            else:
                line.append(turn)
        assert sorted(turn.at for turn in line) == [turn.at for turn in line]
    begun.sort()
    burst = config.burst
    for i in range(len(begun)):
        for n in (1, burst, burst + 1, 10, 50):
            if i + n < len(begun):  # n + 1 calls
                stretch = begun[i + n] - begun[i]
                assert n + 1 <= burst + stretch * 4 + 1e-6


def test_a_busy_limit_admits_as_many_as_it_says():
    limiter, begun = RateLimiter(RateLimit(50, per=1.0), key="k", now=0.0), 0
    for n in range(100_000):  # 10 s, a thousand times the limit
        try:
            limiter.reserve(n / 10_000)
        except RateLimitedError:
            continue
        begun += 1
    assert 50 + 10 * 50 - 1 == begun


def test_who_gives_up_in_the_middle_lets_those_behind_move_up_and_wakes_them():
    limiter = RateLimiter(RateLimit(1, per=1.0, max_wait=10.0), key="k", now=0.0)
    assert limiter.reserve(0.0) is None
    turns, woken = [limiter.reserve(0.0) for _ in range(4)], []
    for n, turn in enumerate(turns):
        turn.wake = lambda n=n: woken.append(n)
    assert [1.0, 2.0, 3.0, 4.0] == [turn.at for turn in turns]
    limiter.withdraw(turns[1], 0.5)
    assert ([1.0, 2.0, 3.0], [2, 3]) == ([turn.at for turn in turns if turn is not turns[1]], woken)
    assert 4.0 == limiter.reserve(0.5).at
    limiter.withdraw(turns[1], 0.5)  # twice is once
    limiter.withdraw(turns[0], 1.5)  # it has come, and is spent
    assert [2.0, 3.0] == [turns[2].at, turns[3].at]


def test_each_key_has_its_own_pace_and_a_hundred_thousand_leave_memory_flat():
    limiter = RateLimiter(RateLimit(1, per=1.0, by=lambda user: user, max_keys=1000), key="k", now=0.0)
    assert [None, None] == [limiter.reserve(0.0, ("ann",)), limiter.reserve(0.0, ("bob",))]
    with pytest.raises(RateLimitedError):
        limiter.reserve(0.5, ("ann",))
    tracemalloc.start()
    for n in range(2000):
        limiter.reserve(10.0 + n, (n,))
    before = tracemalloc.get_traced_memory()[0]
    for n in range(2000, 100_000):
        limiter.reserve(10.0 + n, (n,))
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert 1000 == limiter.keys
    assert grown < 50_000


def test_no_flood_of_keys_buys_one_that_owes_a_fresh_burst():
    limiter = RateLimiter(RateLimit(1, per=100.0, by=lambda user: user, max_keys=10), key="k", now=0.0)
    limiter.reserve(0.0, ("ann",))
    admitted = 0
    for n in range(5000):
        try:
            limiter.reserve(0.001 * n, (f"made up {n}",))
        except RateLimitedError:
            continue
        admitted += 1
    assert 9 + 1 == admitted  # the places there were, and the one that all others share
    with pytest.raises(RateLimitedError):
        limiter.reserve(50.0, ("ann",))
    assert limiter.reserve(100.0, ("ann",)) is None


def test_a_key_that_cannot_be_hashed_is_a_type_error():
    limiter = RateLimiter(RateLimit(1, by=lambda x: [x]), key="k", now=0.0)
    with pytest.raises(TypeError, match="unhashable"):
        limiter.reserve(0.0, (1,))


def test_a_live_change_keeps_what_is_booked():
    limiter = RateLimiter(RateLimit(2, per=10.0), key="k", now=0.0)
    limiter.reserve(0.0)
    limiter.reserve(0.0)
    limiter.configure(RateLimit(1000, per=10.0, burst=1), 0.0)
    with pytest.raises(RateLimitedError) as caught:
        limiter.reserve(0.0)
    assert 10.0 == caught.value.retry_after
    assert limiter.reserve(10.0) is None


def test_fewer_keys_are_forgotten_as_far_as_they_are_idle():
    limiter = RateLimiter(RateLimit(1, per=1.0, by=lambda x: x, max_keys=8), key="k", now=0.0)
    for n in range(8):
        limiter.reserve(float(n) / 4, (n,))
    limiter.configure(RateLimit(1, per=1.0, by=lambda x: x, max_keys=2), 2.0)
    assert 3 == limiter.keys


def test_a_clock_that_steps_back_gives_nothing_away():
    limiter = RateLimiter(RateLimit(1, per=1.0), key="k", now=10.0)
    limiter.reserve(10.0)
    with pytest.raises(RateLimitedError) as caught:
        limiter.reserve(5.0)
    assert 6.0 == caught.value.retry_after


def test_threads_together_get_no_more_than_one_would():
    limiter, begun = RateLimiter(RateLimit(1000, per=1000.0), key="k", now=0.0), []

    def work():
        for _ in range(1000):
            try:
                limiter.reserve(0.0)
            except RateLimitedError:
                continue
            begun.append(1)

    hammer(work, threads=8)
    assert 1000 == len(begun)


@pytest.mark.parametrize(("settings", "words"), [
    ({"calls": 0}, "calls must be a whole number at least 1"), ({"calls": 1.5}, "calls must be"),
    ({"calls": 1, "per": 0}, "per must be"), ({"calls": 1, "burst": 0}, "burst must be"),
    ({"calls": 1, "max_wait": -1}, "max_wait must be"), ({"calls": 1, "by": 3}, "by must be callable"),
    ({"calls": 1, "max_keys": 0}, "max_keys must be"), ({"calls": 1, "burts": 2}, "did you mean burst"),
])
def test_what_makes_no_sense_is_refused_by_name(settings, words):
    with pytest.raises(ConfigError, match=words):
        RateLimit(**settings)
