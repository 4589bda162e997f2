"""What explain() says of a command's chain, its settings and where they come from."""

import asyncio
import functools
import math

import pytest

import resilience
from resilience import (
    AdaptiveLimit,
    Bulkhead,
    Chaos,
    CircuitBreaker,
    Fallback,
    Hedge,
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


def test_a_keyed_function_is_explained_with_what_all_its_commands_have_in_common(registry):
    @command(key=lambda host: host, timeout=0.5, registry=registry, max_keys=9)
    async def get(host): ...

    for host in ("a", "b"):
        asyncio.run(get(host))
    get.resilience.configure(timeout=0.7)

    for explanation in (explain(get), explain(get.resilience)):
        assert (get.resilience.key, (2, 9)) == (explanation.key, explanation.keys)
        assert [chain[1:3] for chain in explain(get.resilience["a"], registry=registry).chains] == [
            chain[1:3] for chain in explanation.chains]
        assert [(0.7, "configure() of its handle")] == [
            (each.value, str(each.place)) for each in explanation.settings if each.name == "timeout"]
        assert 0.7 == explanation.chains[0].worst_case.seconds
        assert str(explanation).splitlines()[0].endswith("; a command for each key, 2 of at most 9 now)")


@pytest.mark.parametrize("nonsense", [None, 3, len, object()])
def test_something_else_is_a_type_error(nonsense):
    with pytest.raises(TypeError, match="a command's key or handle, or a guarded function"):
        explain(nonsense)


def test_an_unknown_key_is_a_key_error(registry):
    with pytest.raises(KeyError):
        explain("nobody", registry=registry)


def worst_of(registry, **settings):
    async def fetch(): ...

    [chain] = explain(command(registry=registry, **settings)(fetch)).chains
    return chain.worst_case.seconds, chain.worst_case.attempts


@pytest.mark.parametrize(("settings", "expected"), [
    ({"timeout": 0.5}, (0.5, 1)),
    ({"timeout": None}, (math.inf, 1)),
    ({"timeout": 0.5, "retry": Retry(attempts=4, max_delay=2.0)}, (4 * 0.5 + 3 * 2.0, 4)),  # the target may ask for it
    ({"timeout": 0.5, "retry": Retry(attempts=4, base=1.0, max_delay=3.0, respect_retry_after=False)}, (2.0 + 6.0, 4)),
    ({"timeout": 0.5, "retry": Retry(attempts=3, jitter="decorrelated", base=1.0, respect_retry_after=False)},
     (1.5 + 3.0 + 9.0, 3)),
    ({"timeout": 0.5, "retry": Retry(attempts=100, time_limit=3.0)}, (3.5, 100)),
    ({"timeout": None, "retry": Retry(attempts=3, time_limit=3.0)}, (math.inf, 3)),
    ({"timeout": 0.5, "rate_limit": RateLimit(5, max_wait=2.0)}, (2.5, 1)),
    ({"timeout": 0.5, "rate_limit": RateLimit(5, max_wait=2.0), "shadow": ["rate_limit"]}, (0.5, 1)),
    ({"timeout": 0.5, "rate_limit": RateLimit(5, max_wait=2.0), "retry": Retry(attempts=2, max_delay=1.0)}, (6.0, 2)),
    ({"timeout": 0.5, "adaptive_limit": AdaptiveLimit(max_queue=3, max_queue_for=0.25)}, (0.75, 1)),
    ({"timeout": 0.5, "adaptive_limit": AdaptiveLimit(max_queue_for=0.25)}, (0.5, 1)),
    ({"timeout": 0.5, "hedge": Hedge(idempotent=True, attempts=3), "retry": Retry(attempts=2, max_delay=1.0)}, (2.0, 6)),
])
def test_the_worst_case_of_a_call_is_what_the_settings_add_up_to(registry, settings, expected):
    assert expected == worst_of(registry, **settings)


def test_the_worst_case_is_that_of_the_settings_in_force_and_is_printed(registry):
    @command(registry=registry, timeout=0.5, fallback=lambda **_: 0)
    async def fetch(): ...

    assert "    at worst 0.5 s, and the fallback's own time; 1 attempt" in str(explain(fetch)).splitlines()
    fetch.resilience.configure(timeout=None)
    assert "    at worst unbounded: no timeout, and the fallback's own time; 1 attempt" in str(explain(fetch)).splitlines()


def test_a_generator_and_a_function_that_stays_with_its_caller_have_no_bound(registry):
    @command(registry=registry, timeout=0.5)
    async def items():
        yield 1

    @command(registry=registry)
    def plain(): ...

    for function in (items, plain):
        assert math.inf == explain(function).chains[0].worst_case.seconds
    plain.resilience.configure(timeout=2.0)
    assert 2.0 == explain(plain).chains[0].worst_case.seconds
