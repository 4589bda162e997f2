"""A policy in the wrong place was refused with the reason why chaos stands last, if the two had none of their own: a failover
above a cache, a stream timeout above a breaker.
"""

import itertools

import pytest

from resilience import Cache, CircuitBreaker, ConfigError, Failover, Pipeline, Registry, Retry, StreamTimeout
from resilience.policies.order import KITS, why_above


def test_of_any_two_policies_the_reason_why_one_stands_above_the_other_is_their_own():
    for outer, inner in itertools.combinations(KITS, 2):
        if outer.name not in inner.instead_of:
            assert ("chaos" in why_above(outer, inner)) is (inner.name == "chaos"), (outer.name, inner.name)
            assert why_above(outer, inner) != "that is the place it has been given", (outer.name, inner.name)


@pytest.mark.parametrize(("policies", "words"), [
    ((Failover(("a", "b")), Cache()), "Cache must stand above Failover: an answer that is there already would have to pass it"),
    ((Failover(("a", "b")), Retry()), "Retry must stand above Failover: the pauses and attempts at one target would be in the way"),
    ((StreamTimeout(total=1.0), CircuitBreaker()), "CircuitBreaker must stand above StreamTimeout: a timeout above the breaker is"),
])
def test_a_wrong_order_is_refused_with_the_reason_of_these_two(policies, words):
    with pytest.raises(ConfigError, match=f"^{words}"):
        Pipeline(*policies, registry=Registry())
