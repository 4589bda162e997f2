"""What ``progress`` of a stream timeout raised was a failure of the target: it opened the circuit, and was retried."""

import asyncio

import pytest

from resilience import CircuitBreaker, Registry, Retry, RetryBudget, StreamTimeout, command

ONCE = CircuitBreaker(consecutive=1)


def wrong(item):
    raise ValueError(f"no progress is known of {item!r}")


def rows():
    yield 1
    yield 2


async def async_rows():
    yield 1
    yield 2


def items_of(stream):
    if hasattr(stream, "__aiter__"):
        async def collected():
            return [item async for item in stream]

        return asyncio.run(collected())
    return list(stream)


@pytest.mark.parametrize("function", [rows, async_rows])
@pytest.mark.parametrize("progress", [wrong, len])
@pytest.mark.parametrize("retry", [None, Retry(budget=RetryBudget()), Retry(hold=2)])
def test_a_mistake_in_progress_is_the_callers_in_every_flavour(function, progress, retry):
    registry, called = Registry(), []

    def noting(item):
        called.append(item)
        return progress(item)

    guarded = command(key="k", registry=registry, breaker=ONCE, retry=retry, fallback=lambda: iter([0]),
                      stream_timeout=StreamTimeout(total=60.0, progress=noting if progress is wrong else progress))(function)
    with pytest.raises(ValueError if progress is wrong else TypeError):
        items_of(guarded())

    counts = guarded.resilience.snapshot().counts
    assert ("closed", 1, 0, 0) == (guarded.resilience.state, counts["bad_request"], counts["failure"], counts["retry"])
    assert len(called) == (progress is wrong)
