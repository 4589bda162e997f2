"""An outage from beginning to end, in every flavour: healthy, failing, refusing, probing, well again."""

import asyncio

import pytest

from resilience import (
    Bulkhead,
    CircuitBreaker,
    CircuitOpenError,
    Fallback,
    Pipeline,
    StateChanged,
    Timeout,
    bulkhead,
    circuit_breaker,
    command,
    fallback,
    timeout,
)
from resilience.events import CallFailed, CallRejected

BREAKER = CircuitBreaker(min_calls=4, open_for=5.0, open_growth=2.0, half_open_calls=2)
ASYNC = ("async", "async generator")


class Target:
    """What is called; it fails while it is down."""

    down = False

    def answer(self):
        if self.down:
            raise ConnectionError("down")
        return "fresh"


def decorated(flavour, target, decorate):
    """(the guarded function, how to call it to its end)."""
    if flavour == "generator":
        def rows():
            yield target.answer()

        guarded = decorate(rows)
        return guarded, lambda: list(guarded())[-1]
    if flavour == "async generator":
        async def arows():
            yield target.answer()

        guarded = decorate(arows)

        async def last():
            return [item async for item in guarded()][-1]

        return guarded, lambda: asyncio.run(last())
    if flavour == "async":
        async def acall():
            return target.answer()

        guarded = decorate(acall)
        return guarded, lambda: asyncio.run(guarded())

    def call():
        return target.answer()

    guarded = decorate(call)
    return guarded, guarded


def as_command(registry, flavour, answer):
    return command(key="k", registry=registry, breaker=BREAKER, max_concurrent=5, fallback=answer,
                   timeout=10.0 if flavour in ("thread", *ASYNC) else None)


def as_stack(registry, flavour, answer):
    def decorate(fn):
        if flavour in ("thread", *ASYNC):
            fn = timeout(10.0, key="k", registry=registry)(fn)
        fn = circuit_breaker(key="k", registry=registry, min_calls=4, open_for=5.0, open_growth=2.0,
                             half_open_calls=2)(bulkhead(5, key="k", registry=registry)(fn))
        return fn if answer is None else fallback(answer, registry=registry)(fn)

    return decorate


def as_pipeline(registry, flavour, answer):
    policies = [] if answer is None else [Fallback(answer)]
    policies += [BREAKER, Bulkhead(5)]
    return Pipeline(*policies, *([Timeout(10.0)] if flavour in ("thread", *ASYNC) else []), key="k", registry=registry)


FLAVOURS = ["sync", "thread", "async", "generator", "async generator"]


@pytest.mark.parametrize("form", [as_command, as_stack, as_pipeline])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_an_outage_with_a_fallback(flavour, form, registry, clock):
    target = Target()
    answer = (lambda: ["stale"]) if "generator" in flavour else lambda: "stale"
    guarded, call = decorated(flavour, target, form(registry, flavour, answer))
    handle, changes = guarded.resilience, []
    registry.subscribe(StateChanged, lambda event: changes.append(str(event.new)))

    assert ["fresh"] * 3 == [call() for _ in range(3)]
    target.down = True
    assert ["stale"] * 10 == [call() for _ in range(10)]
    counts = handle.snapshot().counts
    assert (3, 3, 7, 10) == (counts["success"], counts["failure"], counts["short_circuited"], counts["fallback_success"])
    assert 5.0 == handle.snapshot().retry_after

    clock.advance(5.0)
    assert "stale" == call(), "the probe fails"
    clock.advance(5.0)
    assert "stale" == call(), "the second wait is twice as long"
    target.down = False
    clock.advance(5.0)
    assert ["fresh"] * 4 == [call() for _ in range(4)]
    assert ["open", "half_open", "open", "half_open", "closed"] == changes
    assert ("closed", 0) == (handle.state, handle.snapshot().in_flight)
    assert 0 == handle.snapshot().counts["exceptions_thrown"]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_an_outage_without_a_fallback_is_told_by_events(flavour, registry):
    target = Target()
    target.down = True
    heard = []
    registry.subscribe(CallFailed, heard.append)
    registry.subscribe(CallRejected, heard.append)
    _, call = decorated(flavour, target, as_command(registry, flavour, None))

    for _ in range(4):
        with pytest.raises(ConnectionError, match="down"):
            call()
    for _ in range(2):
        with pytest.raises(CircuitOpenError) as refused:
            call()
        assert ("k", 5.0) == (refused.value.key, refused.value.retry_after)

    assert ["failure"] * 4 + ["short_circuited"] * 2 == [event.event for event in heard]
    assert [ConnectionError] * 4 + [CircuitOpenError] * 2 == [type(event.error) for event in heard]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_an_operators_word_holds_until_it_is_taken_back(flavour, registry, clock):
    target = Target()
    guarded, call = decorated(flavour, target, as_command(registry, flavour, None))
    handle = guarded.resilience

    handle.force_open()
    clock.advance(1000.0)
    with pytest.raises(CircuitOpenError):
        call()
    handle.force_closed()
    target.down = True
    for _ in range(10):
        with pytest.raises(ConnectionError):
            call()
    assert "forced_closed" == handle.state
    handle.release()
    with pytest.raises(ConnectionError):
        call()
    assert "open" == handle.state, "the failures of the forced time are remembered"
    handle.reset()
    assert ("closed", 0) == (handle.state, handle.snapshot().requests)
    target.down = False
    assert "fresh" == call()
