"""An iterator of requests that raised, or a serializer, opened the circuit of a service that was well: grpc reports both
by a status code, UNKNOWN and INTERNAL, as if the service had answered.
"""

import grpc
import pytest

from resilience import CircuitBreaker, Registry
from resilience.integrations.grpc import GuardInterceptor
from tests.drivers.until import until
from tests.integrations.rpc import Server


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


def unserializable(message):
    raise ValueError(message)


def broken():
    yield b"apple"
    raise KeyError("no more")


@pytest.mark.parametrize(("method", "ask"), [
    ("Sum", lambda channel: channel.stream_unary("/shop.Stock/Sum")(broken())),
    ("Sum", lambda channel: channel.stream_unary("/shop.Stock/Sum").future(broken()).result()),
    ("Chat", lambda channel: list(channel.stream_stream("/shop.Stock/Chat")(broken()))),
    ("Get", lambda channel: channel.unary_unary("/shop.Stock/Get", request_serializer=unserializable)(b"apple")),
    ("List", lambda channel: list(channel.unary_stream("/shop.Stock/List", request_serializer=unserializable)(b"apple"))),
    ("Chat", lambda channel: list(
        channel.stream_stream("/shop.Stock/Chat", request_serializer=unserializable)(iter([b"apple"]))))])
def test_they_are_the_callers_fault(method, ask, server):
    registry = Registry()
    guard = GuardInterceptor(registry=registry, breaker=CircuitBreaker(min_calls=1))
    with grpc.insecure_channel(server.target) as plain:
        with pytest.raises(grpc.RpcError):
            ask(grpc.intercept_channel(plain, guard))
        handle = registry[f"shop.Stock/{method}"]
        until(lambda: handle.in_flight == 0)  # grpc's own thread ends a future
        counts = handle.snapshot().counts
        assert (1, 0, "closed") == (counts["bad_request"], counts["failure"], handle.state)
