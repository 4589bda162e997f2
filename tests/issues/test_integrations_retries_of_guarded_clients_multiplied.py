"""The real openai client makes three attempts by itself, a transport of httpx with ``retries`` and an adapter of requests
with ``max_retries`` as many as they are told, and gRPC's service config too. All of that was below the retry of a command,
unseen: two attempts of ours were six requests. Clients of openai and anthropic have a guard now, which switches that off;
what repeats inside a transport or an adapter is refused. No interceptor sees what gRPC does, so the page says how to stop it.
"""

import asyncio
import concurrent.futures
import functools
import json

import anthropic
import grpc
import httpx
import httpx2
import openai
import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter

from resilience import CircuitOpenError, Retry, command, retry
from resilience.errors import ConfigError
from resilience.integrations import httpx as guarded_httpx
from resilience.integrations import httpx2 as guarded_httpx2
from resilience.integrations.grpc import GuardInterceptor
from resilience.integrations.grpc_status import FAILURES
from resilience.integrations.llm import guard_client
from resilience.integrations.requests import ResilienceAdapter
from tests.integrations.conftest import answering  # noqa: F401 - a fixture
from tests.integrations.test_llm import complete, create, refused

LIBRARIES = {"openai": (openai.OpenAI, openai.AsyncOpenAI, complete), "anthropic": (anthropic.Anthropic, anthropic.AsyncAnthropic, create)}
twice = functools.partial(retry, attempts=2, base=0, busy_base=0, budget=None, key="job")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def failing(answering):  # noqa: F811
    answering.answers += [refused(500, {"type": "server_error"}, **{"retry-after-ms": "1"})] * 50
    return answering


@pytest.mark.parametrize("more", [{}, {"stream": True}], ids=["plain", "stream"])
@pytest.mark.parametrize("name", LIBRARIES)
def test_a_guarded_client_makes_as_many_requests_as_the_outermost_retry_says(failing, registry, name, more):
    kind, _, call = LIBRARIES[name]
    with guard_client(kind(api_key="key", base_url=failing.url), registry=registry, retry=Retry(attempts=4, base=0, busy_base=0)) as client:
        for each in (client, client.with_options(max_retries=5), client.copy(timeout=5.0)):
            failing.requests.clear()
            with pytest.raises(Exception, match="500"):
                twice(registry=registry)(lambda each=each: call(each, **more))()
            assert len(failing.requests) == 2
    key = f"{name}@{failing.url.removeprefix('http://')}"
    assert (registry[key].group, registry[key].snapshot().counts["retry_left_to_caller"]) == (name, 6)


@pytest.mark.parametrize("name", LIBRARIES)
def test_so_does_an_asynchronous_one(failing, registry, name):
    _, kind, call = LIBRARIES[name]

    async def main():
        async with guard_client(kind(api_key="key", base_url=failing.url), registry=registry, key="llm", retry=Retry(base=0, busy_base=0)) as client:
            @twice(registry=registry)
            async def ask():
                return await call(client)

            for expected, asked in ((2, ask), (3, functools.partial(call, client))):  # on its own it repeats
                failing.requests.clear()
                with pytest.raises(Exception, match="500"):
                    await asked()
                assert len(failing.requests) == expected

    asyncio.run(main())


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_refusal_is_an_error_of_the_client_with_all_that_such_errors_have(answering, registry, name):  # noqa: F811
    library, (kind, _, call) = {"openai": openai, "anthropic": anthropic}[name], LIBRARIES[name]
    with guard_client(kind(api_key="key", base_url=answering.url), registry=registry, key="llm") as client:
        registry["llm"].force_open()
        with pytest.raises(library.APIConnectionError) as caught:
            call(client)
        assert isinstance(caught.value, CircuitOpenError)
        assert (caught.value.body, caught.value.request, caught.value.message) == (None, None, str(caught.value))
        assert [] == answering.requests
        with pytest.raises(TypeError, match="guarded already"):
            guard_client(client)
    with pytest.raises(TypeError, match="a client of openai or anthropic"):
        guard_client(httpx)


@pytest.mark.parametrize(("library", "guards"), [(httpx, guarded_httpx), (httpx2, guarded_httpx2)], ids=["httpx", "httpx2"])
def test_a_transport_that_connects_again_by_itself_is_refused(library, guards):
    for guard, transport in ((guards.ResilienceTransport, library.HTTPTransport), (guards.AsyncResilienceTransport, library.AsyncHTTPTransport)):
        with pytest.raises(ConfigError, match="would connect again by itself"):
            guard(transport(retries=2))


@pytest.mark.parametrize(("retries", "is_refused"), [
    (3, True), (urllib3.Retry(3, status_forcelist=[503]), True), (urllib3.Retry(None, connect=2, read=0, status=0, other=0), True),
    (0, False), (urllib3.Retry(0, read=False), False), (urllib3.Retry(False), False),
    (urllib3.Retry(5, connect=0, read=0, status=0, other=0, redirect=5), False)], ids=str)
def test_so_is_an_adapter_that_repeats_by_itself(registry, retries, is_refused):
    adapter = HTTPAdapter(max_retries=retries)
    if is_refused:
        with pytest.raises(ConfigError, match="would repeat requests by itself"):
            ResilienceAdapter(adapter)
    else:
        ResilienceAdapter(adapter, registry=registry)
    assert isinstance(adapter, requests.adapters.BaseAdapter)


def test_what_the_page_says_of_grpc_keeps_its_service_config_from_repeating(registry):
    calls = []

    def fail(request, context):
        calls.append(request)
        context.abort(grpc.StatusCode.UNAVAILABLE, "down")

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("s.S", {"Get": grpc.unary_unary_rpc_method_handler(fail)})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    policy = {"maxAttempts": 4, "initialBackoff": "0.001s", "maxBackoff": "0.001s", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}
    config = json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": policy}]})
    options = [("grpc.service_config", config), ("grpc.enable_retries", 0)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        get = grpc.intercept_channel(channel, GuardInterceptor(registry=registry)).unary_unary("/s.S/Get")
        call = command(key="job", registry=registry, timeout=None, failures=FAILURES, retry=Retry(attempts=2, base=0))(lambda: get(b"x"))
        with pytest.raises(grpc.RpcError):
            call()
    server.stop(None).wait()
    assert len(calls) == 2
