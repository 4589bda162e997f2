"""Somebody else writes to a key of the gateways' shared store: that costs at most what the key held, and nobody the store."""

import asyncio
import contextlib
import json
import logging
import re

import pytest

from resilience.gateway.config.shared import SharedSettings
from resilience.gateway.supervision.fleet_link import FleetLink
from resilience.shared.booking_script import BOOK
from resilience.shared.circuit_hints import HINTS, MOST
from resilience.shared.fleet_changes import Entry
from resilience.shared.membership import LIFETIME_S
from resilience.shared.store import Script, StoreRefusalError
from tests.shared.redis_server import RedisServer
from tests.shared.test_connection import closed, connection_to
from tests.shared.wrong_types import NO_NUMBERS, each_other_type

PREFIX = "test:"
LIMIT = f"{PREFIX}limit:{{one}}"
LINE = "0.1 10.0 0.0 5.0 1 0.0 0.0 0.0 0.0 0 3.0 1.0 1.0"
THING = "services/up"


@pytest.fixture
def redis(tmp_path):
    server = RedisServer(tmp_path)
    yield server
    server.kill()


class Gateways:
    """All that gateways ask a shared store: the beat and the questions of a worker, and those of a supervisor."""

    def __init__(self, redis):
        self.worker = connection_to(redis.url, timeout_s=10.0)
        self.link = FleetLink(SharedSettings(url=redis.url, prefix=PREFIX, timeout=5.0, name="one"), b"s" * 40)

    async def begin(self):
        for each in (self.worker, self.link.connection):
            await each.known()
        await self.ask()
        await self.say(1)

    async def ask(self):
        """Ask everything once; what cannot be answered raises."""
        for each in (self.worker, self.link.connection):
            await each._beat()
            assert each.is_connected, each.report()
            assert each.instances == 1
        self.booked = await self.worker.run(BOOK, [f"{PREFIX}epoch", LIMIT], [self.worker.instance, self.worker.epoch, LINE])
        at = f"{PREFIX}circuits:"
        keys = f"{at}gateways", f"{at}targets"
        said = at, "one", self.worker.instance, LIFETIME_S, 0.5, 2, MOST
        await self.worker.run(HINTS, keys, (*said, 1, 1, 1, "down", "30", "over", "unused"))
        _, self.view = await self.worker.run(HINTS, keys, (*said, 0, 0, 0))
        await self.link.read({"a": 1})

    async def say(self, number):
        entry = Entry(thing=THING, number=number, since=1, when=1.0, by="ops", patches=({"timeout": 1.0},))
        assert await self.link.write(self.link.texts([entry]))
        self.link.known[THING] = entry

    async def all_is_well(self, number):
        """After a question of each kind everything is as it was."""
        await self.ask()
        self.link._token = ""  # as after ten seconds
        await self.ask()
        assert float(self.booked[0].split()[-1]) <= 0.0
        assert json.loads(self.view) == [["down", 1, 1, "0"]]
        assert [(each.name, each.results) for each in await self.link.members()] == [("one", {"a": 1})]
        await self.say(number)
        assert (self.worker.losses, self.link.connection.losses, self.link.foreign) == (0, 0, 0)

    async def close(self):
        for each in (self.worker, self.link.connection):
            await closed(each)


@contextlib.asynccontextmanager
async def gateways(redis):
    found = Gateways(redis)
    await found.begin()
    yield found, found.worker.client
    await found.close()


def test_whatever_type_somebody_makes_a_key_all_questions_are_answered_and_it_is_what_it_was_at_the_next(redis):
    async def scenario():
        async with gateways(redis) as (gateway, client):
            before = {key: await client.type(key) for key in await client.keys(f"{PREFIX}*")}
            number = 1
            async for key, _ in each_other_type(client, PREFIX):
                number += 1
                await gateway.all_is_well(number)
                assert await client.type(key) in (before[key.encode()], b"none")
            assert len(before) >= 13, "every key of every script"

    asyncio.run(scenario())


@pytest.mark.parametrize("field", ["t", "v", "s", "i", "b", "lease"])
def test_whatever_somebody_writes_as_a_number_of_a_limit_the_next_question_is_answered(redis, field):
    async def scenario():
        async with gateways(redis) as (gateway, client):
            for text in NO_NUMBERS:
                await client.hset(LIMIT, field, f"{text}:{text}" if field == "lease" else text.encode("latin-1"))
                await gateway.ask()
                numbers = [float(word) for word in gateway.booked[0].split()]
                assert all(abs(each) < 1e16 for each in numbers)
                assert 0 < await client.ttl(LIMIT) < 3e7
            assert gateway.worker.losses == 0

    asyncio.run(scenario())


def test_an_epoch_and_a_token_that_cannot_be_meant_are_replaced(redis):
    async def scenario():
        async with gateways(redis) as (gateway, client):
            number = 1
            for text in (*NO_NUMBERS, "ab:1.2.3", "ab:.", "ab:99999999999", "ab:" + "9" * 400):
                for key in (f"{PREFIX}epoch", f"{PREFIX}fleet:epoch", f"{PREFIX}fleet:token"):
                    await client.set(key, text.encode("latin-1"))
                number += 1
                await gateway.all_is_well(number)
                assert float(gateway.worker.epoch.partition(":")[2]) < 9e9

    asyncio.run(scenario())


