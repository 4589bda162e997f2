"""A hedged call of a failover that was pending when its loop was closed is closed by the garbage collector, in another
context than its own: "Exception ignored ... ValueError: Token was created in a different Context" was printed.
"""

import asyncio
import gc

import pytest

from resilience import Failover, Hedge, command


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_call_that_is_pending_when_its_loop_is_closed_ends_quietly(registry, monkeypatch, is_stream):
    noise = []
    monkeypatch.setattr("sys.unraisablehook", lambda each: noise.append(each.exc_value))
    guard = command(key="k", registry=registry, timeout=None, failover=Failover(("eu", "us")),
                    hedge=Hedge(idempotent=True, delay=0.5))

    @guard if not is_stream else lambda fn: fn
    async def fetch(target=None):
        await asyncio.Event().wait()

    @guard if is_stream else lambda fn: fn
    async def items(target=None):
        await asyncio.Event().wait()
        yield

    async def main():
        task = asyncio.ensure_future(anext(items()) if is_stream else fetch())
        task._log_destroy_pending = False
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return task

    loop = asyncio.new_event_loop()
    task = loop.run_until_complete(main())
    loop.close()
    del task
    gc.collect()

    assert [] == noise
