"""A call whose arguments do not fit counted as the target's failure, and was answered by the fallback.

interlock 2.6.0 had to learn that a caller's bug, such as a bad URL, must not open the circuit.
"""

import asyncio

import pytest

from resilience import CircuitBreaker, command


def plain(a):
    return a


async def coroutine(a):
    return a


def generator(a):
    yield a


async def async_generator(a):
    yield a


async def drained(agen):
    return [item async for item in agen]


CASES = {
    "sync": (plain, None, lambda call: call()),
    "thread": (plain, 5.0, lambda call: call()),
    "async": (coroutine, 5.0, lambda call: asyncio.run(call())),
    "generator": (generator, None, lambda call: list(call())),
    "async generator": (async_generator, 5.0, lambda call: asyncio.run(drained(call()))),
}


@pytest.mark.parametrize("case", CASES)
def test_arguments_that_do_not_fit_are_the_callers_mistake(registry, case):
    fn, timeout, run = CASES[case]
    call = command(key="k", registry=registry, timeout=timeout, breaker=CircuitBreaker(min_calls=1),
                   fallback=lambda *args: ["fallback"])(fn)

    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        run(call)

    counts = call.resilience.snapshot().counts
    assert (1, 0, 1) == (counts["bad_request"], counts["failure"], counts["exceptions_thrown"])
    assert "closed" == call.resilience.state


@pytest.mark.parametrize("timeout", [None, 5.0])
def test_a_type_error_from_within_is_a_failure_all_the_same(registry, timeout):
    inner = command(key="inner", registry=registry, timeout=None)(plain)

    @command(key="outer", registry=registry, timeout=timeout, fallback=lambda: "fallback")
    def outer():
        return inner()

    assert "fallback" == outer()
    assert 1 == outer.resilience.snapshot().counts["failure"]
