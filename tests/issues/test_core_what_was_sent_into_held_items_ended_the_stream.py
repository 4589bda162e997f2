"""A value that a consumer sent to a generator while it was given the items that a retry had held back was an error.

It raised an AttributeError about an iterator of a list, which counted as a failure of the target. The same value sent
to an async generator is dropped.
"""

import pytest

from resilience import Registry, Retry, command
from resilience.testing import virtual_time


class Echo:
    """A generator of either kind, which holds back its first items and notes what it is sent."""

    def __init__(self, is_async, **held):
        self.heard = []
        guard = command(key="echo", timeout=None, retry=Retry(**held), registry=Registry())
        self.fn = guard(self._items_async if is_async else self._items)

    def _items(self):
        for item in range(4):
            self.heard.append((yield item))

    async def _items_async(self):
        for item in range(4):
            self.heard.append((yield item))

    def conversation(self):
        """What the consumer gets, who sends a value after each item."""
        return virtual_time(self._spoken_async()) if hasattr(self.fn(), "asend") else self._spoken()

    def _spoken(self):
        stream = self.fn()
        return [next(stream), *(stream.send(value) for value in "abc")]

    async def _spoken_async(self):
        stream = self.fn()
        return [await anext(stream), *[await stream.asend(value) for value in "abc"]]


@pytest.mark.parametrize("is_async", [False, True], ids=["generator", "async generator"])
@pytest.mark.parametrize("held", [{"hold": 2}, {"hold_bytes": 2, "hold_size": lambda item: 1}], ids=["hold", "hold_bytes"])
def test_what_is_sent_while_held_items_are_passed_on_is_dropped_and_later_values_arrive(held, is_async):
    echo = Echo(is_async, **held)
    assert echo.conversation() == [0, 1, 2, 3]
    assert echo.heard == [None, None, "c"]
    assert not echo.fn.resilience.snapshot().counts["failure"]
