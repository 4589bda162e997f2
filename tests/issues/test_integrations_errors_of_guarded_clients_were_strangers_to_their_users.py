"""What guarded clients of redis-py and botocore raised of their own accord, such as CircuitOpenError, was no error of the
client's. Code that catches redis.RedisError or BotoCoreError, as it does around any client, let it through. Guarded HTTP
clients and gRPC have raised errors of both families all along.
"""

import asyncio
import pickle

import botocore.exceptions
import botocore.session
import pytest
import redis
import redis.asyncio
from botocore.config import Config

from resilience import BulkheadFullError, CallTimeoutError, CircuitOpenError, NoTimeLeftError, Registry, deadline
from resilience.core.vendor_errors import as_client_error
from resilience.integrations import botocore as guarded_botocore
from resilience.integrations.redis import guard_client

CLIENTS = {"sync": lambda: redis.Redis(port=1), "async": lambda: redis.asyncio.Redis(port=1)}


async def both(call):
    """What *call* returns, awaited if it is to be."""
    found = call()
    return await found if asyncio.iscoroutine(found) else found


@pytest.mark.parametrize("kind", CLIENTS)
async def test_a_refusal_of_redis_is_a_redis_error(registry, kind):
    client = guard_client(CLIENTS[kind](), registry=registry)
    calls = {"redis": lambda: client.get("stock"), "redis.blocking": lambda: client.blpop("jobs"),
             "redis.pipeline": lambda: client.pipeline().get("stock").execute()}
    with pytest.raises(redis.ConnectionError):
        await both(calls["redis.pipeline"])  # a pipeline's command is made with the first of its class
    for key, call in calls.items():
        registry[key].force_open()
        with pytest.raises(redis.ConnectionError) as caught:
            await both(call)
        assert (isinstance(caught.value, CircuitOpenError), caught.value.key) == (True, key)
        assert type(pickle.loads(pickle.dumps(caught.value))) is type(caught.value)
    with deadline(0), pytest.raises(redis.RedisError) as caught:
        await both(calls["redis"])
    assert isinstance(caught.value, (NoTimeLeftError, CircuitOpenError))


async def test_a_timeout_of_redis_is_its_timeout():
    async def never(*_):
        await asyncio.Event().wait()

    client = CLIENTS["async"]()
    client.connection_pool.get_connection = never
    registry = Registry()
    guard_client(client, timeout=0.001, registry=registry)
    with pytest.raises(redis.TimeoutError) as caught:
        await client.get("stock")
    assert isinstance(caught.value, CallTimeoutError)
    registry.close()


def test_a_refusal_of_botocore_is_an_error_of_its_own(registry, monkeypatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client = guarded_botocore.guard_client(botocore.session.Session().create_client(
        "dynamodb", region_name="eu-west-1", config=Config(retries={"total_max_attempts": 1}), aws_access_key_id="key",
        aws_secret_access_key="secret"), registry=registry)
    with pytest.raises(botocore.exceptions.ParamValidationError):
        client.get_item()  # it makes the command
    next(iter(registry)).force_open()
    with pytest.raises(botocore.exceptions.ConnectionError) as caught:
        client.get_item(TableName="stock", Key={})
    assert isinstance(caught.value, CircuitOpenError)
    assert str(caught.value).startswith("dynamodb.GetItem@")
    client.close()


@pytest.mark.parametrize("kind", [CallTimeoutError, BulkheadFullError])
def test_each_client_has_classes_for_both(kind):
    theirs = botocore.exceptions.ConnectionError, botocore.exceptions.ReadTimeoutError
    error = as_client_error(*theirs, kind("stock", 1.0))
    assert isinstance(error, kind)
    assert isinstance(error, theirs[kind is CallTimeoutError])
