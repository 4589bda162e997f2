"""Interceptors with the same settings could not share the command of a method: each said failure rules of its own. So
the first RPC of a second channel, to another instance of the service or in grpc.aio, raised a ConfigError.
"""

import grpc
import grpc.aio
import pytest

from resilience import ConfigError, FailureRules, Registry, http_status
from resilience.integrations.grpc import GuardInterceptor
from resilience.integrations.grpc_aio import aio_interceptors
from tests.integrations.rpc import Server, Stub


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


def call(server, **settings):
    with grpc.insecure_channel(server.target) as channel:
        stub = Stub(grpc.intercept_channel(channel, GuardInterceptor(**settings)))
        return stub.Get(b"a", timeout=30), list(stub.List(b"a b", timeout=30))


async def call_aio(server, **settings):
    async with grpc.aio.insecure_channel(server.target, interceptors=aio_interceptors(**settings)) as channel:
        stub = Stub(channel)
        return await stub.Get(b"a", timeout=30), [item async for item in stub.List(b"a b", timeout=30)]


def is_empty(message):
    return not message


@pytest.mark.parametrize("failures", [{}, {"failures": FailureRules(items=is_empty, status=http_status())}])
async def test_channels_share_the_command_of_a_method(server, failures):
    registry = Registry()
    for settings in (failures, dict(failures)):
        assert call(server, registry=registry, **settings) == (b"a", [b"a", b"b"])
        assert await call_aio(server, registry=registry, **settings) == (b"a", [b"a", b"b"])
    assert registry["shop.Stock/Get"].snapshot().counts["success"] == 4
    assert registry["shop.Stock/List"].snapshot().counts["success"] == 4
    registry.close()


def test_rules_that_differ_contradict_each_other(server):
    registry = Registry()
    call(server, registry=registry)
    with pytest.raises(ConfigError, match="failures"):
        call(server, registry=registry, failures=http_status(failed=(500,)))
    registry.close()
