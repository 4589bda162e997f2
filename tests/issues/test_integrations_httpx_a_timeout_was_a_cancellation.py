"""A timeout of a guarded ``AsyncClient`` that ran out while httpcore waited for nothing, as under a blocked event loop, reached
the caller as a CancelledError that nobody had asked for. The guard held it back there, and httpcore's timeout never saw it.
"""

import asyncio

import httpx
import httpx2
import pytest

from resilience import Registry
from resilience.integrations import httpx as our_httpx
from resilience.integrations import httpx2 as our_httpx2
from resilience.integrations import httpx_cancellation
from tests.integrations.http_clients import serving


@pytest.mark.parametrize(("theirs", "ours"), [(httpx, our_httpx), (httpx2, our_httpx2)])
async def test_a_timeout_is_a_timeout_of_the_clients(theirs, ours):
    registry = Registry()
    transport = ours.AsyncResilienceTransport(registry=registry, timeout=None)
    with serving() as server:
        async with theirs.AsyncClient(transport=transport, trust_env=False) as client:
            await client.get(f"{server.url}/200")
            for path in ("200", "200/wait", "200"):
                with pytest.raises(theirs.TimeoutException):
                    await client.get(f"{server.url}/{path}", timeout=theirs.Timeout(5.0, read=1e-9, write=1e-9))
            await client.get(f"{server.url}/200")
        (handle,) = registry
        counts = handle.snapshot().counts
    assert (2, 3, 0) == (counts["success"], counts["failure"], counts["cancelled"])
    assert 0 == asyncio.current_task().cancelling()


async def test_a_cancellation_that_was_taken_back_is_not_raised():
    async def turn(task):
        task.cancel()
        await asyncio.sleep(0)
        task.uncancel()

    held = httpx_cancellation.Held()
    await httpx_cancellation.unbroken(turn(asyncio.current_task()), held)
    assert held
    held.release()
    assert not held
