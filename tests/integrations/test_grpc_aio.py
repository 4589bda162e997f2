"""The interceptors of grpc.aio against a real server: as test_grpc, and cancelled callers, timeouts and idle streams."""

from __future__ import annotations

import asyncio
import random

import grpc
import pytest

from resilience import (
    BulkheadFullError,
    CallTimeoutError,
    CircuitBreaker,
    CircuitOpenError,
    FailureRules,
    Registry,
    Retry,
    deadline,
)
from resilience.errors import ConfigError
from resilience.integrations.grpc_aio import aio_interceptors
from resilience.integrations.grpc_status import AioGuardRpcError
from tests.integrations.rpc import Server, Stub

NEVER = CircuitBreaker(min_calls=1000)
VERDICTS = ("success", "failure", "busy", "bad_request", "timeout")


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
async def stubs(server):
    channels = []

    def make(**settings):
        registry = Registry()
        settings = {"breaker": NEVER, "registry": registry, **settings}
        channel = grpc.aio.insecure_channel(server.target, interceptors=aio_interceptors(**settings))
        channels.append(channel)
        return Stub(channel), registry

    yield make
    for channel in channels:
        await channel.close()


def counts(registry, method="Get"):
    found = registry[f"shop.Stock/{method}"].snapshot().counts
    return {name: found[name] for name in VERDICTS if found[name]}


async def idle(registry, method="List"):
    """Wait until no RPC of the method holds a slot."""
    while registry[f"shop.Stock/{method}"].snapshot().in_flight:
        await asyncio.sleep(0.001)


async def listed(call):
    return [message async for message in call]


async def requests(*words):
    for word in words:
        yield word


async def test_each_method_is_a_command_and_its_status_codes_are_judged(stubs):
    stub, registry = stubs()
    assert b"fine" == await stub.Get(b"fine")
    for code in ("NOT_FOUND", "UNAVAILABLE", "INTERNAL", "UNIMPLEMENTED", "RESOURCE_EXHAUSTED", "pushback"):
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.Get(code.encode())
    assert {"success": 1, "failure": 2, "bad_request": 2, "busy": 2} == counts(registry)
    assert [b"one", b"two"] == await listed(stub.List(b"one two"))
    assert b"1 2" == await stub.Sum(requests(b"1", b"2"))
    assert [b"a", b"b"] == await listed(stub.Chat(requests(b"a", b"b")))
    assert [{"success": 1}] * 3 == [counts(registry, method) for method in ("List", "Sum", "Chat")]


async def test_the_call_of_a_guarded_stub_can_be_asked_as_ever(stubs):
    stub, registry = stubs()
    call = stub.Get(b"fine")
    assert (b"fine", grpc.StatusCode.OK) == (await call, await call.code())
    call = stub.Get(b"NOT_FOUND")
    assert (grpc.StatusCode.NOT_FOUND, "as asked") == (await call.code(), await call.details())
    call = stub.List(b"one")
    assert (b"one", grpc.aio.EOF) == (await call.read(), await call.read())
    assert grpc.StatusCode.OK is await call.code()
    chat = stub.Chat()
    await chat.write(b"hello")
    assert b"hello" == await chat.read()
    await chat.done_writing()
    assert grpc.aio.EOF is await chat.read()
    assert [{"success": 1}] * 2 == [counts(registry, method) for method in ("List", "Chat")]


async def test_an_open_circuit_refuses_with_an_error_that_is_both(stubs, server):
    stub, registry = stubs(breaker=CircuitBreaker(consecutive=1, open_for=5.0, failure_rate=None))
    for call in (stub.Get(b"UNAVAILABLE"), listed(stub.List(b"UNAVAILABLE")), stub.Sum(requests(b"UNAVAILABLE")),
                 listed(stub.Chat(requests(b"UNAVAILABLE")))):
        with pytest.raises(grpc.aio.AioRpcError):
            await call
    before = len(server.calls)
    for call in (stub.Get(b"fine"), listed(stub.List(b"fine")), stub.Sum(requests(b"fine")),
                 listed(stub.Chat(requests(b"fine")))):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        error = caught.value
        assert isinstance(error, CircuitOpenError)
        assert isinstance(error, AioGuardRpcError)
        assert grpc.StatusCode.UNAVAILABLE is error.code()
        assert 0 < int(error.trailing_metadata()["grpc-retry-pushback-ms"]) <= 5000
        assert "the circuit is open" in error.details()
    assert before == len(server.calls)
    call = stub.Get(b"fine")
    assert (grpc.StatusCode.UNAVAILABLE, True) == (await call.code(), "open" in await call.details())


async def test_a_retry_is_for_one_request_and_one_answer(stubs, server):
    stub, registry = stubs(retry=Retry(attempts=3, base=0.001, max_delay=0.001))
    before = len(server.calls)
    for call in (stub.Get(b"INTERNAL"), stub.Get(b"NOT_FOUND"), stub.Get(b"pushback"), listed(stub.List(b"INTERNAL")),
                 stub.Sum(requests(b"INTERNAL"))):
        with pytest.raises(grpc.aio.AioRpcError):
            await call
    assert 3 + 1 + 1 + 1 + 1 == len(server.calls) - before


