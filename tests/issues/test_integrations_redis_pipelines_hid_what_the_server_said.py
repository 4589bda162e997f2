"""redis-py puts the command before what the server said of a command in a pipeline. So the words BUSY, MISCONF and
NOREPLICAS were not found there, and a server that ran a script, or had lost its replicas, was the caller's fault. And a
pipeline that raises no errors, but returns them among its answers, was a success whatever they said.
"""

import pytest
import redis
import redis.asyncio

from resilience import Registry
from resilience.integrations.redis import guard_client

VERDICTS = ("success", "failure", "busy", "bad_request")
ODD = "a (b) of pipeline\ncaused error: c"


def fails_with(said):
    return f'return redis.error_reply("{said}")'


def counts(registry):
    found = registry["redis.pipeline"].snapshot().counts
    return {name: found[name] for name in VERDICTS if found[name]}


ANSWERS = {
    "BUSY Redis is busy running a script.": {"busy": 1}, "MISCONF snapshots fail": {"failure": 1},
    "NOREPLICAS Not enough good replicas to write.": {"failure": 1}, "READONLY a replica": {"failure": 1},
    "BUSYGROUP it exists": {"bad_request": 1}, "ERR it is BUSY": {"bad_request": 1},
}


@pytest.mark.parametrize("transaction", [True, False])
@pytest.mark.parametrize(("said", "counted"), ANSWERS.items())
def test_an_error_in_a_pipeline_is_judged_by_what_the_server_said(redis_server, said, counted, transaction):
    registry = Registry()
    with guard_client(redis.Redis(unix_socket_path=str(redis_server[0])), registry=registry) as client:
        pipe = client.pipeline(transaction=transaction)
        with pytest.raises(redis.RedisError, match="caused error"):
            pipe.get("a").eval(fails_with(said), 0, ODD).execute()
    assert counted == counts(registry)
    registry.close()


@pytest.mark.parametrize(("said", "counted"), ANSWERS.items())
async def test_an_error_in_an_asynchronous_pipeline_is_judged_alike(redis_server, said, counted):
    registry = Registry()
    async with guard_client(redis.asyncio.Redis(unix_socket_path=str(redis_server[0])), registry=registry) as client:
        with pytest.raises(redis.RedisError, match="caused error"):
            await client.pipeline().get("a").eval(fails_with(said), 0, ODD).execute()
    assert counted == counts(registry)
    registry.close()


@pytest.mark.parametrize(("said", "counted"), [
    (("ERR wrong", "READONLY a replica", "BUSY a script"), {"failure": 1}),
    (("BUSY a script", "ERR wrong"), {"busy": 1}), (("ERR wrong",), {"success": 1}), ((), {"success": 1})])
def test_errors_among_the_answers_count_as_far_as_they_speak_of_the_server(redis_server, said, counted):
    registry = Registry()
    with guard_client(redis.Redis(unix_socket_path=str(redis_server[0])), registry=registry) as client:
        pipe = client.pipeline()
        for each in said:
            pipe.eval(fails_with(each), 0)
        answers = pipe.get("a").execute(raise_on_error=False)
    assert [isinstance(each, redis.RedisError) for each in answers] == [True] * len(said) + [False]
    assert counted == counts(registry)
    registry.close()


def test_a_server_without_its_replicas_is_ill_in_a_pipeline_too(redis_server):
    registry = Registry()
    with guard_client(redis.Redis(unix_socket_path=str(redis_server[0])), registry=registry) as client:
        client.config_set("min-replicas-to-write", 1)
        with pytest.raises(redis.RedisError, match="NOREPLICAS"):
            client.pipeline(transaction=False).set("a", ODD).execute()
    assert counts(registry) == {"failure": 1}
    registry.close()
