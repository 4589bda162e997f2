"""gRPC wants an interceptor to return a ``grpc.Call`` for a stream, and its own streams are ``grpc.Future`` too. What a guard
returned was neither to ``isinstance``. So the interceptor of OpenTelemetry ended the span of a stream when it had begun.
"""

import grpc

from resilience import Registry
from resilience.integrations.grpc import GuardInterceptor
from tests.drivers.until import until
from tests.integrations.rpc import Server, Stub


def test_a_guarded_stream_is_what_a_bare_one_is():
    server, ended = Server(), []
    with grpc.insecure_channel(server.target) as plain:
        stub = Stub(grpc.intercept_channel(plain, GuardInterceptor(registry=Registry())))
        for stream in (stub.List(b"one two"), stub.Chat(iter([b"one", b"two"]))):
            assert isinstance(stream, grpc.Call)
            assert isinstance(stream, grpc.Future)
            stream.add_done_callback(ended.append)
            assert [b"one", b"two"] == list(stream)
            assert grpc.StatusCode.OK is stream.code()
    until(lambda: len(ended) == 2)  # gRPC's own thread tells
    server.stop()
    assert [grpc.StatusCode.OK] * 2 == [each.code() for each in ended]
