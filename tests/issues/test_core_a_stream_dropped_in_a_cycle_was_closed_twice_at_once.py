"""The garbage collector finds a guarded async generator in a cycle together with the one that it runs.

asyncio then closes each with a task of its own, and ours closed the inner one as well: one of the two failed, and its
task's RuntimeError was logged as never retrieved. Or it did not wait for the inner one, and gave its slot back before
that had ended. Every streamed response of httpx that is dropped is such a cycle.

The end of a loop closes all that there are in the same way. asyncio.run() did not return at all if such a cycle had been
collected right before.
"""

import asyncio
import contextlib
import gc
import threading

import httpx
import pytest

from resilience import Bulkhead, Failover, Fallback, Hedge, Registry, Retry, StreamTimeout, command
from resilience.drivers.stream_leases import own
from resilience.engine.error_translation import translated
from resilience.engine.wrapper_spec import Flavour
from resilience.integrations import circuitbreaker, pybreaker
from resilience.integrations.httpx import AsyncResilienceTransport
from resilience.testing import virtual_time

SETTINGS = {
    "alone": {},
    "by key": {"key": lambda **_: "stream"},
    "retry": {"retry": Retry(hold=1)},
    "hedge": {"hedge": Hedge(idempotent=True, delay=1.0)},
    "failover": {"failover": Failover(("a", "b"))},
    "stream timeout": {"stream_timeout": StreamTimeout(total=60.0)},
}


class Body(httpx.AsyncByteStream):
    """What takes its time to close; its user is told how many calls were under way then."""

    def __init__(self, registry):
        self.registry, self.closed = registry, []

    async def __aiter__(self):
        yield b"1"
        yield b"2"

    async def aclose(self):
        await asyncio.sleep(1.0)
        self.closed.append(sum(each.in_flight for each in self.registry))


@contextlib.asynccontextmanager
async def nothing_logged():
    """See that the loop has nothing to complain of, and give it time to close what is dropped."""
    said = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
    yield
    gc.collect()
    await asyncio.sleep(5.0)
    gc.collect()
    assert not said


async def left_in_a_cycle(stream):
    """Take one item; nobody refers to the stream any more, but itself."""
    around = [stream]
    around.append(around)
    assert await anext(stream) == b"1"


async def dropped(guard, body):
    async def stream(target=None):
        try:
            yield b"1"
            yield b"2"
        finally:
            await body.aclose()

    async with nothing_logged():
        await asyncio.create_task(left_in_a_cycle(guard(stream)()))


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_stream_dropped_in_a_cycle_is_closed_once_and_holds_its_slot_until_then(settings):
    body = Body(registry := Registry())
    guard = command(**{"key": "stream", "timeout": None, "max_concurrent": Bulkhead(2), "registry": registry, **settings})
    virtual_time(dropped(guard, body))
    assert body.closed == [1]
    assert not any(each.in_flight for each in registry)


def test_so_is_the_stream_of_a_fallback():
    body = Body(registry := Registry())

    def guard(answer):
        @command(key="stream", timeout=None, registry=registry, fallback=Fallback(answer))
        async def stream():
            raise ConnectionError
            yield

        return stream

    virtual_time(dropped(guard, body))
    assert len(body.closed) == 1


def test_so_is_one_whose_errors_are_translated():
    body = Body(registry := Registry())
    guard = command(key="stream", timeout=None, registry=registry)
    virtual_time(dropped(lambda stream: translated(guard(stream), Flavour.ASYNC_GENERATOR, OSError), body))
    assert body.closed == [1]


@pytest.mark.parametrize("breaker", [circuitbreaker.CircuitBreaker, pybreaker.CircuitBreaker])
def test_so_is_one_of_the_breakers_of_other_libraries(breaker):
    body = Body(Registry())
    virtual_time(dropped(breaker(), body))
    assert len(body.closed) == 1


async def used(client):
    response = await client.send(client.build_request("GET", "http://shop"), stream=True)
    assert response.status_code == 200


def test_so_is_a_response_of_httpx():
    body = Body(registry := Registry())

    class Inner(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            return httpx.Response(200, stream=body)

    async def main():
        client = httpx.AsyncClient(transport=AsyncResilienceTransport(Inner(), registry=registry))
        async with nothing_logged():
            await asyncio.create_task(used(client))

    virtual_time(main())
    assert body.closed
    assert set(body.closed) == {1}


@pytest.mark.parametrize("is_collected", [True, False])
def test_the_end_of_a_loop_closes_a_stream_once_and_waits_for_no_other(is_collected):
    said, closed, registry = [], [], Registry()

    @command(key="stream", timeout=None, registry=registry)
    async def stream():
        try:
            yield b"1"
            yield b"2"
        finally:
            await asyncio.sleep(0.001)
            closed.append(sum(each.in_flight for each in registry))

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
        await left_in_a_cycle(stream())
        if is_collected:
            gc.collect()

    run = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    run.start()
    run.join(10.0)
    assert not run.is_alive()
    assert not said
    assert is_collected or closed == [1]  # else asyncio cancels the task that would close it, before its first step
    assert not any(each.in_flight for each in registry)


async def test_a_generator_that_has_begun_or_ended_is_as_it_was():
    async def letters():
        for letter in "abc":
            yield letter

    begun = letters()
    assert await anext(begun) == "a"
    assert [each async for each in own(begun)] == ["b", "c"]
    assert [each async for each in own(begun)] == []
    assert [each async for each in own(letters())] == ["a", "b", "c"]
    assert [each async for each in own(own(letters()))] == ["a", "b", "c"]
