"""After a store was wiped each of several instances took the epoch of another for a further wipe, and began one more.

So the epoch changed with every beat, for ever, and every caller of a shared limit who came for the first time was
refused, as one who may have spent all before the wipe.
"""

import asyncio

import pytest

from tests.shared.redis_server import RedisServer
from tests.shared.test_connection import closed, connection_to


@pytest.fixture
def redis(tmp_path):
    server = RedisServer(tmp_path)
    yield server
    server.kill()


def test_instances_agree_on_one_epoch_after_the_store_was_wiped_and_go_on_with_it(redis):
    async def scenario():
        several = [connection_to(redis.url, name=f"gateway-{number}", timeout_s=10.0) for number in range(3)]
        for each in several:
            await each.known()
        first = several[0].epoch
        for _ in range(2):
            redis.say("FLUSHALL")
            for _ in range(3):
                for each in several:
                    await each._beat()
            assert len({each.epoch for each in several}) == 1
            assert first != several[0].epoch
            assert not several[0].epoch.endswith(":0"), "it was wiped"
            first = several[0].epoch
            for _ in range(3):
                for each in several:
                    await each._beat()
            assert {each.epoch for each in several} == {first}
        redis.say("SET", "test:epoch", "ab:0")  # of one who began with an empty store before the others came
        for _ in range(3):
            for each in several:
                await each._beat()
        assert len({each.epoch for each in several} - {first, "ab:0"}) == 1
        for each in several:
            await closed(each)

    asyncio.run(scenario())
