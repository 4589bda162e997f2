"""The interceptor of OpenTelemetry returns a generator for a stream, and no call. A guard around a channel that has it raised
AttributeError for each stream, and kept its slot.
"""

import gc

import grpc
import pytest

from resilience import CircuitBreaker, Registry
from resilience.integrations.grpc import GuardInterceptor
from tests.integrations.rpc import Server, Stub


class Generator(grpc.UnaryStreamClientInterceptor, grpc.StreamStreamClientInterceptor):
    def intercept_unary_stream(self, continuation, client_call_details, request):
        yield from continuation(client_call_details, request)

    intercept_stream_stream = intercept_unary_stream


class Iterator(Generator):
    def intercept_unary_stream(self, continuation, client_call_details, request):
        return map(bytes, continuation(client_call_details, request))

    intercept_stream_stream = intercept_unary_stream


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


@pytest.mark.parametrize("other", [Generator, Iterator])
def test_they_are_guarded_until_they_are_read_or_dropped(other, server):
    registry = Registry()
    guard = GuardInterceptor(registry=registry, max_concurrent=1, breaker=CircuitBreaker(min_calls=100))
    with grpc.insecure_channel(server.target) as plain:
        stub = Stub(grpc.intercept_channel(plain, guard, other()))
        assert [b"one", b"two"] == list(stub.List(b"one two"))
        assert [b"one"] == list(stub.Chat(iter([b"one"])))
        with pytest.raises(grpc.RpcError, match="as asked"):
            list(stub.List(b"one INTERNAL"))
        for begin in (lambda stream: None, next):
            stream = stub.List(b"one hang")
            begin(stream)
            with pytest.raises(grpc.RpcError, match="full"):
                list(stub.List(b"one"))
            del stream
            gc.collect()
        snapshot = registry["shop.Stock/List"].snapshot()
    assert (1, 1, 2, 0) == (*(snapshot.counts[name] for name in ("success", "failure", "cancelled")), snapshot.in_flight)
