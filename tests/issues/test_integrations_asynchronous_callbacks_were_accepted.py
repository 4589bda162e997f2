"""An ``async def`` as ``idempotent`` let POSTs be repeated, as ``exempt`` it let all requests pass the limit, as ``key``
it failed with the first request: nobody awaits what these return, and a coroutine is true. ``exempt=5`` was accepted.
"""

import functools

import pytest

from resilience import Bulkhead, ConfigError, Registry, Retry
from resilience.integrations import aiohttp, asgi, circuitbreaker, grpc, grpc_aio, httpx, httpx2, pybreaker, wsgi
from resilience.integrations import requests as our_requests
from resilience.integrations import urllib3 as our_urllib3
from resilience.integrations.sqlalchemy import unit_of_work


async def coroutine(*args):
    return False


def generator(*args):
    yield False


async def async_generator(*args):
    yield False


class Awaited:
    async def __call__(self, *args):
        return False


CLIENTS = {
    "httpx": httpx.ResilienceTransport, "async httpx": httpx.AsyncResilienceTransport,
    "httpx2": httpx2.ResilienceTransport, "async httpx2": httpx2.AsyncResilienceTransport,
    "requests": our_requests.ResilienceAdapter, "aiohttp": aiohttp.ResilienceMiddleware,
    "urllib3": lambda **settings: our_urllib3.ResiliencePoolManager(guard=settings),
}
PLACES = {
    **{f"{name}: idempotent": functools.partial(lambda make, wrong: make(idempotent=wrong, retry=Retry()), make)
       for name, make in CLIENTS.items()},
    **{f"{name}: key": functools.partial(lambda make, wrong: make(key=wrong, registry=Registry()), make)
       for name, make in CLIENTS.items()},
    "asgi: exempt": lambda wrong: asgi.ResilienceMiddleware(
        coroutine, exempt=wrong, limit=Bulkhead(1), registry=Registry()),
    "wsgi: exempt": lambda wrong: wsgi.ResilienceMiddleware(
        generator, exempt=wrong, limit=Bulkhead(1), registry=Registry()),
    "grpc: key": lambda wrong: grpc.GuardInterceptor(key=wrong, registry=Registry()),
    "grpc.aio: key": lambda wrong: grpc_aio.aio_interceptors(key=wrong, registry=Registry()),
    "sqlalchemy: sessions": unit_of_work,
    "pybreaker: exclude": lambda wrong: pybreaker.CircuitBreaker(exclude=[wrong], registry=Registry()),
    "circuitbreaker: expected_exception": lambda wrong: circuitbreaker.CircuitBreaker(
        expected_exception=wrong, registry=Registry()),
}
CALLBACKS = [coroutine, generator, async_generator, Awaited(), functools.partial(coroutine, 1)]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("callback", CALLBACKS, ids=["coroutine", "generator", "async generator", "object", "partial"])
def test_a_callback_that_must_be_awaited_or_iterated_is_a_mistake_where_it_is_given(place, callback):
    with pytest.raises((ConfigError, TypeError, ValueError)) as caught:
        PLACES[place](callback)

    assert place.partition(": ")[2] in str(caught.value)


@pytest.mark.parametrize("place", [place for place in PLACES if not place.endswith("key")])
@pytest.mark.parametrize("value", [5, "x", True])
def test_what_cannot_be_called_is_no_callback(place, value):
    with pytest.raises((ConfigError, TypeError, ValueError)) as caught:
        PLACES[place](value)

    assert place.partition(": ")[2] in str(caught.value)
