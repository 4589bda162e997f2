"""What explain() says of a command's chain, its settings and where they come from."""

import functools

import pytest

import resilience
from resilience import (
    Bulkhead,
    Chaos,
    CircuitBreaker,
    Fallback,
    Pipeline,
    RateLimit,
    Retry,
    Throttle,
    Timeout,
    command,
    configure,
    explain,
)


def policies_of(target, **where):
    return [chain.policies for chain in explain(target, **where).chains]


def test_the_chain_is_told_in_the_one_order(registry):
    @Pipeline(Fallback(str), Retry(), CircuitBreaker(), Throttle(), RateLimit(5), Bulkhead(3), Timeout(1.0), Chaos(error_rate=0.1),
              registry=registry, shadow=["throttle"])
    async def fetch(): ...

    assert [("Fallback", "Retry", "CircuitBreaker", "Throttle (shadow)", "RateLimit", "Bulkhead", "Timeout",
             "Chaos (once it is started)")] == policies_of(fetch)
    chain = explain(fetch).chains[0]
    assert (f"{__name__}.test_the_chain_is_told_in_the_one_order.<locals>.fetch", "async") == chain[:2]
    assert (__file__, fetch.__wrapped__.__code__.co_firstlineno) == chain.place[:2]
    printed = str(explain(fetch)).splitlines()
    assert printed[1].startswith("  Fallback > Retry > CircuitBreaker > Throttle (shadow) > RateLimit > Bulkhead > Timeout > ")
    assert any(line.split() == ["timeout", "1.0", "the", "library's", "default"] for line in printed)
    assert any(line.split() == ["max_concurrent", "3", "the", "code"] for line in printed)


def test_what_is_switched_off_is_not_in_the_chain(registry):
    @command(key="k", registry=registry, max_concurrent=None, timeout=None)
    def fetch(): ...

    assert [("CircuitBreaker",)] == policies_of("k", registry=registry)
    with_file = configure({"commands": {"k": {"breaker": False, "max_concurrent": 2}}}, registry=registry, environ={})
    assert [("Bulkhead",)] == policies_of(fetch)
    fetch.resilience.configure(max_concurrent=None)
    assert [()] == policies_of(fetch)
    assert "configure() of its handle" in str(with_file.explain("k"))
    with_file.close()


def test_each_function_of_a_command_has_a_chain(registry):
    @command(key="both", registry=registry, timeout=1.0)
    def in_a_thread(): ...

    @resilience.circuit_breaker(key="both", registry=registry)
    def in_place(): ...

    assert [("thread", ("CircuitBreaker", "Bulkhead", "Timeout")), ("sync", ("CircuitBreaker",))] == [
        (chain.runs, chain.policies) for chain in explain("both", registry=registry).chains]
    assert explain(in_a_thread) == explain(in_place) == explain(in_place.resilience, registry=registry)


def test_a_generator_stands_under_no_timeout(registry):
    @command(registry=registry)
    def numbers():
        yield 1

    assert [("CircuitBreaker", "Bulkhead")] == policies_of(numbers)


def test_methods_and_callables_without_python_code(registry):
    class Client:
        @command(registry=registry)
        def get(self): ...

    assert explain(Client.get) == explain(Client().get)
    assert "no Python code" in str(explain(command(registry=registry, timeout=None)(len)))
    partial = command(registry=registry, key="p", timeout=None)(functools.partial(int, base=2))
    assert [("CircuitBreaker", "Bulkhead")] == policies_of(partial)


def test_a_keyed_function_has_a_command_for_each_key(registry):
    @command(key=lambda host: host, registry=registry)
    async def fetch(host): ...

    with pytest.raises(TypeError, match="explain one of them"):
        explain(fetch)


@pytest.mark.parametrize("nonsense", [None, 3, len, object()])
def test_something_else_is_a_type_error(nonsense):
    with pytest.raises(TypeError, match="a command's key or handle, or a guarded function"):
        explain(nonsense)


def test_an_unknown_key_is_a_key_error(registry):
    with pytest.raises(KeyError):
        explain("nobody", registry=registry)
