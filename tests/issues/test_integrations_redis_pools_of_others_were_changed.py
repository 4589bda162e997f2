"""guard_client switched off the retries of a connection pool that the client was given, and so those of other clients;
with a BlockingConnectionPool it raised AttributeError; and a pool of redis-py before 6 that is full counted as a failure
of the server.
"""

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff

from resilience import Ending, Registry, Verdict
from resilience.errors import ConfigError
from resilience.integrations.redis import guard_client, judge

LIBRARIES = pytest.mark.parametrize("library", [redis, redis.asyncio], ids=["sync", "async"])
POOLS = pytest.mark.parametrize("pool", ["ConnectionPool", "BlockingConnectionPool"])


def retry(library, times):
    return (redis.retry.Retry if library is redis else redis.asyncio.retry.Retry)(NoBackoff(), times)


def retries(pool):
    return pool.connection_class(**pool.connection_kwargs).retry._retries


@LIBRARIES
@POOLS
def test_a_pool_that_the_client_was_given_must_not_retry_and_is_left_as_it_is(library, pool):
    given = getattr(library, pool)(retry=retry(library, 3))
    client = library.Redis(connection_pool=given)

    with pytest.raises(ConfigError, match="pool that retries"):
        guard_client(client, registry=Registry())

    assert retries(given) == 3
    assert type(client) is library.Redis


@LIBRARIES
@POOLS
@pytest.mark.parametrize("times", [None, 0])
def test_a_pool_that_the_client_was_given_without_retries_is_taken_as_it_is(library, pool, times):
    given = getattr(library, pool)(**({} if times is None else {"retry": retry(library, times)}))
    before = dict(given.connection_kwargs)

    client = guard_client(library.Redis(connection_pool=given), registry=Registry())

    assert given.connection_kwargs == before
    assert client.connection_pool is given


@LIBRARIES
@POOLS
def test_a_pool_that_is_the_clients_own_does_not_retry_any_more(library, pool):
    own = getattr(library, pool)(retry=retry(library, 3))
    client = guard_client(library.Redis.from_pool(own), registry=Registry())

    assert retries(client.connection_pool) == 0


def test_connections_that_exist_do_not_retry_any_more(redis_server):
    for pool in (redis.ConnectionPool, redis.BlockingConnectionPool):
        own = pool(connection_class=redis.UnixDomainSocketConnection, path=str(redis_server[0]),
                   retry=retry(redis, 3))
        busy, idle = own.get_connection(), own.get_connection()
        own.release(idle)

        with guard_client(redis.Redis.from_pool(own), registry=Registry()):
            assert [busy.retry._retries, idle.retry._retries] == [0, 0]


@pytest.mark.parametrize("said", ["Too many connections", "No connection available."])
def test_a_full_pool_of_any_version_of_redis_py_is_a_refusal_of_the_clients_own(said):
    assert judge(Ending(error=redis.ConnectionError(said))) is Verdict.REFUSED
    assert judge(Ending(error=redis.ConnectionError("max number of clients reached"))) is None
