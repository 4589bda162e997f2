"""A further attempt of a hedged stream that took its cancellation for nothing, and gave an item, was waited for for ever.

It waited for the request for its next step, which nobody makes of one that has lost; the consumer waited for its end,
whatever its own timeout, and the slots stayed taken. What such an attempt gave could also be taken for the item of the
winner. And a consumer that was cancelled as the first item of a further attempt came went on as if it had not been.
"""

import asyncio

import pytest

from resilience import Hedge, Registry, command
from resilience.testing import assert_idle, virtual_time


def hedged(body, attempts=2):
    """A stream whose n-th attempt is body(n); a further one begins each second."""
    numbers = iter(range(attempts))
    guard = command(key="stream", timeout=None, hedge=Hedge(idempotent=True, delay=1.0, attempts=attempts, budget=None),
                    registry=Registry())

    @guard
    async def stream():
        async for item in body(next(numbers)):
            yield item

    return stream


async def stubborn(seconds, item):
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        item = "all the same"
    if item is not None:
        yield item


async def all_of(stream):
    return [item async for item in stream()]


def test_a_loser_that_goes_on_is_closed():
    stream = hedged(lambda n: stubborn((2.0, 50.0)[n], n))
    assert virtual_time(all_of(stream)) == [0]
    assert_idle(stream)


@pytest.mark.parametrize("given_up", ["the first item", "the stream"])
def test_a_stream_that_is_given_up_ends_though_its_attempts_go_on(given_up):
    stream = hedged(lambda n: stubborn(50.0, n))

    async def main():
        consumer = asyncio.create_task(all_of(stream) if given_up == "the stream" else anext(stream()))
        await asyncio.sleep(2.0)
        consumer.cancel()
        await asyncio.wait((consumer,))

    virtual_time(main())
    assert_idle(stream)


@pytest.mark.parametrize("item", [1, None], ids=["gives an item", "ends"])
def test_a_loser_that_goes_on_is_not_taken_for_the_winner(item):
    async def body(n):
        if n == 0:
            await asyncio.sleep(50.0)
        async for each in stubborn(50.0, item) if n == 1 else stubborn(1.0, "winner"):
            yield each

    stream = hedged(body, attempts=3)
    assert virtual_time(all_of(stream)) == ["winner"]
    assert_idle(stream)


@pytest.mark.parametrize("turns", range(4))
def test_a_consumer_that_is_cancelled_as_a_further_attempt_wins_is_cancelled(turns):
    began = asyncio.Event()

    async def body(n):
        if n == 0:
            await asyncio.sleep(50.0)
        began.set()
        yield n
        await asyncio.sleep(1.0)

    stream = hedged(body)

    async def main():
        consumer = asyncio.create_task(all_of(stream))
        await began.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        consumer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await consumer

    virtual_time(main())
    assert_idle(stream)
