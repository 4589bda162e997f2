"""httpcore gives an idle connection to several requests at once, which take its lock one after the other to find out who was
first. Whoever closed a response meanwhile waited for that lock; was it cancelled there, the connection was never free again.
A request that failed in the moment in which it was cancelled was retried, since the cancellation was forgotten.
"""

import asyncio

import httpx
import httpx2
import pytest

from resilience import Registry, Retry
from resilience.integrations import httpx as our_httpx
from resilience.integrations import httpx2 as our_httpx2
from tests.integrations.test_httpx_cancellation import Server

BOTH = pytest.mark.parametrize(("theirs", "ours"), [(httpx, our_httpx), (httpx2, our_httpx2)], ids=["httpx", "httpx2"])


def guarded(theirs, ours):
    transport = ours.AsyncResilienceTransport(registry=Registry(), timeout=None, retry=Retry(attempts=2, base=0))
    return theirs.AsyncClient(transport=transport, trust_env=False), transport._inner._pool


async def cancelled_under_lock(task, pool, begin):
    """Cancel the task while it waits for the lock of the only connection; *begin* is called when that is held."""
    async with pool.connections[0]._connection._state_lock:
        begin()
        for _ in range(20):
            await asyncio.sleep(0)
        task.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not task.done()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [] == [each for each in pool.connections if not each.is_idle()]
    assert [] == pool._requests


@BOTH
async def test_a_response_is_closed_although_its_reader_is_cancelled(theirs, ours):
    async with Server().serving() as server:
        client, pool = guarded(theirs, ours)
        async with client:
            response = await client.send(client.build_request("GET", f"{server.url}/fast"), stream=True)
            go = asyncio.Event()

            async def read():
                await go.wait()
                await response.aread()

            await cancelled_under_lock(asyncio.create_task(read()), pool, go.set)


@BOTH
async def test_a_connection_is_closed_although_who_has_failed_to_send_is_cancelled(theirs, ours):
    async with Server().serving() as server:
        client, pool = guarded(theirs, ours)
        begun, go, sent = asyncio.Event(), asyncio.Event(), []

        async def body():
            sent.append(1)
            begun.set()
            await go.wait()
            raise OSError("the disk is broken")
            yield b""

        async with client:
            task = asyncio.create_task(client.put(f"{server.url}/fast", content=body()))
            await begun.wait()
            await cancelled_under_lock(task, pool, go.set)
            assert [1] == sent
