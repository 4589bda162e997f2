"""A RedisCluster refuses a command whose keys lie in several slots with the class that it has for a cluster without nodes,
so that careless callers opened the circuit for all others.
"""

import pytest
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException, SlotNotCoveredError

from resilience import Ending, Verdict
from resilience.integrations.redis import judge


def test_keys_of_several_slots_are_the_callers_fault():
    client = object.__new__(RedisCluster)
    client.command_flags, client.keyslot = {}, {"a": 1, "b": 2}.get
    with pytest.raises(RedisClusterException) as caught:
        client.determine_slot("EVAL", "return 1", 2, "a", "b")
    assert Verdict.CALLER_FAULT is judge(Ending(error=caught.value))


async def test_keys_of_several_slots_are_the_fault_of_a_caller_of_asyncio_as_well():
    client = object.__new__(AsyncRedisCluster)
    client.command_flags, client.keyslot = {}, {"a": 1, "b": 2}.get
    with pytest.raises(RedisClusterException) as caught:
        await client._determine_slot("EVAL", "return 1", 2, "a", "b")
    assert Verdict.CALLER_FAULT is judge(Ending(error=caught.value))


@pytest.mark.parametrize("error", [
    RedisClusterException("Redis Cluster cannot be connected. Please provide at least one reachable node: x"),
    RedisClusterException("All slots are not covered after query all startup_nodes. 1 of 16384 covered..."),
    SlotNotCoveredError('Slot "1" is not covered by the cluster.'),
])
def test_a_cluster_that_cannot_be_reached_is_a_failure(error):
    assert None is judge(Ending(error=error))