def test_a_view_of_circuits_that_somebody_else_wrote_is_not_there_for_ever(redis):
    async def scenario():
        async with gateways(redis) as (gateway, client):
            for ttl in (None, 1_000_000):
                await client.hset(f"{PREFIX}circuits:views", "0.5:2", "junk")
                if ttl is not None:
                    await client.pexpire(f"{PREFIX}circuits:views", ttl)
                at = f"{PREFIX}circuits:"
                await gateway.worker.run(HINTS, (f"{at}gateways", f"{at}targets"), (
                    at, "one", gateway.worker.instance, LIFETIME_S, 0.5, 2, MOST, 0, 0, 0))
                assert await client.pttl(f"{PREFIX}circuits:views") <= 250

    asyncio.run(scenario())


FAILS = Script("redis.call('SET', KEYS[1], 'x') return redis.call('HGET', KEYS[1], 'x')")
ODD = Script("return redis.call('INCRBY', KEYS[1], 'x')")
NONSENSE = Script("return nothing.here")


def test_a_question_that_the_server_refuses_is_no_loss_and_is_named_with_its_keys_once(redis, caplog):
    async def scenario():
        connection = connection_to(redis.url, timeout_s=10.0)
        await connection.known()
        for script in (FAILS, ODD, NONSENSE):
            for _ in range(2):
                with pytest.raises(StoreRefusalError, match="refuses a question about test:odd: "):
                    await connection.run(script, ["test:odd"], ())
            assert connection.is_connected
        assert "test:odd" in connection.report()["trouble"]
        assert (connection.losses, len(caplog.records)) == (0, 3)
        assert all("about test:odd" in each.getMessage() for each in caplog.records)
        redis.say("SET", "test:odd", "1")
        answers = Script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
        with pytest.raises(StoreRefusalError):
            await connection.run(answers, ["test:odd"], ("x",))
        assert await connection.run(answers, ["test:odd"], (1,)) == 2
        assert "answers again" in caplog.records[-1].getMessage()
        await closed(connection)

    with caplog.at_level(logging.WARNING, logger="resilience"):
        asyncio.run(scenario())


def test_keys_that_the_user_may_not_touch_cost_what_needs_them_and_nothing_else(redis):
    async def scenario():
        redis.say("ACL", "SETUSER", "default", "resetkeys", "~test:instances", "~test:epoch", "~test:limit:*")
        async with contextlib.AsyncExitStack() as stack:
            connection = connection_to(redis.url, timeout_s=10.0)
            stack.push_async_callback(closed, connection)
            await connection.known()
            with pytest.raises(StoreRefusalError, match="about test:circuits:gateways, test:circuits:targets: "):
                await connection.run(HINTS, ("test:circuits:gateways", "test:circuits:targets"), (
                    "test:circuits:", "one", "i", LIFETIME_S, 0.5, 2, MOST, 0, 0, 0))
            assert await connection.run(BOOK, ["test:epoch", LIMIT], ["i", connection.epoch, LINE])
            assert connection.losses == 0

    asyncio.run(scenario())


def test_scripts_that_the_server_has_forgotten_are_sent_again(redis):
    async def scenario():
        async with gateways(redis) as (gateway, _):
            redis.say("SCRIPT", "FLUSH")
            await gateway.all_is_well(2)

    asyncio.run(scenario())


WHOLE = {
    "a replica": ((("REPLICAOF", "127.0.0.1", "1"),), (("REPLICAOF", "NO", "ONE"),), "read.only|replica|[Mm]aster"),
    "no memory": ((("CONFIG", "SET", "maxmemory", "1"),), (("CONFIG", "SET", "maxmemory", "0"),), "memory"),
    "no disk": ((("CONFIG", "SET", "min-replicas-to-write", "1"),), (("CONFIG", "SET", "min-replicas-to-write", "0"),),
                "[Rr]eplica"),
}


@pytest.mark.parametrize("trouble", WHOLE)
def test_what_the_server_says_of_itself_is_the_loss_of_the_store_in_its_words_until_it_is_over(redis, trouble):
    begins, ends, said = WHOLE[trouble]

    async def scenario():
        connection = connection_to(redis.url, timeout_s=10.0)
        await connection.known()
        for command in begins:
            assert redis.say(*command) == b"+OK"
        await connection._beat()
        assert not connection.is_connected
        assert re.search(said, connection.report()["trouble"]), connection.report()
        for command in ends:
            assert redis.say(*command) == b"+OK"
        async with asyncio.timeout(30):
            while not connection.is_connected:
                await asyncio.sleep(0.01)
        await closed(connection)

    asyncio.run(scenario())


@pytest.mark.parametrize("password", [None, "wrong"])
def test_a_password_that_is_missing_or_wrong_is_said_in_words(redis, password):
    async def scenario():
        redis.say("CONFIG", "SET", "requirepass", "right")
        connection = connection_to(redis.url, timeout_s=10.0) if password is None else connection_to(
            redis.url.replace("//", f"//:{password}@"), timeout_s=10.0)
        await connection.known()
        assert not connection.is_connected
        assert connection.report()["trouble"].startswith("it takes no questions without a right password and user: ")
        await closed(connection)

    asyncio.run(scenario())
