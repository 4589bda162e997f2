"""redis-py against a real server: what errors mean, and what guard_client guards."""

from __future__ import annotations

import asyncio
import threading

import pytest
import redis
import redis.asyncio

from resilience import (
    BulkheadFullError,
    CallTimeoutError,
    CircuitBreaker,
    CircuitOpenError,
    Ending,
    Registry,
    Retry,
    Verdict,
    command,
)
from resilience.config import configure
from resilience.errors import ConfigError
from resilience.integrations.redis import FAILURES, guard_client, judge
from tests.drivers.until import until

NEVER = CircuitBreaker(min_calls=1000)
VERDICTS = ("success", "failure", "busy", "bad_request", "timeout", "semaphore_rejected")


@pytest.fixture
def shared():
    registry = Registry()
    yield registry
    registry.close()


@pytest.fixture
def plain(redis_server):
    """A client that nobody guards, to set the scene."""
    client = redis.Redis(unix_socket_path=str(redis_server[0]))
    yield client
    client.close()


@pytest.fixture
def client(redis_server):
    client = redis.Redis(unix_socket_path=str(redis_server[0]))
    yield client
    client.close()


@pytest.fixture
async def aclient(redis_server):
    client = redis.asyncio.Redis(unix_socket_path=str(redis_server[0]))
    yield client
    await client.aclose()


def counts(registry, key="redis"):
    found = registry[key].snapshot().counts
    return {name: found[name] for name in VERDICTS if found[name]}


def verdict(error):
    return judge(Ending(error=error))


def test_errors_of_a_real_server_are_judged_by_what_they_say_of_it(plain):
    def error_of(*words):
        with pytest.raises(redis.RedisError) as caught:
            plain.execute_command(*words)
        return caught.value

    plain.set("text", "x")
    assert Verdict.CALLER_FAULT is verdict(error_of("NOSUCH"))
    assert Verdict.CALLER_FAULT is verdict(error_of("LPUSH", "text", "1"))
    assert Verdict.CALLER_FAULT is verdict(error_of("EVALSHA", "0" * 40, "0"))
    assert Verdict.CALLER_FAULT is verdict(error_of("AUTH", "nobody", "wrong"))
    plain.config_set("maxmemory", 1)
    assert Verdict.FAILED is verdict(error_of("SET", "a", "1"))
    plain.config_set("maxmemory", 0)
    plain.config_set("min-replicas-to-write", 1)
    assert Verdict.FAILED is verdict(error_of("SET", "a", "1"))
    plain.config_set("min-replicas-to-write", 0)
    plain.execute_command("REPLICAOF", "127.0.0.1", "1")
    assert Verdict.FAILED is verdict(error_of("SET", "a", "1"))  # read-only replica
    plain.config_set("replica-serve-stale-data", "no")
    assert Verdict.FAILED is verdict(error_of("GET", "a"))  # MASTERDOWN
    plain.execute_command("REPLICAOF", "NO", "ONE")


def test_a_server_that_runs_a_script_is_busy(plain, client):
    plain.config_set("busy-reply-threshold", 1)

    def script():
        with pytest.raises(redis.ResponseError):
            client.eval("while true do end", 0)

    thread = threading.Thread(target=script)
    thread.start()
    found = []

    def is_busy():
        try:
            plain.get("a")
        except redis.RedisError as error:
            found.append(verdict(error))
        return bool(found)

    until(is_busy)
    plain.script_kill()
    thread.join(30)
    assert [Verdict.BUSY] == found


def test_what_a_client_says_by_itself_is_not_the_servers_fault(redis_server):
    assert Verdict.BUSY is verdict(redis.exceptions.BusyLoadingError("Redis is loading the dataset in memory"))
    assert Verdict.CALLER_FAULT is verdict(redis.WatchError("Watched variable changed."))
    assert None is verdict(redis.ConnectionError("Connection refused"))
    assert None is verdict(redis.TimeoutError("Timeout reading from socket"))
    assert None is verdict(ValueError("not theirs"))
    assert None is judge(Ending(result=b"1"))
    for pool in (redis.ConnectionPool, redis.BlockingConnectionPool):
        waits = {"timeout": 0.001} if pool is redis.BlockingConnectionPool else {}
        own = pool(connection_class=redis.UnixDomainSocketConnection, path=str(redis_server[0]), max_connections=1,
                   **waits)
        taken = own.get_connection()
        with pytest.raises(redis.ConnectionError) as caught:
            own.get_connection()
        assert Verdict.REFUSED is verdict(caught.value)
        own.release(taken)
        own.disconnect()


@pytest.mark.parametrize("target", ["redis.client:Redis.execute_command", "redis.asyncio.client:Redis.execute_command"])
async def test_an_entry_of_guards_has_these_rules_by_default(client, aclient, shared, target):
    configuration = configure({"guards": {target: {"timeout": 5.0, "breaker": {"min_calls": 2}}}},
                              registry=shared, environ={})
    for _ in range(5):
        with pytest.raises(redis.ResponseError):
            await aclient.execute_command("NOSUCH") if "asyncio" in target else client.execute_command("NOSUCH")
    assert {"bad_request": 5} == counts(shared, target)
    configuration.close()


