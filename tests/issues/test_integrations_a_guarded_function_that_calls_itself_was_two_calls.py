"""An entry of ``[guards]`` for requests' Session.send, the one in the README, refused redirected requests: the function
calls itself for the next hop, which took a second slot, and the refusal of that counted as a failure of the server. The
same with urllib3's urlopen, which calls itself to try again. A refusal by any guard below was a failure, and so was
waiting for aiohttp's own connection pool.
"""

import asyncio
import inspect
import threading

import aiohttp
import pytest
import requests
import urllib3

from resilience import CircuitOpenError, Registry
from resilience.config import configure
from tests.integrations.http_clients import serving

SEND, URLOPEN = "requests.sessions:Session.send", "urllib3.connectionpool:HTTPConnectionPool.urlopen"
BELOW = "requests.adapters:HTTPAdapter.send"


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture
def guarded():
    registry, made = Registry(), []

    def guarded(**entries):
        made.append(configure({"guards": entries}, registry=registry, environ={}))
        return registry

    yield guarded
    for each in made:
        each.close()
    registry.close()


def by_requests(server, path):
    with requests.Session() as session:
        session.trust_env = False
        return session.get(server.url + path).status_code


def by_pool(server, path):
    with urllib3.PoolManager() as manager:
        retries = urllib3.Retry(2, status_forcelist=[503], raise_on_status=False)
        return manager.connection_from_url(server.url).request("GET", path, retries=retries).status


def counts(registry, key):
    found = registry[key].snapshot().counts
    return {name: found[name] for name in ("success", "failure", "semaphore_rejected", "thread_pool_rejected",
                                           "short_circuited") if found[name]}


@pytest.mark.parametrize(("target", "call"), [(SEND, by_requests), (URLOPEN, by_pool)], ids=["requests", "urllib3"])
@pytest.mark.parametrize("timeout", [False, 30.0])
def test_a_call_with_redirects_or_tries_of_its_own_is_one_call(target, call, timeout, server, guarded):
    registry = guarded(**{target: {"max_concurrent": 1, "timeout": timeout, "breaker": False}})

    assert [call(server, path) for path in ("/302", "/200", "/503")] == [200, 200, 503]

    assert counts(registry, target) == {"success": 2, "failure": 1}


def test_parallel_redirects_need_one_slot_each(server, guarded):
    registry = guarded(**{SEND: {"max_concurrent": 3, "timeout": 30.0}})
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(by_requests(server, "/302"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (answers, counts(registry, SEND)) == ([200] * 3, {"success": 3})


def test_the_next_call_of_the_same_thread_is_guarded_again(server, guarded):
    registry = guarded(**{SEND: {"breaker": {"min_calls": 2}, "timeout": False}})
    for _ in range(2):
        by_requests(server, "/503")

    with pytest.raises(CircuitOpenError):
        by_requests(server, "/200")

    assert counts(registry, SEND) == {"failure": 2, "short_circuited": 1}


def test_each_hop_is_a_call_of_the_function_below(server, guarded):
    registry = guarded(**{BELOW: {"max_concurrent": 1, "timeout": False}})

    assert by_requests(server, "/302") == 200

    assert counts(registry, BELOW) == {"success": 2}


def test_a_refusal_by_a_guard_below_is_no_failure_of_the_server(server, guarded):
    registry = guarded(**{SEND: {"timeout": False}, BELOW: {"timeout": False}})
    registry[BELOW].force_open()

    with pytest.raises(CircuitOpenError):
        by_requests(server, "/200")

    assert counts(registry, SEND) == {"semaphore_rejected": 1}


def test_a_guarded_method_shows_its_handle_and_its_signature_and_is_put_back(guarded):
    before = inspect.getattr_static(requests.Session, "send")
    configuration = configure({"guards": {SEND: {}}}, registry=Registry(), environ={})

    assert requests.Session.send.resilience.key == SEND
    assert inspect.signature(requests.Session.send) == inspect.signature(before)
    configuration.close()
    assert inspect.getattr_static(requests.Session, "send") is before


def test_waiting_for_the_connections_of_aiohttp_is_no_failure_of_the_server(server, guarded):
    target = "aiohttp.client:ClientSession._request"
    registry = guarded(**{target: {"timeout": 30.0}})

    async def scenario():
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
            async with session.get(f"{server.url}/200/wait"):
                with pytest.raises(aiohttp.ConnectionTimeoutError):
                    await session.get(f"{server.url}/200", timeout=aiohttp.ClientTimeout(connect=0.01))
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get("http://127.0.0.1:1/")

    asyncio.run(scenario())
    assert counts(registry, target) == {"success": 1, "semaphore_rejected": 1, "failure": 1}
