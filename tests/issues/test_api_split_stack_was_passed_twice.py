"""The same policy above and below a third party's decorator: one command's slots were taken twice a call.

With ``bulkhead(1)`` every call was refused; with two circuits' worth of settings one probe needed two.
"""

import functools

import pytest

from resilience import ConfigError, bulkhead, circuit_breaker, command


def third_party(fn):
    @functools.wraps(fn)
    def wrapper(*args):
        return fn(*args)

    return wrapper


def test_the_same_policy_on_both_sides_is_refused(registry):
    with pytest.raises(ConfigError, match="Bulkhead stands above and below another decorator"):
        @bulkhead(1, registry=registry)
        @third_party
        @bulkhead(1, registry=registry)
        def call(): ...


def test_different_policies_and_different_keys_are_not(registry):
    @circuit_breaker(registry=registry)
    @third_party
    @bulkhead(1, registry=registry)
    def one():
        return 1

    @command(key="outer", registry=registry, timeout=None, max_concurrent=1)
    @third_party
    @command(key="inner", registry=registry, timeout=None, max_concurrent=1)
    def two():
        return 2

    assert (1, 2) == (one(), two())


def test_a_bound_method_or_a_partial_hides_nothing(registry):
    """Only what functools.wraps had made was looked through."""
    class Client:
        @bulkhead(1, registry=registry)
        def get(self): ...

    for again in (Client().get, functools.partial(Client().get), functools.partial(Client.get, None)):
        with pytest.raises(ConfigError, match="twice"):
            bulkhead(1, registry=registry)(again)
