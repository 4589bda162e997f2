"""A request that waited for a connection of the client's own pool counted as a failure of its server if the timeout of
the guard ended the wait, and not that of the client, which is longer by default: one slow server that had taken all
connections opened the circuits of all healthy ones.
"""

import asyncio

import aiohttp
import httpx
import httpx2
import pytest
import redis.asyncio
from redis.asyncio.retry import Retry as RedisRetry
from redis.backoff import NoBackoff
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.util import greenlet_spawn

from resilience import (
    CallTimeoutError,
    CircuitBreaker,
    DeadlineExceededError,
    FailureRules,
    Registry,
    Retry,
    StreamTimeout,
    command,
    deadline,
)
from resilience.integrations.redis import guard_client
from resilience.integrations.sqlalchemy import FAILURES
from resilience.testing import virtual_time
from tests.integrations.http_clients import Aiohttp, AsyncHttpx, AsyncHttpx2, command_of, counts_of, serving

OPENS_AT_ONCE = CircuitBreaker(min_calls=1, failure_rate=0.1)


@pytest.fixture(scope="module")
def server():
    with serving() as found:
        yield found


def client_with_one_connection(kind, http2=False, **settings):
    settings = {"registry": Registry(), "breaker": OPENS_AT_ONCE, "retry": Retry(base=0.0), **settings}
    if kind is Aiohttp:
        client = kind(**settings)

        async def session():
            await client.client.close()
            return aiohttp.ClientSession(middlewares=(client.guard,), connector=aiohttp.TCPConnector(limit=1))

        client.client = client.run(session())
        return client
    theirs = {AsyncHttpx: httpx, AsyncHttpx2: httpx2}[kind]
    return kind(inner=theirs.AsyncHTTPTransport(http2=http2, limits=theirs.Limits(max_connections=1)), **settings)


@pytest.mark.parametrize("clock", ["timeout", "stream_timeout", "deadline"])
@pytest.mark.parametrize(("kind", "http2"), [
    (AsyncHttpx, False), (AsyncHttpx, True), (AsyncHttpx2, False), (AsyncHttpx2, True), (Aiohttp, False)])
def test_whatever_ends_the_wait_for_the_pool_it_says_nothing_about_the_server(kind, http2, clock, server):
    long, short = {"timeout": (60.0, 0.01), "deadline": (60.0, 60.0),
                   "stream_timeout": (StreamTimeout(first_item=60.0), StreamTimeout(first_item=0.01))}[clock]
    name = "stream_timeout" if clock == "stream_timeout" else "timeout"
    client = client_with_one_connection(kind, http2, **{name: long})
    server.go.clear()
    try:
        response = client.open(f"{server.url}/200/wait")
        command_of(client).configure(**{name: short})

        with pytest.raises(CallTimeoutError) as caught, deadline(0.05 if clock == "deadline" else None):
            client.open(f"{server.url}/200")

        assert isinstance(caught.value, client.family)
        assert isinstance(caught.value, DeadlineExceededError) == (clock == "deadline")
        assert counts_of(client) == {"timeout" if clock == "deadline" else "semaphore_rejected": 1}
        assert command_of(client).state.value == "closed"
        command_of(client).configure(**{name: long})
        server.go.set()
        client.read(response)
        client.close(response)
        assert client.request("GET", f"{server.url}/200") == (200, b"helloworld")
    finally:
        client.finish()


class Connection(redis.asyncio.Connection):
    async def connect(self, *args, **options):
        """Nobody listens."""

    async def can_read_destructive(self, *args, **options):
        return False

    can_read = can_read_destructive


def test_a_wait_for_a_blocking_pool_of_redis_says_nothing_about_the_server():
    async def main():
        pool = redis.asyncio.BlockingConnectionPool(
            max_connections=1, timeout=60, connection_class=Connection, retry=RedisRetry(NoBackoff(), 0))
        registry = Registry()
        client = guard_client(redis.asyncio.Redis(connection_pool=pool), registry=registry, timeout=0.5,
                              breaker=OPENS_AT_ONCE)
        taken = await pool.get_connection()
        with pytest.raises(CallTimeoutError):
            await client.get("stock")
        await pool.release(taken)
        return registry["redis"]

    handle = virtual_time(main())

    assert (handle.snapshot().counts["semaphore_rejected"], handle.snapshot().counts["timeout"]) == (1, 0)
    assert handle.state.value == "closed"


class Database:
    def rollback(self):
        """There is no transaction."""

    close = rollback


def test_a_wait_for_the_pool_of_an_asynchronous_engine_says_nothing_about_the_database():
    @command(timeout=0.5, breaker=OPENS_AT_ONCE, failures=FAILURES, registry=Registry())
    async def rows(pool):
        return await greenlet_spawn(pool.connect)

    async def main():
        pool = AsyncAdaptedQueuePool(Database, pool_size=1, max_overflow=0, timeout=60)
        taken = await rows(pool)
        with pytest.raises(CallTimeoutError):
            await rows(pool)
        rows.resilience.configure(breaker=CircuitBreaker(min_calls=1, slow_call=0.1))
        with pytest.raises(DeadlineExceededError), deadline(0.3, clock=asyncio.get_running_loop().time):
            await rows(pool)
        taken.close()

    virtual_time(main())

    counts = rows.resilience.snapshot().counts
    assert (counts["success"], counts["semaphore_rejected"], counts["timeout"]) == (1, 1, 1)
    assert rows.resilience.state.value == "closed"


def test_a_rule_that_fails_when_asked_about_a_cancelled_call_leaves_it_a_timeout(caplog):
    @command(timeout=0.5, breaker=OPENS_AT_ONCE, failures=FailureRules(refused=lambda error: error.args[7]),
             registry=Registry())
    async def wait():
        await asyncio.Event().wait()

    async def main():
        with pytest.raises(CallTimeoutError):
            await wait()

    virtual_time(main())

    assert wait.resilience.snapshot().counts["timeout"] == 1
    assert wait.resilience.state.value == "open"
    assert "a failure rule raised IndexError" in caplog.text
