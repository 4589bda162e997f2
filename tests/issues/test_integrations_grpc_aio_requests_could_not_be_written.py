"""An RPC of grpc.aio with one answer to a stream of requests hung in its first write(): grpc.aio writes when all
interceptors have returned, and the guard's returned when the answer was there.
"""

import asyncio

import grpc
import pytest

from resilience import CallTimeoutError, CircuitBreaker, CircuitOpenError, Registry
from resilience.integrations.grpc_aio import aio_interceptors
from resilience.integrations.grpc_status import AioGuardRpcError
from tests.integrations.rpc import Server, Stub

NAMES = ("success", "failure", "timeout", "cancelled", "short_circuited")


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
async def make(server):
    channels = []

    def make(**settings):
        registry = Registry()
        settings = {"breaker": CircuitBreaker(min_calls=1000), "registry": registry, **settings}
        channels.append(grpc.aio.insecure_channel(server.target, interceptors=aio_interceptors(**settings)))
        return Stub(channels[-1]), registry

    yield make
    for channel in channels:
        await channel.close()


async def counts(registry, method="Sum"):
    handle = registry[f"shop.Stock/{method}"]
    while handle.snapshot().in_flight:
        await asyncio.sleep(0.001)
    found = handle.snapshot().counts
    return {name: found[name] for name in NAMES if found[name]}


async def written(call, *words):
    for word in words:
        await call.write(word)
    await call.done_writing()
    return call


async def test_requests_can_be_written_and_the_answer_awaited(make):
    stub, registry = make()

    call = await written(stub.Sum(), b"one", b"two")

    assert await call == b"one two"
    assert await call == b"one two"
    assert await call.code() is grpc.StatusCode.OK
    assert await counts(registry) == {"success": 1}


async def test_requests_of_a_stream_can_be_written(make):
    stub, registry = make()

    call = await written(stub.Chat(), b"one", b"two")

    assert [message async for message in call] == [b"one", b"two"]
    assert await counts(registry, "Chat") == {"success": 1}


async def test_a_failed_rpc_is_a_failure_whether_its_answer_is_awaited_or_not(make):
    stub, registry = make()

    call = await written(stub.Sum(), b"UNAVAILABLE")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    other = await written(stub.Sum(), b"INTERNAL")
    assert await other.code() is grpc.StatusCode.INTERNAL

    assert await counts(registry) == {"failure": 2}


async def test_an_rpc_that_is_cancelled_while_requests_are_written_gives_its_slot_back(make):
    stub, registry = make(max_concurrent=1)

    call = stub.Sum()
    await call.write(b"one")
    assert registry["shop.Stock/Sum"].snapshot().in_flight == 1
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert await counts(registry) == {"cancelled": 1}


async def test_a_cancelled_caller_cancels_the_rpc(make, server):
    stub, registry = make()
    call, waits = await written(stub.Sum(), b"hang"), asyncio.Event()

    async def wait():
        waits.set()
        await call

    waiting = asyncio.create_task(wait())
    await waits.wait()
    while not server.hanging.acquire(blocking=False):
        await asyncio.sleep(0.001)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert call.cancelled()
    assert await counts(registry) == {"cancelled": 1}


async def test_a_timeout_of_the_command_ends_the_rpc(make):
    stub, registry = make(timeout=0.1)

    call = await written(stub.Sum(), b"hang")
    with pytest.raises(AioGuardRpcError) as caught:
        await call

    assert isinstance(caught.value, CallTimeoutError)
    assert call.cancelled()
    assert await counts(registry) == {"timeout": 1}


async def test_a_refused_rpc_says_so_when_it_is_awaited(make):
    stub, registry = make()
    assert await stub.Sum(iter([b"one"])) == b"one"
    registry["shop.Stock/Sum"].force_open()

    call = stub.Sum()
    with pytest.raises(asyncio.InvalidStateError):
        await call.write(b"one")
    with pytest.raises(AioGuardRpcError) as caught:
        await call

    assert isinstance(caught.value, CircuitOpenError)
