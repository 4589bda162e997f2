"""An ``async def`` as a policy's callback was accepted, except as a cache's ``by``: a coroutine is true and equal to no
other, so each call had a rate limit or a turn of its own, each result was a failure, and each call was repeated.
"""

import asyncio
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
    deadline,
    rate_limit,
)
from resilience.events import CallFailed
from resilience.integrations import asgi, circuitbreaker, grpc, httpx, pybreaker, wsgi
from tests.issues.every_flavour import guarded, isolation


async def coroutine(*args):
    return 1


def generator(*args):
    yield 1


async def async_generator(*args):
    yield 1


class Awaited:
    async def __call__(self, *args):
        return 1


CALLBACKS = [coroutine, generator, async_generator, Awaited(), functools.partial(coroutine, 1), Awaited().__call__,
             functools.partial(functools.partial(Awaited(), 1), 1), functools.partial(generator), functools.partial(async_generator)]
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
    "result": lambda callback: Chaos(result_rate=0.5, result=callback),
    "key": lambda callback: collapse(window=0.1, key=callback),
    "copy": lambda callback: Cache(copy=callback),
    "hold_size": lambda callback: Retry(hold=2, hold_bytes=2, hold_size=callback),
    "clock": lambda callback: deadline(1.0, clock=callback),
    "idempotent": lambda callback: httpx.ResilienceTransport(idempotent=callback),
    "exempt": lambda callback: asgi.ResilienceMiddleware(None, exempt=callback),
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


@pytest.mark.parametrize("callback", CALLBACKS)
def test_other_callbacks_that_are_to_be_awaited_or_iterated_are_refused_too(callback):
    def app(environ, start_response):
        pass

    for make in (lambda: httpx.ResilienceTransport(key=callback), lambda: wsgi.ResilienceMiddleware(app, exempt=callback),
                 lambda: grpc.GuardInterceptor(key=callback), lambda: command(key=callback, registry=Registry())(lambda sku: sku)):
        with pytest.raises(ConfigError, match="plain function"):
            make()
    for make in (lambda: Registry(clock=callback), lambda: Registry(random=callback),
                 lambda: Registry().after_isolated_calls(callback), lambda: Registry().subscribe(CallFailed, callback),
                 lambda: pybreaker.CircuitBreaker(exclude=[callback], registry=Registry())):
        with pytest.raises(TypeError, match="plain function"):
            make()
    with pytest.raises(ValueError, match="plain function"):
        circuitbreaker.build_failure_predicate(callback)


@pytest.mark.parametrize("flavour", ["sync", "thread", "async"])
def test_a_generator_is_no_fallback_for_a_function_that_is_none(registry, flavour):
    """Its caller got a generator object for an answer."""
    class Items:
        def __call__(self):
            yield 1

    for fallback in (generator, async_generator, Items(), functools.partial(generator), functools.partial(Items())):
        with pytest.raises(ConfigError, match="nobody would") as caught:
            guarded(flavour, command(registry=registry, key="k", fallback=fallback, timeout=None, **isolation(flavour)), int)
        assert "fallback" == caught.value.option


@pytest.mark.parametrize("flavour", ["sync", "thread", "async"])
def test_a_fallback_may_return_an_iterator(registry, flavour):
    def fails():
        raise OSError

    _, call = guarded(flavour, command(registry=registry, key="k", fallback=lambda: generator(), timeout=None,
                                       **isolation(flavour)), fails)

    assert [1] == list(call())


@pytest.mark.parametrize("fallback", CALLBACKS)
def test_any_function_may_answer_for_an_async_generator(registry, fallback):
    def fails(*args):
        raise OSError

    async def listed(*args):
        return [1]

    instead = fallback if fallback in (generator, async_generator) else listed
    _, call = guarded("async generator", command(registry=registry, key="k", fallback=instead, timeout=None), fails)

    assert 1 == call()


def test_a_partial_of_an_asynchronous_object_is_awaited(registry):
    fn = command(registry=registry, key="k", timeout=None)(functools.partial(Awaited(), 2))

    assert 1 == asyncio.run(fn())
    assert 1 == registry["k"].snapshot().counts["success"]


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
