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
