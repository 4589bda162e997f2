"""The guard of an object with an async ``__call__`` hid it: frameworks that ask ``__call__`` ran it in a thread."""

import asyncio
import inspect

from resilience import command


class Fetch:
    async def __call__(self, x):
        return x


def test_inspect_still_sees_a_coroutine_function(registry):
    fetch = command(registry=registry)(Fetch())

    assert inspect.iscoroutinefunction(fetch.__call__)
    assert inspect.iscoroutinefunction(Fetch().__call__) == inspect.iscoroutinefunction(fetch.__call__)
    assert (2, 3) == (asyncio.run(fetch(2)), asyncio.run(fetch.__call__(3)))
    assert 2 == fetch.resilience.snapshot().counts["success"]
