"""A policy of a user's own above the circuit breaker was refused with "that is the place it has been given", and explain()
raised what its ``worst_case()`` raised, although its other optional methods are only logged.
"""

import attrs
import pytest

from resilience import Bulkhead, CircuitBreaker, ConfigError, Pipeline, Registry, Retry, Timeout, custom_policy, explain
from resilience.policies import order


class Machine:
    def acquire(self, now, call): ...

    def settle(self, permit, outcome, started, now): ...


@pytest.fixture
def cap():
    @custom_policy("cap", about="Caps.")
    @attrs.frozen
    class Cap:
        def machine(self, key, now):
            return Machine()

        def worst_case(self, below):
            raise ZeroDivisionError

    yield Cap
    order.discard("cap")


@pytest.mark.parametrize(("policies", "words"), [
    (lambda cap: (cap(), CircuitBreaker()), "CircuitBreaker must stand above Cap: above the breaker it would hear of calls"),
    (lambda cap: (cap(), Retry()), "Retry must stand above Cap: above the breaker it would hear of calls"),
    (lambda cap: (Bulkhead(1), cap()), "Cap must stand above Bulkhead: below the bulkhead a call that it refuses would hold a slot"),
    (lambda cap: (Timeout(1.0), cap()), "Cap must stand above Timeout: below the bulkhead a call that it refuses would hold a slot"),
])
def test_a_wrong_place_is_told_with_the_reason(cap, policies, words):
    with pytest.raises(ConfigError, match=f"^{words}"):
        Pipeline(*policies(cap), registry=Registry())


def test_what_worst_case_raises_is_logged_and_explain_goes_on(cap, caplog):
    @Pipeline(cap(), Timeout(2.0), registry=Registry())
    async def fetch(): ...

    assert 2.0 == explain(fetch).chains[0].worst_case.seconds
    assert ["worst_case() of the policy Cap raised; explain() counts nothing for it"] == [each.message for each in caplog.records]
