"""A method of xmlrpc.client.ServerProxy (or of Pyro, jsonrpclib) has an attribute of any name, which is such a method
again. To guard one never ended: what it wraps wraps something, and so on. A function whose ``__wrapped__`` is itself did
the same, and an object whose attributes raise something else than AttributeError was refused with that.
"""

import asyncio
import functools
import inspect
import xmlrpc.client

import pytest

from resilience import (
    Pipeline,
    Registry,
    Retry,
    cache,
    collapse,
    command,
    explain,
    fallback,
    handle_of,
    rate_limit,
    retry,
)


class AnyName:
    """Has an attribute of any name, as a method of a remote object has."""

    def __init__(self, name="stock"):
        self.path = name

    def __getattr__(self, name):
        return AnyName(f"{self.path}.{name}")

    def __call__(self, *args):
        return 7


class AnyNameAsync(AnyName):
    async def __call__(self, *args):
        return 7


class Raising:
    """Its attributes raise, and no AttributeError."""

    def __getattr__(self, name):
        raise RuntimeError(name)

    def __call__(self, *args):
        return 7


def circle(*args):
    return 7


circle.__wrapped__ = circle
CALLABLES = [AnyName(), AnyNameAsync(), Raising(), circle, AnyName().stock.get, functools.partial(AnyName()),
             functools.partial(Raising())]


def decorators(registry):
    yield command(key="stock", registry=registry, timeout=None)
    yield command(key=lambda *args: "stock", registry=registry, timeout=None)
    yield retry(attempts=2, registry=registry)
    yield cache(ttl=1.0, registry=registry)
    yield fallback(lambda *args: 3, registry=registry)
    yield Pipeline(Retry(attempts=2), registry=registry)
    yield lambda fn: functools.partial(Pipeline(Retry(attempts=2), registry=registry).call, fn)
    yield lambda fn: cache(ttl=1.0, registry=registry)(retry(attempts=2, registry=registry)(fn))


@pytest.mark.parametrize("fn", CALLABLES, ids=lambda fn: type(fn).__name__)
def test_it_is_guarded_by_each_decorator_and_called(fn):
    for index in range(len(list(decorators(Registry())))):
        guarded = list(decorators(Registry()))[index](fn)
        answer = guarded("apple")
        assert 7 == (asyncio.run(answer) if inspect.isawaitable(answer) else answer), index


@pytest.mark.parametrize("fn", CALLABLES, ids=lambda fn: type(fn).__name__)
def test_its_key_is_a_text_and_its_policies_are_explained(fn):
    guarded = command(registry=Registry(), timeout=None)(fn)
    assert handle_of(guarded).key == f"{__name__}.{'circle' if fn is circle else _class(fn).__qualname__}"
    assert "CircuitBreaker" in str(explain(guarded))


def _class(fn):
    return type(fn.func if isinstance(fn, functools.partial) else fn)


@pytest.mark.parametrize("fn", [AnyName(), Raising()], ids=lambda fn: type(fn).__name__)
def test_it_may_be_what_a_policy_calls_and_have_batches(fn):
    registry = Registry()
    assert 7 == command(registry=registry, timeout=None, fallback=fn)(lambda: 1 / 0)()
    assert 8 == rate_limit(5, by=fn, registry=registry)(lambda: 8)()
    assert 8 == cache(by=fn, registry=registry)(lambda: 8)()
    assert callable(collapse(fn))


def test_a_method_of_xmlrpc_is_named_after_its_class():
    method = xmlrpc.client.ServerProxy("http://127.0.0.1:9").stock.get
    assert "xmlrpc.client._Method" == command(registry=Registry(), timeout=None)(method).resilience.key
