"""The error of a stream timeout told of another clock than the one that ended the stream.

If the items that had come were held back for a retry (``hold``), it named the clock of the first item, and its seconds,
though that had stopped. With ``progress`` the clock between items said "no item for 3 s", however many pings came in them.
"""

import asyncio
import pickle

import pytest

from resilience import Registry, Retry, StreamTimeout, StreamTimeoutError, command
from resilience.testing import virtual_time


def ended_by(script, **settings):
    """The error of a stream whose items come after these pauses, and what its own clock says."""

    @command(key="s", breaker=None, registry=Registry(), **settings)
    async def stream():
        for pause, item in script:
            await asyncio.sleep(pause)
            yield item

    async def consume():
        began = asyncio.get_running_loop().time()
        with pytest.raises(StreamTimeoutError) as caught:
            async for _ in stream():
                pass
        return caught.value, asyncio.get_running_loop().time() - began

    return virtual_time(consume())


@pytest.mark.parametrize("first_item", [None, 1, 50])
@pytest.mark.parametrize("total", [None, 60])
def test_items_that_are_held_back_have_come(first_item, total):
    retry = Retry(attempts=2, base=0, jitter="none", hold=2, budget=None)
    clocks = StreamTimeout(first_item=first_item, between_items=7, total=total)
    error, seconds = ended_by([(0, "a"), (100, "b")], stream_timeout=clocks, retry=retry)
    assert ("between_items", 7, 0, 14.0) == (error.clock, error.timeout, error.items, seconds)
    assert str(error) == "s: no item for 7 s; what had come was held back"


def test_the_first_item_of_a_stream_that_is_held_back_is_still_waited_for():
    retry = Retry(attempts=2, base=0, jitter="none", hold=2, budget=None)
    error, _ = ended_by([(100, "a")], stream_timeout=StreamTimeout(first_item=50, between_items=7), retry=retry)
    assert str(error) == "s: no item within 50 s"


def test_items_that_are_no_progress_are_not_denied():
    error, _ = ended_by([(0.5, "data"), *[(0.5, "ping")] * 100],
                        stream_timeout=StreamTimeout(between_items=3, progress=lambda item: item != "ping"))
    assert str(error) == "s: no progress for 3 s after 6 items"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
