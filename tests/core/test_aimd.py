"""AIMD on the rate: against a plain oracle, in a rate limit, and against a target that bears less than the limit says."""

import random

import pytest

from resilience import ConfigError, RateLimit, RateLimitedError, command, http_status
from resilience.core import aimd
from resilience.core.aimd import AimdShare
from resilience.core.outcome import BUSY, FAILURE, SUCCESS
from resilience.core.rate_limiter import RateLimiter
from tests.seeds import over_seeds


@over_seeds(100)
def test_the_share_is_that_of_a_plain_oracle(seed):
    rng, machine, now = random.Random(seed), AimdShare(), 0.0
    share, changed = 1.0, -1e9
    for _ in range(300):
        now += rng.choice((0.01, 0.3, 1.0, 3.0))
        started = now - rng.choice((0.0, 0.5, 2.0))
        if rng.random() < 0.3:
            if started >= changed and share > 0.01:
                share, changed = max(0.01, share * 0.7), now
            machine.busy(started, now)
        else:
            if share < 1 and now >= changed + 1:
                share, changed = min(1.0, share + 0.05), now
            machine.good(now)
        assert share == machine.share


def test_a_share_falls_by_a_factor_grows_by_steps_and_says_whether_it_did():
    assert (0.7, 0.05, 1.0, 0.01) == (aimd.DECREASE, aimd.INCREASE, aimd.STEP_S, aimd.FLOOR)
    share = AimdShare()
    assert (True, 0.7) == (share.busy(0.0, 0.0), share.share)
    assert False is share.busy(-0.1, 0.5)
    assert False is share.good(0.9)
    assert (True, 0.75) == (share.good(1.0), share.share)
    for second in range(1, 100):
        share.busy(second, second)
    assert (False, 0.01) == (share.busy(100.0, 100.0), share.share)
    share.clear()
    assert (True, 0.7) == (share.busy(0.0, 0.0), share.share)
    share.clear()
    assert False is share.good(1e9)


def passed(limiter, start, seconds, step=0.01):
    """How many calls a limiter admits from *start* on if one asks at each *step*."""
    n = 0
    for i in range(int(seconds / step)):
        try:
            limiter.reserve(start + i * step)
        except RateLimitedError:
            continue
        n += 1
    return n


def test_a_busy_target_lowers_the_rate_once_for_all_calls_under_way_and_good_calls_raise_it_again():
    limiter = RateLimiter(RateLimit(10, per=1.0, burst=1, adaptive=True), key="k", now=0.0)
    for _ in range(5):
        limiter.settle(BUSY, 0.0, 1.0)
    assert 0.7 == limiter.share
    assert 70 == pytest.approx(passed(limiter, 2.0, 10.0, 0.001), abs=1)
    limiter.settle(FAILURE, 20.0, 20.0)
    assert 0.7 == limiter.share
    for second in range(20, 27):
        for _ in range(10):
            limiter.settle(SUCCESS, second, second)
    assert 1.0 == limiter.share
    assert 100 == pytest.approx(passed(limiter, 30.0, 10.0, 0.001), abs=1)


def test_what_an_operator_says_counts_beside_what_was_learnt():
    limiter = RateLimiter(RateLimit(10, adaptive=True, burst=1), key="k", now=0.0)
    limiter.settle(BUSY, 0.0, 0.0)
    limiter.configure(RateLimit(100, adaptive=True, burst=1), 1.0)
    assert 70 == pytest.approx(passed(limiter, 2.0, 1.0, 0.0001), abs=1)
    limiter.configure(RateLimit(100, burst=1), 5.0)
    assert 100 == pytest.approx(passed(limiter, 6.0, 1.0, 0.0001), abs=1)


@pytest.mark.parametrize(("burst", "at_once"), [(10, 7), (9, 6), (2, 1), (1, 1)])
def test_a_burst_shrinks_with_the_share_to_one_call_at_the_least(burst, at_once):
    limiter = RateLimiter(RateLimit(10, per=1.0, burst=burst, adaptive=True), key="k", now=0.0)
    limiter.settle(BUSY, 0.0, 0.0)
    assert at_once == sum(ask(limiter, 100.0) for _ in range(20))


def test_whoever_waits_for_a_lowered_rate_waits_one_of_its_longer_intervals():
    limiter = RateLimiter(RateLimit(10, per=1.0, burst=1, max_wait=10.0, adaptive=True), key="k", now=0.0)
    limiter.settle(BUSY, 0.0, 0.0)
    assert limiter.reserve(100.0) is None
    assert [100.0 + 1 / 7, 100.0 + 2 / 7] == pytest.approx([limiter.reserve(100.0).at for _ in range(2)])


def test_a_call_that_was_begun_counts_as_one_when_the_rate_falls_again():
    limiter = RateLimiter(RateLimit(10, per=1.0, burst=1, max_wait=10.0, adaptive=True), key="k", now=0.0)
    limiter.settle(BUSY, 0.0, 0.0)
    assert limiter.reserve(100.0) is None
    limiter.settle(BUSY, 100.0, 100.0)
    assert 100.0 + 1 / 4.9 == pytest.approx(limiter.reserve(100.0).at)


def ask(limiter, now):
    try:
        return limiter.reserve(now) is None
    except RateLimitedError:
        return False


@pytest.mark.parametrize("forget", ["clear", "renew"])
def test_what_was_learnt_is_forgotten_with_the_rest(forget):
    limiter = RateLimiter(RateLimit(10, adaptive=True, burst=1), key="k", now=0.0)
    limiter.settle(BUSY, 0.0, 0.0)
    getattr(limiter, forget)(1.0)
    assert 1.0 == limiter.share
    assert 100 == pytest.approx(passed(limiter, 2.0, 10.0, 0.001), abs=1)


@pytest.mark.parametrize("bears", [20, 50, 80])
def test_the_rate_finds_what_the_target_bears(registry, clock, bears):
    class Answer:
        def __init__(self, status_code):
            self.status_code = status_code

    tokens, last, answers = [bears], [clock()], []

    @command(key="k", registry=registry, timeout=None, max_concurrent=None, failures=http_status(),
             rate_limit=RateLimit(100, per=1.0, burst=1, adaptive=True))
    def call():
        tokens[0] = min(bears, tokens[0] + (clock() - last[0]) * bears)
        last[0] = clock()
        if tokens[0] < 1:
            return Answer(429)
        tokens[0] -= 1
        return Answer(200)

    for i in range(30_000):  # five minutes, a call each 10 ms
        clock.advance(0.01)
        try:
            answers.append((i, call().status_code))
        except RateLimitedError:
            pass
    late = [status for i, status in answers if i > 10_000]
    assert late.count(200) / 200 >= 0.7 * bears
    assert late.count(429) <= 0.15 * len(late)
    assert 0 < registry["k"].snapshot().gauges["rate_limit.share"] < 1


def test_a_limit_that_does_not_hear_how_calls_end_cannot_become_adaptive(registry):
    call = command(key="k", registry=registry, timeout=None, rate_limit=RateLimit(10))(lambda: 1)
    with pytest.raises(ConfigError, match=r"declare it with RateLimit\(10, adaptive=True\)"):
        call.resilience.configure(rate_limit=RateLimit(10, adaptive=True))
