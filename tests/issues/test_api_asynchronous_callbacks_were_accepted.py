"""An ``async def`` as a policy's callback was accepted, except as a cache's ``by``: a coroutine is true and equal to no
other, so each call had a rate limit or a turn of its own, each result was a failure, and each call was repeated.
"""

import functools

import pytest

from resilience import (
    AdaptiveLimit,
    Bulkhead,
    Cache,
    Chaos,
    ConfigError,
    FailureRules,
    Fallback,
    RateLimit,
    Registry,
    Retry,
    StreamTimeout,
    collapse,
    command,
    rate_limit,
)


async def coroutine(*args):
    return 1


def generator(*args):
    yield 1


async def async_generator(*args):
    yield 1


class Awaited:
    async def __call__(self, *args):
        return 1


CALLBACKS = [coroutine, generator, async_generator, Awaited(), functools.partial(coroutine, 1)]
PLACES = {
    "by": lambda callback: RateLimit(5, by=callback),
    "cost": lambda callback: RateLimit(5, cost=callback),
    "true_cost": lambda callback: RateLimit(5, cost=lambda *args: 1, true_cost=callback),
    "fair_by": lambda callback: Bulkhead(5, max_wait=1, fair_by=callback),
    "priorities": lambda callback: AdaptiveLimit(priorities=callback),
    "on_result": lambda callback: Retry(on_result=callback),
    "judge": lambda callback: FailureRules(callback),
    "results": lambda callback: FailureRules(results=callback),
    "items": lambda callback: FailureRules(items=callback),
    "exceptions": lambda callback: FailureRules(exceptions=(KeyError, callback)),
    "busy": lambda callback: FailureRules(busy=callback),
    "progress": lambda callback: StreamTimeout(first_item=1.0, progress=callback),
    "error": lambda callback: Chaos(error_rate=0.5, error=callback),
    "wrong": lambda callback: Chaos(wrong_rate=0.5, wrong=callback),
    "key": lambda callback: collapse(window=0.1, key=callback),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_callback_that_is_to_be_awaited_or_iterated_is_refused_where_it_is_given(place):
    for callback in CALLBACKS:
        with pytest.raises(ConfigError, match="give a plain function: nobody would await or iterate") as caught:
            PLACES[place](callback)
        assert caught.value.option == place


def test_the_by_of_a_cache_and_a_function_as_key_are_refused_as_before():
    with pytest.raises(ConfigError, match="plain function"):
        command(cache=Cache(by=coroutine), registry=Registry())(lambda sku: sku)
    with pytest.raises(ConfigError, match="plain function"):
        command(key=coroutine, registry=Registry())(lambda sku: sku)


def test_a_fallback_may_be_a_coroutine_function():
    @command(timeout=None, fallback=Fallback(coroutine), registry=Registry())
    async def fails():
        raise OSError

    assert fails.resilience.group


def test_plain_callables_of_every_kind_are_accepted():
    class Plain:
        def __call__(self, *args):
            return 1

        def method(self, *args):
            return 1

    for callback in (str, len, Plain(), Plain().method, functools.partial(max, 1), "x".startswith, lambda *args: 1):
        for place, make in PLACES.items():
            if place not in ("exceptions", "busy", "error") or not isinstance(callback, type):
                make(callback)


def test_a_rate_limit_with_an_asynchronous_by_is_no_rate_limit_without_a_word():
    with pytest.raises(ConfigError):
        rate_limit(1, by=coroutine, registry=Registry())(lambda sku: sku)