async def test_a_stream_holds_its_slot_until_it_has_been_read(stubs):
    stub, registry = stubs(max_concurrent=1)
    stream = stub.List(b"one two")
    messages = aiter(stream)
    assert b"one" == await anext(messages)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await listed(stub.List(b"three"))
    assert isinstance(caught.value, BulkheadFullError)
    assert [b"two"] == [message async for message in messages]
    assert [b"three"] == await listed(stub.List(b"three"))
    assert {"success": 2} == counts(registry, "List")


@pytest.mark.parametrize("way", ["cancel", "cancel unread", "cancel the task"])
async def test_a_stream_that_is_left_gives_its_slot_back_and_ends_the_rpc(stubs, server, way):
    stub, registry = stubs(max_concurrent=1)
    stream = stub.List(b"one hang")
    if way == "cancel":
        messages = aiter(stream)
        assert b"one" == await anext(messages)
    task = asyncio.create_task(listed(stream)) if way == "cancel the task" else None
    await asyncio.to_thread(server.hanging.acquire)
    if task is None:
        stream.cancel()
    else:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await idle(registry)
    assert await asyncio.to_thread(server.ended.acquire, timeout=30)
    assert "failure" not in counts(registry, "List")


async def test_a_stream_whose_deadline_passes_while_nobody_reads_gives_its_slot_back_and_has_failed(stubs):
    stub, registry = stubs(max_concurrent=1)
    stream = stub.List(b"one hang", timeout=0.05)
    while "shop.Stock/List" not in registry or not counts(registry, "List"):
        await asyncio.sleep(0.001)
    await idle(registry)
    assert {"failure": 1} == counts(registry, "List")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await listed(stream)
    assert grpc.StatusCode.DEADLINE_EXCEEDED is caught.value.code()


async def test_a_cancelled_caller_and_a_timeout_cancel_the_rpc(stubs, server):
    stub, registry = stubs(max_concurrent=1)
    task = asyncio.create_task(_awaited(stub.Get(b"hang")))
    await asyncio.to_thread(server.hanging.acquire)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await idle(registry, "Get")
    assert await asyncio.to_thread(server.ended.acquire, timeout=30)
    assert {} == counts(registry)
    stub, registry = stubs(timeout=0.05)
    for call in (stub.Get(b"hang"), listed(stub.List(b"hang"))):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert isinstance(caught.value, CallTimeoutError)
        assert grpc.StatusCode.DEADLINE_EXCEEDED is caught.value.code()


async def _awaited(call):
    return await call


async def test_the_callers_deadline_is_the_rpcs_and_no_fault_of_the_server(stubs):
    stub, registry = stubs()
    with deadline(0.05), pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Get(b"hang")
    assert grpc.StatusCode.DEADLINE_EXCEEDED is caught.value.code()
    assert "failure" not in counts(registry)


async def test_messages_are_judged_by_items_and_the_beginning_is_none(stubs):
    seen = []

    def judge(ending):
        seen.append(ending.result if ending.is_item else type(ending.error).__name__)
        return True if ending.result == b"error" else None

    stub, registry = stubs(failures=FailureRules(judge))
    assert [b"one", b"error"] == await listed(stub.List(b"one error"))
    assert b"fine" == await stub.Get(b"fine")
    assert [b"one", b"error"] == seen
    assert {"failure": 1} == counts(registry, "List")


@pytest.mark.parametrize("settings", [{"fallback": lambda: None}, {"retries": 3}, {"hedge": object()}])
def test_what_is_not_for_rpcs_is_refused(settings):
    with pytest.raises(ConfigError):
        aio_interceptors(**settings)


async def test_random_histories_agree_with_a_plain_count_and_leave_no_slot_behind(stubs, server):
    stub, registry = stubs(max_concurrent=64)
    rng, expected = random.Random(5), {"success": 0, "failure": 0, "bad_request": 0, "busy": 0}
    outcomes = {b"fine": "success", b"INTERNAL": "failure", b"NOT_FOUND": "bad_request", b"RESOURCE_EXHAUSTED": "busy"}

    async def history(words):
        for word, way in words:
            if way == "cancel":
                stream = stub.List(b"one hang")
                await anext(aiter(stream))
                stream.cancel()
                continue
            try:
                await {"list": lambda word: listed(stub.List(b"one " + word)), "get": stub.Get,
                       "sum": lambda word: stub.Sum(requests(word))}[way](word)
            except grpc.aio.AioRpcError:
                pass
            expected[outcomes[word]] += 1

    plans = [[(rng.choice(list(outcomes)), rng.choice(("list", "get", "sum", "cancel"))) for _ in range(25)]
             for _ in range(8)]
    await asyncio.gather(*map(history, plans))
    for method in ("Get", "List", "Sum"):
        await idle(registry, method)
    found = {name: sum(registry[f"shop.Stock/{method}"].snapshot().counts[name] for method in ("Get", "List", "Sum"))
             for name in expected}
    assert expected == found
