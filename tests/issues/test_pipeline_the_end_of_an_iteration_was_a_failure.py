"""StopIteration and StopAsyncIteration are how __next__ and __anext__ say that there is no more. Each was a failure: it was
retried, short iterations opened the circuit, and a fallback answered for it, so that the iteration never ended.
"""

import asyncio
import itertools

import pytest

from resilience import CircuitBreaker, Fallback, Hedge, Registry, Retry, command, http_status
from resilience.integrations.circuitbreaker import CircuitBreaker as CircuitBreakerOfCircuitbreaker
from resilience.testing import ManualClock, assert_counts

POLICIES = [{}, {"retry": Retry(attempts=3, base=0.0)}, {"fallback": Fallback(lambda self: "more")},
            {"failures": http_status()}, {"retry": Retry(attempts=3, base=0.0), "fallback": lambda self: "more"}]


def numbers(settings):
    """The class of an iterator of two numbers."""

    class Numbers:
        left = 2

        def __iter__(self):
            return self

        @command(**settings)
        def __next__(self):
            if not self.left:
                raise StopIteration
            self.left -= 1
            return self.left

    return Numbers, Numbers.__next__.resilience


def async_numbers(settings):
    """The class of an asynchronous iterator of two numbers."""

    class Numbers:
        left = 2

        def __aiter__(self):
            return self

        @command(**settings)
        async def __anext__(self):
            await asyncio.sleep(0)
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            return self.left

    return Numbers, Numbers.__anext__.resilience


async def taken(iterator):
    found = []
    async for item in iterator:
        found.append(item)
        if len(found) > 9:
            break
    return found


@pytest.mark.parametrize("policies", POLICIES, ids=lambda each: "+".join(each) or "breaker")
@pytest.mark.parametrize("timeout", [None, 5.0], ids=["sync", "thread"])
def test_the_end_of_an_iteration_is_no_failure(policies, timeout):
    kind, handle = numbers({"registry": Registry(clock=ManualClock()), "timeout": timeout,
                            "breaker": CircuitBreaker(consecutive=2), **policies})
    for _ in range(4):
        assert [1, 0] == list(itertools.islice(kind(), 9))
    assert_counts(handle, success=8, bad_request=4, fallback_success=0, retry=0)
    assert "closed" == handle.state


@pytest.mark.parametrize("policies", [*POLICIES, {"hedge": Hedge(idempotent=True, delay=60.0)}],
                         ids=lambda each: "+".join(each) or "breaker")
def test_the_end_of_an_asynchronous_iteration_is_no_failure(policies):
    kind, handle = async_numbers({"registry": Registry(clock=ManualClock()), "breaker": CircuitBreaker(consecutive=2),
                                  **policies})
    for _ in range(4):
        assert [1, 0] == asyncio.run(taken(kind()))
    assert_counts(handle, success=8, bad_request=4, fallback_success=0, retry=0)
    assert "closed" == handle.state


def test_the_breakers_in_place_of_other_libraries_do_not_count_it():
    breaker = CircuitBreakerOfCircuitbreaker(failure_threshold=1, registry=Registry())
    with pytest.raises(StopIteration):
        breaker(next)(iter(()))
    assert (0, "closed") == (breaker.failure_count, breaker.state)
