"""An interrupt between the end of a failed call and its count came out as UnboundLocalError: nothing had named it yet."""

import pytest

from resilience import CircuitBreaker, Fallback, Pipeline, RateLimit, ResilienceError, Retry, Throttle
from tests.interrupts import interrupted

CHAINS = {
    "breaker": (CircuitBreaker(),),
    "breaker, fallback": (Fallback(str), CircuitBreaker()),
    "fallback": (Fallback(str),),
    "retry": (Retry(attempts=2, base=0.0),),
    "throttle": (Throttle(),),
    "rate": (RateLimit(1000000),),
}


@pytest.mark.parametrize("ends_well", [True, False])
@pytest.mark.parametrize("chain", CHAINS)
def test_an_interrupt_stays_one_wherever_it_falls(registry, chain, ends_well):
    @Pipeline(*CHAINS[chain], registry=registry)
    def fn():
        if not ends_well:
            raise OSError

    def work():
        try:
            fn()
        except (OSError, ResilienceError):
            pass

    points = 0
    for points in interrupted(work):  # noqa: B007 - counted
        pass
    assert points > 3
