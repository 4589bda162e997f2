"""aio_interceptors(retry=..., key=lambda method: "prices") raised ConfigError for the second kind of RPC on a channel.

The retry stood in the settings of unary RPCs alone, and functions with one command have to agree.
"""

from __future__ import annotations

import grpc
import pytest

from resilience import CircuitBreaker, Registry, Retry
from resilience.integrations.grpc_aio import aio_interceptors
from tests.integrations.rpc import Server, Stub


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


async def test_all_kinds_of_rpcs_may_share_one_command_with_a_retry(server):
    registry = Registry()
    interceptors = aio_interceptors(registry=registry, key=lambda method: "all", breaker=CircuitBreaker(min_calls=1000),
                                    retry=Retry(attempts=3, base=0.001, max_delay=0.001))

    async def requests(*words):
        for word in words:
            yield word

    async with grpc.aio.insecure_channel(server.target, interceptors=interceptors) as channel:
        stub = Stub(channel)
        assert b"one" == await stub.Get(b"one")
        assert [b"one", b"two"] == [message async for message in stub.List(b"one two")]
        assert b"one" == await stub.Sum(requests(b"one"))
        assert [b"one"] == [message async for message in stub.Chat(requests(b"one"))]
        before = len(server.calls)
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.Get(b"INTERNAL")
        assert 3 == len(server.calls) - before
        for call in (stub.List(b"INTERNAL"), stub.Chat(requests(b"INTERNAL"))):
            with pytest.raises(grpc.aio.AioRpcError):
                assert [message async for message in call]
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.Sum(requests(b"INTERNAL"))
        assert 3 + 3 == len(server.calls) - before  # the others were begun once each
    assert 4 == registry["all"].snapshot().counts["success"]


@pytest.mark.parametrize("kind", ["Sum", "Chat", "List"])
async def test_a_stream_that_another_interceptor_does_not_begin_is_not_begun_again(server, kind):
    registry, begun = Registry(), []

    async def failing(continuation, details, request):
        begun.append(details.method)
        raise ConnectionError("no token for the request")

    class Sum(grpc.aio.StreamUnaryClientInterceptor):
        async def intercept_stream_unary(self, continuation, client_call_details, request_iterator):
            return await failing(continuation, client_call_details, request_iterator)

    class Chat(grpc.aio.StreamStreamClientInterceptor):
        async def intercept_stream_stream(self, continuation, client_call_details, request_iterator):
            return await failing(continuation, client_call_details, request_iterator)

    class List(grpc.aio.UnaryStreamClientInterceptor):
        async def intercept_unary_stream(self, continuation, client_call_details, request):
            return await failing(continuation, client_call_details, request)

    guards = aio_interceptors(registry=registry, breaker=CircuitBreaker(min_calls=1000), failures=None,
                              retry=Retry(attempts=3, base=0.001, budget=None))

    async def requests():
        yield b"one"

    async with grpc.aio.insecure_channel(server.target, interceptors=[*guards, Sum(), Chat(), List()]) as channel:
        call = getattr(Stub(channel), kind)(b"one" if kind == "List" else requests())
        with pytest.raises(ConnectionError, match="no token for the request"):
            if kind == "Sum":
                await call
            else:
                assert [message async for message in call]
    assert 1 == len(begun)
    assert (1, 0) == (registry[f"shop.Stock/{kind}"].snapshot().counts["failure"],
                      registry[f"shop.Stock/{kind}"].snapshot().in_flight)
