"""A stream whose first item was judged failed at every target of a failover gave its consumer that item, and counted none
under ``emit``: consumers had been given more items than were counted.
"""

import pytest

from resilience import Failover, FailureRules, Registry, command
from resilience.testing import virtual_time


@pytest.mark.parametrize("is_async", [True, False])
def test_the_item_of_the_last_target_is_counted_there(is_async):
    guard = command(timeout=None, failover=Failover(("a", "b")), registry=Registry(),
                    failures=FailureRules(items=lambda item: item == "error"))

    @guard
    def stream(*, target="a"):
        yield "error"
        yield target

    @guard
    async def events(*, target="a"):
        yield "error"
        yield target

    async def read():
        return [item async for item in events()]

    items = virtual_time(read()) if is_async else list(stream())

    assert items == ["error"]
    handle = events.resilience["b"] if is_async else stream.resilience["b"]
    assert (handle.snapshot().counts["emit"], handle.snapshot().counts["failure"]) == (1, 1)
