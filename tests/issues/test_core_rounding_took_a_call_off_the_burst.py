"""The spacings of a whole burst add up to a little more than their product: of 20 calls in 64 s only 19 passed at once."""

import pytest

from resilience import RateLimit, RateLimitedError, Registry, rate_limit
from resilience.core.rate_limiter import RateLimiter
from resilience.testing import ManualClock

LIMITS = [(20, 64.0), (3, 0.7), (1000, 1.0), (7, 86_400.0), (100_000, 3600.0)]


@pytest.mark.parametrize(("calls", "per"), LIMITS)
def test_no_rounding_takes_a_call_off_the_burst(calls, per):
    for start in (0.0, 1000.0):
        limiter = RateLimiter(RateLimit(calls, per=per), key="k", now=start)
        assert [None] * calls == [limiter.reserve(start) for _ in range(calls)]
        with pytest.raises(RateLimitedError):
            limiter.reserve(start)


@pytest.mark.parametrize(("calls", "per"), LIMITS[:3])
@pytest.mark.parametrize("by", [None, lambda: "everybody"])
def test_nor_does_it_in_a_wrapper(calls, per, by):
    @rate_limit(calls, per=per, by=by, registry=Registry(clock=ManualClock()))
    def work():
        return 7

    assert [7] * calls == [work() for _ in range(calls)]
    with pytest.raises(RateLimitedError):
        work()
