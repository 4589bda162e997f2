"""``athrow(StopAsyncIteration)`` into an async generator whose first items are held back ended it as if it were complete, where Python
makes a RuntimeError of it, with and without a guard.
"""

import pytest

from resilience import Registry, Retry, command
from resilience.testing import ManualClock, assert_idle


@pytest.mark.parametrize("taken", [1, 3, 4])
@pytest.mark.parametrize("settings", [{}, {"retry": Retry(base=0.0, hold=3)}], ids=["bare", "held"])
async def test_an_end_that_is_thrown_into_a_stream_is_an_error(settings, taken):
    @command(registry=Registry(clock=ManualClock()), timeout=None, **settings)
    async def numbers():
        for number in range(6):
            yield number

    stream = numbers()
    assert list(range(taken)) == [await anext(stream) for _ in range(taken)]
    with pytest.raises(RuntimeError, match="async generator raised StopAsyncIteration"):
        await stream.athrow(StopAsyncIteration())
    assert_idle(numbers)
