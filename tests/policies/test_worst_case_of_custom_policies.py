"""What a policy of a user's own adds to the worst case that explain() tells."""

import attrs
import pytest

from resilience import Cache, Pipeline, Retry, Timeout, custom_policy, explain
from resilience.policies import order


class Nothing:
    def acquire(self, now, call): ...

    def settle(self, permit, outcome, started, now): ...


@pytest.fixture
def patient():
    @custom_policy("patient", about="Lets a call wait.")
    @attrs.frozen
    class Patient:
        seconds: float = 1.5

        def machine(self, key, now):
            return Nothing()

        def worst_case(self, below):
            return below.after(self.seconds)

    yield Patient
    order.discard("patient")


def test_a_policy_of_a_users_own_says_what_it_adds(registry, patient):
    @Pipeline(Retry(attempts=3, max_delay=1.0), patient(), Timeout(0.5), registry=registry)
    async def fetch(): ...

    worst = explain(fetch).chains[0].worst_case
    assert (3 * (0.5 + 1.5) + 2.0, 3) == (worst.seconds, worst.attempts)
    assert "at worst 8 s; 3 attempts, the last of which begins within 6 s" == str(worst)


def test_a_cache_tells_of_the_callers_that_a_call_may_wait_for(registry):
    @Pipeline(Cache(), Timeout(0.5), registry=registry)
    async def fetch(): ...

    assert str(explain(fetch).chains[0].worst_case).startswith("at worst 0.5 s, and as long again for each caller")
