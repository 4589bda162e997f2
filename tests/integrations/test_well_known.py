"""Entries of [guards] for HTTP clients, each against the real library and a real server: verdicts, and raise_as."""

from __future__ import annotations

import asyncio
import functools
import urllib.error
import urllib.request

import aiohttp
import httpx
import httpx2
import pytest
import requests
import urllib3

from resilience import CircuitOpenError, Registry
from resilience.config import configure
from resilience.config.well_known import WELL_KNOWN

VERDICTS = ("success", "failure", "busy", "bad_request", "timeout", "semaphore_rejected")
#: (status, headers, verdict where the client returns the response, verdict where it raises an exception)
STATUSES = ((200, {}, "success", "success"), (404, {}, "success", "bad_request"), (500, {}, "failure", "failure"),
            (503, {}, "failure", "failure"), (503, {"Retry-After": "7"}, "busy", "busy"), (429, {}, "busy", "busy"))


@pytest.fixture
def shared():
    registry = Registry()
    yield registry
    registry.close()


def of_requests(url):
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url)


def of_requests_api(url):
    import requests.api

    return requests.api.request("GET", url, proxies={"http": "", "https": ""})


def of_urllib3(url):
    with urllib3.PoolManager(retries=False) as pool:
        return pool.request("GET", url)


def of_urllib(url):
    with urllib.request.urlopen(url) as answer:
        return answer


def of_httpx(url):
    with httpx.Client(trust_env=False) as client:
        return client.get(url)


def of_httpx2(url):
    with httpx2.Client(trust_env=False) as client:
        return client.get(url)


def of_async_httpx(url, library=httpx):
    async def get():
        async with library.AsyncClient(trust_env=False) as client:
            return await client.get(url)

    return asyncio.run(get())


def of_aiohttp(url):
    async def get():
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer

    return asyncio.run(get())


#: target: (how it is called, what it raises, a URL that is the caller's mistake to this target)
CLIENTS = {
    "requests.sessions:Session.send": (of_requests, "requests:ConnectionError", "http://127.0.0.1:port/"),
    "requests.sessions:Session.request": (of_requests, "requests:ConnectionError", "nothing"),
    "requests.api:request": (of_requests_api, "requests:ConnectionError", "nothing"),
    "requests.adapters:HTTPAdapter.send": (of_requests, "requests:ConnectionError", "http://127.0.0.1:port/"),
    "urllib3.connectionpool:HTTPConnectionPool.urlopen": (of_urllib3, "urllib3.exceptions:HTTPError", None),
    "urllib.request:urlopen": (of_urllib, "urllib.error:URLError", "nothing"),
    "httpx:Client.send": (of_httpx, "httpx:ConnectError", "gopher://127.0.0.1/"),
    "httpx:AsyncClient.send": (of_async_httpx, "httpx:ConnectError", "gopher://127.0.0.1/"),
    "httpx._client:Client.send": (of_httpx, "httpx:ConnectError", "gopher://127.0.0.1/"),
    "httpx._client:AsyncClient.send": (of_async_httpx, "httpx:ConnectError", "gopher://127.0.0.1/"),
    "httpx2:Client.send": (of_httpx2, "httpx2:ConnectError", "gopher://127.0.0.1/"),
    "httpx2:AsyncClient.send": (functools.partial(of_async_httpx, library=httpx2), "httpx2:ConnectError", "gopher://127.0.0.1/"),
    "aiohttp.client:ClientSession._request": (of_aiohttp, "aiohttp:ClientError", "http://"),
}


def counts(registry, target):
    found = registry[target].snapshot().counts
    return {name: found[name] for name in VERDICTS if found[name]}


def attempt(call, url):
    try:
        return call(url)
    except urllib.error.HTTPError as error:
        error.close()
        return error
    except Exception as error:
        return error


def test_every_well_known_target_is_tested():
    elsewhere = {target for target in WELL_KNOWN if target.startswith(("redis.", "botocore.", "sqlalchemy.", "openai:", "anthropic:"))}
    assert set(WELL_KNOWN) == set(CLIENTS) | elsewhere


@pytest.mark.parametrize("target", CLIENTS)
def test_statuses_and_mistakes_and_lost_connections_have_their_verdicts(target, answering, shared):
    call, raise_as, wrong = CLIENTS[target]
    entry = {"timeout": 30.0 if "sync" in target or "aiohttp" in target else False, "breaker": {"min_calls": 1000}}
    configuration = configure({"guards": {target: entry}}, registry=shared, environ={})
    expected = dict.fromkeys(VERDICTS, 0)
    for status, headers, returned, raised in STATUSES:
        answering.answers.append((status, headers, b"body"))
        ending = attempt(call, answering.url)
        expected[raised if isinstance(ending, Exception) else returned] += 1
    answering.answers[:] = [None, None]  # aiohttp repeats a GET by itself
    assert isinstance(attempt(call, answering.url), Exception)
    answering.answers.clear()
    expected["failure"] += 1
    if wrong is not None and "port" not in wrong:
        assert isinstance(attempt(call, wrong), Exception)
        expected["bad_request"] += 1
    assert {name: n for name, n in expected.items() if n} == counts(shared, target)
    configuration.close()


@pytest.mark.parametrize("target", CLIENTS)
def test_a_refusal_is_an_exception_of_the_clients_own(target, answering, shared):
    call, raise_as, _ = CLIENTS[target]
    configuration = configure({"guards": {target: {"raise_as": raise_as}}}, registry=shared, environ={})
    shared[target].force_open()
    module, _, name = raise_as.partition(":")
    error = attempt(call, answering.url)
    assert isinstance(error, CircuitOpenError), error
    assert isinstance(error, getattr(__import__(module, fromlist=["x"]), name))
    assert [] == answering.requests
    configuration.close()


def test_code_of_requests_that_asks_its_exception_for_the_response_goes_on_working(answering, shared):
    target = "requests.sessions:Session.send"
    configuration = configure({"guards": {target: {"raise_as": "requests:ConnectionError"}}},
                              registry=shared, environ={})
    shared[target].force_open()
    with pytest.raises(requests.RequestException) as caught:
        of_requests(answering.url)
    assert (None, None) == (caught.value.response, caught.value.request)
    configuration.close()


def test_waiting_for_the_clients_own_pool_is_no_fault_of_the_target(answering, shared):
    target = "httpx:Client.send"
    configuration = configure({"guards": {target: {}}}, registry=shared, environ={})
    limits = httpx.Limits(max_connections=1)
    with httpx.Client(trust_env=False, limits=limits, timeout=httpx.Timeout(5.0, pool=0.001)) as client:
        with client.stream("GET", answering.url), pytest.raises(httpx.PoolTimeout):
            client.get(answering.url)
    assert {"success": 1, "semaphore_rejected": 1} == counts(shared, target)
    configuration.close()
