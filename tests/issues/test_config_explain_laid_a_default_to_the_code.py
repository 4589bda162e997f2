"""explain() said "timeout off, the code" of a bare ``@command`` on a plain function or a generator, where no timeout can reach the
call, and "max_concurrent off, the code" beside an adaptive limit: nobody had said so.
"""

import pytest

from resilience import AdaptiveLimit, Registry, circuit_breaker, command, configure, explain


def places(fn, registry):
    return {each.name: (each.value, str(each.place).split(":")[0]) for each in explain(fn, registry=registry).settings}


def plain():
    return 7


def stream():
    yield 7


@pytest.mark.parametrize("fn", [plain, stream])
def test_a_default_that_cannot_be_is_off_by_default(fn):
    registry = Registry()
    guarded = command(registry=registry)(fn)
    assert (None, "the library's default") == places(guarded, registry)["timeout"]
    assert (10, "the library's default") == places(guarded, registry)["max_concurrent"]


@pytest.mark.parametrize("fn", [plain, stream])
def test_what_is_said_to_be_off_is_off_by_the_code(fn):
    registry = Registry()
    guarded = command(registry=registry, timeout=None, max_concurrent=None, breaker=None)(fn)
    found = places(guarded, registry)
    assert (None, "the code") == found["timeout"] == found["max_concurrent"] == found["breaker"]


def test_what_an_adaptive_limit_takes_the_place_of_is_off_by_default():
    registry = Registry()
    guarded = command(registry=registry, adaptive_limit=AdaptiveLimit())(plain)
    assert (None, "the library's default") == places(guarded, registry)["max_concurrent"]


def test_what_a_stack_leaves_out_is_off_by_default():
    registry = Registry()
    guarded = circuit_breaker(min_calls=5, registry=registry)(plain)
    found = places(guarded, registry)
    assert (None, "the library's default") == found["timeout"]
    assert (5, "the code") == found["breaker.min_calls"]


def test_a_file_still_moves_nothing_by_what_it_says_of_all():
    registry = Registry()
    guarded = command(key="stock", registry=registry)(plain)
    configure({"defaults": {"timeout": 2.0}}, registry=registry)
    assert guarded.resilience.settings.timeout is None
    configure({"commands": {"stock": {"timeout": 2.0}}}, registry=registry)
    assert 2.0 == guarded.resilience.settings.timeout