def test_commands_and_pipelines_and_blocking_commands_are_commands_of_their_own(client, shared):
    assert client is guard_client(client, registry=shared, breaker=NEVER)
    assert isinstance(client, redis.Redis)
    assert client.set("stock", 7)
    with pytest.raises(redis.ResponseError):
        client.lpush("stock", 1)
    with client.pipeline() as pipe:
        assert [True, b"8"] == pipe.set("stock", 8).get("stock").execute()
    client.transaction(lambda pipe: (pipe.multi(), pipe.incr("stock")), "stock")
    client.rpush("jobs", "a")
    assert (b"jobs", b"a") == client.blpop("jobs", timeout=1)
    assert None is client.blpop("jobs", timeout=0.01)
    assert [] == client.xread({"events": 0}, block=1)
    assert {"redis", "redis.pipeline", "redis.blocking"} == {handle.key for handle in shared}
    assert {"redis"} == {handle.group for handle in shared}
    assert ({"success": 2, "bad_request": 1}, {"success": 2}, {"success": 3}) == (
        counts(shared), counts(shared, "redis.pipeline"), counts(shared, "redis.blocking"))


async def test_an_async_client_is_guarded_alike(aclient, shared):
    guard_client(aclient, registry=shared, key="cache", timeout=5.0)
    assert await aclient.set("stock", 7)
    async with aclient.pipeline() as pipe:
        assert [True, b"8"] == await pipe.set("stock", 8).get("stock").execute()
    assert None is await aclient.blpop("jobs", timeout=0.01)
    assert [{"success": 1}] * 3 == [counts(shared, key) for key in ("cache", "cache.pipeline", "cache.blocking")]


async def test_blocking_commands_know_no_timeout_and_others_do(aclient, shared, plain):
    guard_client(aclient, registry=shared, timeout=0.2)
    blocked = asyncio.create_task(aclient.blpop("jobs", timeout=0))
    while not plain.info("clients")["blocked_clients"]:
        await asyncio.sleep(0.001)
    plain.client_pause(100_000, all=False)  # writes have to wait
    with pytest.raises(CallTimeoutError):
        await aclient.set("stock", 1)
    plain.client_unpause()
    plain.rpush("jobs", "late")
    assert (b"jobs", b"late") == await blocked
    assert {"timeout": 1} == counts(shared)


async def test_a_cancelled_call_gives_its_slot_back_and_the_connection_is_not_used_again(aclient, shared, plain):
    guard_client(aclient, registry=shared, timeout=None, max_concurrent=1)
    plain.set("a", "1")
    plain.set("b", "2")
    assert b"1" == await aclient.get("a")
    plain.client_pause(100_000, all=False)
    task = asyncio.create_task(aclient.set("a", "3"))
    while not any("b" in each["flags"] for each in plain.client_list()):
        await asyncio.sleep(0.001)
    with pytest.raises(BulkheadFullError):
        await aclient.get("b")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    plain.client_unpause()
    assert b"2" == await aclient.get("b")
    assert 0 == shared["redis"].snapshot().in_flight


def test_its_own_retries_are_off_and_ours_repeats_commands_and_no_pipelines(client, shared, redis_server):
    attempts = []
    guard_client(client, registry=shared, breaker=None, retry=Retry(attempts=3, base=0.001, max_delay=0.001))
    assert client.get("a") is None
    kind = type(client.connection_pool).get_connection

    def counted(pool, *args, **options):
        attempts.append(args)
        return kind(pool, *args, **options)

    client.connection_pool.get_connection = counted.__get__(client.connection_pool)
    redis_server[1].kill()
    redis_server[1].wait(10)
    with pytest.raises(redis.ConnectionError):
        client.get("a")
    assert 3 == len(attempts)
    with client.pipeline() as pipe, pytest.raises(redis.ConnectionError):
        pipe.get("a").execute()
    assert 4 == len(attempts)
    assert 3 == counts(shared)["failure"]


def test_a_server_that_is_gone_opens_the_circuit(client, shared, redis_server):
    guard_client(client, registry=shared, breaker=CircuitBreaker(min_calls=2))
    redis_server[1].kill()
    redis_server[1].wait(10)
    for _ in range(2):
        with pytest.raises(redis.ConnectionError):
            client.get("a")
    with pytest.raises(CircuitOpenError):
        client.get("a")


def test_two_clients_of_one_key_share_a_command(redis_server, client, plain, shared):
    for each in (client, plain):
        guard_client(each, registry=shared)
        each.get("a")
    assert {"success": 2} == counts(shared)


def test_what_is_no_client_or_guarded_already_is_refused(client, aclient, shared):
    guard_client(client, registry=shared)
    for wrong in (client, object(), redis.client.PubSub):
        with pytest.raises(TypeError):
            guard_client(wrong)
    with pytest.raises(ConfigError):
        guard_client(aclient, isolation="thread")
    assert type(aclient) is redis.asyncio.Redis


def test_functions_that_use_redis_can_have_the_rules(client, shared):
    @command(key="stock", failures=FAILURES, registry=shared)
    def stock():
        return client.execute_command("NOSUCH")

    with pytest.raises(redis.ResponseError):
        stock()
    assert {"bad_request": 1} == counts(shared, "stock")
