"""A call on a channel that is closed, or with a timeout or metadata that nobody can be sent, opened the circuit of a service
that had never heard of it. gRPC raises a ValueError, a TypeError or an error of its own about most of these, and ends the
call with INTERNAL for metadata.
"""

import asyncio
import contextlib

import grpc
import pytest

from resilience import CircuitBreaker, Registry
from resilience.integrations.grpc import GuardInterceptor
from resilience.integrations.grpc_aio import aio_interceptors
from tests.drivers.until import until
from tests.integrations.rpc import Server, Stub

MISTAKES = [{"metadata": [("Upper", "x")]}, {"metadata": [("a", 5)]}, {"metadata": "abc"}, {"timeout": "soon"}, {"compression": 99}]


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.stop()


def blamed(registry):
    """The verdicts of all calls, without those of which there is none."""
    until(lambda: all(handle.in_flight == 0 for handle in registry))  # grpc's own thread ends a future
    assert {"closed"} == {str(handle.state.value) for handle in registry}
    counts = [handle.snapshot().counts for handle in registry]
    return {name for each in counts for name in ("success", "failure", "busy", "bad_request") if each[name]}


def calls_of(stub, options):
    return (lambda: stub.Get(b"a", **options), lambda: stub.Get.future(b"a", **options).result(),
            lambda: list(stub.List(b"a", **options)), lambda: stub.Sum(iter([b"a"]), **options),
            lambda: list(stub.Chat(iter([b"a"]), **options)))


@pytest.mark.parametrize("options", [{}, *MISTAKES])
def test_it_is_the_callers_fault(options, server):
    registry = Registry()
    with grpc.insecure_channel(server.target) as plain:
        stub = Stub(grpc.intercept_channel(plain, GuardInterceptor(registry=registry, breaker=CircuitBreaker(min_calls=1))))
        if not options:
            plain.close()
        for call in calls_of(stub, options):
            with pytest.raises((grpc.RpcError, ValueError, TypeError, KeyError)):
                call()
        assert {"bad_request"} == blamed(registry)


@pytest.mark.parametrize("options", [{}, *MISTAKES[:2], MISTAKES[3]])
async def test_so_it_is_with_asyncio(options, server):
    async def words():
        yield b"a"

    async def read(stream):
        return [message async for message in stream]

    registry = Registry()
    guards = aio_interceptors(registry=registry, breaker=CircuitBreaker(min_calls=1))
    async with grpc.aio.insecure_channel(server.target, interceptors=guards) as channel:
        stub = Stub(channel)
        if not options:
            await channel.close()
        for call in (lambda: stub.Get(b"a", **options), lambda: read(stub.List(b"a", **options)),
                     lambda: stub.Sum(words(), **options), lambda: read(stub.Chat(words(), **options))):
            with pytest.raises((grpc.RpcError, grpc.aio.BaseError, ValueError, TypeError)):
                await call()
        for handle in registry:
            while handle.in_flight:
                await asyncio.sleep(0)
        assert {"bad_request"} == blamed(registry)


def test_what_a_caller_raises_by_itself_is_still_a_failure(server):
    class Broken(grpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, continuation, client_call_details, request):
            raise ValueError("no token")

    registry = Registry()
    with grpc.insecure_channel(server.target) as plain:
        stub = Stub(grpc.intercept_channel(plain, GuardInterceptor(registry=registry), Broken()))
        with contextlib.suppress(ValueError):
            stub.Get(b"a")
    assert {"failure"} == blamed(registry)
