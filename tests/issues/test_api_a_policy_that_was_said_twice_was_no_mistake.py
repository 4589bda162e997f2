"""Of two Timeouts one silently won; a pool without threads was shown as in use; a block's second key replaced its first."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from resilience import (
    Bulkhead,
    Cache,
    CircuitBreaker,
    ConfigError,
    Registry,
    Retry,
    ThreadPool,
    Timeout,
    block,
    command,
)


def call() -> None: ...


@pytest.mark.parametrize(("settings", "option"), [
    ({"timeout": 1.0, "policies": [Timeout(2.0)]}, "timeout"),
    ({"policies": [Timeout(1.0), Timeout(2.0)]}, "timeout"),
    ({"policies": (each for each in (Bulkhead(3), Bulkhead(4)))}, "max_concurrent"),
    ({"breaker": None, "policies": [CircuitBreaker()]}, "breaker"),
])
def test_a_policy_is_said_once(settings, option):
    with pytest.raises(ConfigError, match="keep one of them") as caught:
        command(registry=Registry(), **settings)
    assert caught.value.option == option


def test_none_that_is_the_default_anyway_contradicts_nothing():
    def factory(retry: Retry | None = None, cache: Cache | None = None, policies: Sequence[Retry] = ()) -> object:
        return command(retry=retry, cache=cache, policies=policies, registry=Registry())(call).resilience.settings.retry

    assert factory(policies=[Retry(attempts=5)]) == Retry(attempts=5)


def test_a_pool_is_for_calls_that_run_on_its_threads():
    with pytest.raises(ConfigError, match="a pool means nothing without thread isolation; use isolation='thread'"):
        command(pool=ThreadPool(3), isolation="semaphore", registry=Registry())(call)


def test_a_block_has_one_key():
    with pytest.raises(TypeError, match="multiple values for argument 'key'"):
        block("payments", key="orders")  # type: ignore[call-arg, misc]
    assert block(key="payments", registry=Registry()).resilience.key == "payments"
