"""XREADGROUP with COUNT before BLOCK, as redis-py sends it, was taken for a command that does not wait: it had the
timeout, the slots and the circuit of the others, so that an empty queue looked like an outage.
"""

import pytest
import redis

from resilience import Registry
from resilience.integrations.redis import _blocks, guard_client

WAITING = [
    ("BLPOP", "a", 0), ("BRPOP", "a", 0), ("BRPOPLPUSH", "a", "b", 0), ("BLMOVE", "a", "b", "LEFT", "RIGHT", 0),
    ("BLMPOP", 0, 1, "a", "LEFT"), ("BZPOPMIN", "a", 0), ("BZPOPMAX", "a", 0), ("BZMPOP", 0, 1, "a", "MIN"),
    ("WAIT", 1, 0), ("WAITAOF", 1, 1, 0), ("blpop", "a", 0), (b"BLPOP", "a", 0), ("BLPOP a", 0),
    ("XREAD", "BLOCK", 0, "STREAMS", "a", "$"), ("XREAD", b"COUNT", "1", b"BLOCK", "0", b"STREAMS", "a", "$"),
    ("XREAD BLOCK", 0, "STREAMS", "a", "$"), ("xread", "count", 1, "block", 0, "streams", "a", "$"),
    ("XREADGROUP", "GROUP", "g", "c", b"COUNT", "1", b"BLOCK", "2000", b"STREAMS", "a", ">"),
    ("XREADGROUP", "GROUP", "g", "c", "COUNT", 1, "NOACK", "CLAIM", 5, "BLOCK", 0, "STREAMS", "a", ">"),
    ("XREADGROUP", "COUNT", 1, "BLOCK", 0, "GROUP", "g", "c", "STREAMS", "a", ">"),
]
OTHERS = [
    ("GET", "BLOCK"), ("LPOP", "a"), ("XREAD", "STREAMS", "BLOCK", "0"), ("XREAD", "COUNT", 1, "STREAMS", "a", "0"),
    ("XREADGROUP", "GROUP", "BLOCK", "BLOCK", "STREAMS", "a", ">"), ("XADD", "a", "*", "BLOCK", "1"), (), ("",),
    ("XREADGROUP", "GROUP"),
]


@pytest.mark.parametrize("args", WAITING, ids=str)
def test_a_command_that_waits_at_the_server_is_known(args):
    assert _blocks(args)


@pytest.mark.parametrize("args", OTHERS, ids=str)
def test_a_command_that_does_not_wait_is_none_of_them(args):
    assert not _blocks(args)


def test_whatever_the_server_calls_blocking_is_known_or_may_be_told_to(redis_server):
    with redis.Redis(unix_socket_path=str(redis_server[0]), decode_responses=True) as client:
        found = {name.upper() for name, about in client.command().items() if "blocking" in about["flags"]}

    assert {"BLPOP", "XREADGROUP"} <= found
    assert [name for name in found if not _blocks((name, "BLOCK", "0"))] == []


def test_a_consumer_of_a_group_waits_as_a_blocking_command(redis_server):
    registry = Registry()
    client = guard_client(redis.Redis(unix_socket_path=str(redis_server[0])), registry=registry)
    with client:
        client.xgroup_create("jobs", "workers", "0", mkstream=True)
        client.xreadgroup("workers", "me", {"jobs": ">"}, count=1, block=1)
        client.xreadgroup("workers", "me", {"jobs": ">"}, count=1)

    assert {key: registry[key].snapshot().counts["success"] for key in ("redis", "redis.blocking")} == {
        "redis": 2, "redis.blocking": 1}
    registry.close()
