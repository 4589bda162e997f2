"""A stream that its reader had cancelled held its slot until a thread of gRPC came to say so, and the next was refused."""

import grpc

from resilience import Registry
from resilience.integrations.grpc import GuardInterceptor
from tests.integrations.rpc import Server


def test_a_stream_that_is_cancelled_gives_its_slot_back_at_once():
    server, registry = Server(), Registry()
    guard = GuardInterceptor(registry=registry, max_concurrent=1)
    with grpc.insecure_channel(server.target) as plain:
        ask = grpc.intercept_channel(plain, guard).unary_stream("/shop.Stock/List")
        for _ in range(20):
            stream = ask(b"apple hang")
            next(stream)
            assert stream.cancel()
    snapshot = registry["shop.Stock/List"].snapshot()
    server.stop()
    assert (20, 0, 0) == (snapshot.counts["cancelled"], snapshot.counts["semaphore_rejected"], snapshot.in_flight)
