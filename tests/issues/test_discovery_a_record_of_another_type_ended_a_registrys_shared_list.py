"""Somebody else writes to a key of the registries' shared store: what cannot be meant is shown, and gives way."""

import asyncio
import contextlib
import json
import time

import pytest

from resilience.discovery.registry.instance_registry import InstanceRegistry
from resilience.discovery.registry.moment import Moment
from resilience.discovery.registry.settings import RegistrySettings
from resilience.discovery.registry.storage import Storage
from resilience.gateway.config.shared import RegistryStoreSettings
from resilience.gateway.registry_records import RegistryRecords
from tests.discovery.registry.plain_registry import instance
from tests.shared.redis_server import RedisServer
from tests.shared.wrong_types import MAKERS, NO_NUMBERS, each_other_type, make

PREFIX = "resilience:registry:"
RECORD = f'{PREFIX}record:["SHOP", "a"]'


@pytest.fixture
def redis(tmp_path):
    server = RedisServer(tmp_path)
    yield server
    server.kill()


def now():
    return Moment(time.monotonic(), int(time.time() * 1000))


class Node:
    """A registry with a store, which exchanges with it when it is told to."""

    def __init__(self, redis, name):
        settings = RegistryStoreSettings(url=redis.url, timeout=10.0)
        self.records, self.name = RegistryRecords(settings, settings.address), name
        self.begin()

    def begin(self):
        """As after a restart."""
        self.registry = InstanceRegistry(RegistrySettings(), now(), self.name)
        self.storage = Storage(self.records, self.registry, now, most_queued=100, complete=lambda by: None)
        self.registry.changed = self.storage.note

    @property
    def connection(self):
        return self.records._connection

    async def start(self):
        self.records.start(self.registry.name)
        await self.connection.known()

    async def exchange(self):
        """Until nothing is left to be written; each exchange must succeed."""
        await self.connection._beat()
        for _ in range(5):
            await self.storage._exchange()
            if not len(self.storage.queue):
                return
        raise AssertionError("it is not written")

    def registers(self, identity, **more):
        self.registry.register(instance("SHOP", identity, dirty_ms=now().unix_ms, **more), "10.0.0.9", now())

    def renews(self, identity):
        assert self.registry.renew("SHOP", identity, now())

    @property
    def table(self):
        return {lease.key: (lease.version, lease.entry.instance) for lease in self.registry.leases()}


@contextlib.asynccontextmanager
async def registries(redis):
    """Two that share a list of two instances; and a third one, which restarts now and then."""
    nodes = [Node(redis, name * 16) for name in "abc"]
    for each in nodes:
        await each.start()
    nodes[0].registers("a")
    nodes[1].registers("b")
    await all_is_well(nodes)
    yield nodes, nodes[0].connection.client
    for each in nodes:
        each.records.close()
        await each.records.closed()


async def all_is_well(nodes):
    """Whatever is said to one of them is soon at the other, at one that starts, and in the store."""
    *nodes, third = nodes
    number = time.monotonic_ns()
    nodes[0].renews("a")
    nodes[1].renews("b")
    nodes[0].registers("c", metadata={"number": f"{number}"})
    for _ in range(3):
        for each in nodes:
            await each.exchange()
    assert nodes[0].table == nodes[1].table
    assert nodes[0].registry.lease("SHOP", "c").entry.instance.metadata == {"number": f"{number}"}
    for each in nodes:
        assert each.storage.report(now())["in_sync"]
        assert (each.connection.losses, each.connection.report()["trouble"]) == (0, None)
    place = (await nodes[0].records.news(nodes[0].storage._place, everything=False, vouches=True)).place
    assert place == nodes[0].storage._place == nodes[1].storage._place, "what was read is not read again"
    third.begin()
    await third.exchange()
    assert third.table == nodes[0].table


def test_whatever_type_somebody_makes_a_key_every_registry_soon_has_everything_again(redis):
    async def scenario():
        async with registries(redis) as (nodes, client):
            keys = await client.keys(f"{PREFIX}*")
            assert {key.decode().removeprefix(PREFIX).partition(":")[0] for key in keys} == {
                "state", "log", "whole", "record", "instances", "epoch"}, "every key of every script"
            async for key, kind in each_other_type(client, PREFIX):
                await all_is_well(nodes)
                assert (await client.type(key)).decode() != kind

    asyncio.run(scenario())


def test_a_record_that_is_none_changes_nothing_is_shown_and_is_written_over_when_the_instance_renews(redis):
    async def scenario():
        async with registries(redis) as ((a, b, _), client):
            table = a.table
            for kind in MAKERS:
                if kind == "hash":
                    continue
                await make(client, RECORD, kind)
                b.storage._begin_anew()  # as after a loss
                await b.exchange()
                assert b.table == table
                assert 'a record must be JSON, in the record ["SHOP", "a"]' in b.storage.error
                a.renews("a")
                await a.exchange()
                assert await client.type(RECORD) == b"hash"
                assert json.loads(await client.hget(RECORD, "instance"))["instanceId"] == "a"

    asyncio.run(scenario())


@pytest.mark.parametrize("field", ["by", "at", "version", "copy", "instance"])
def test_whatever_somebody_writes_into_a_record_the_list_goes_on(redis, field):
    async def scenario():
        async with registries(redis) as (nodes, client):
            for text in (*NO_NUMBERS, "[" * 5000, "x" * 9000, '{"app":"SHOP","id":"a"}'):
                await client.hset(RECORD, field, text.encode("latin-1"))
                for each in nodes[:2]:
                    each.storage._begin_anew()
                    await each.exchange()
                nodes[0].registers("a", metadata={"at": f"{time.monotonic_ns()}"})
                await all_is_well(nodes)

    asyncio.run(scenario())


@pytest.mark.parametrize("field", ["token", "number"])
def test_whatever_somebody_writes_as_the_state_the_list_goes_on(redis, field):
    async def scenario():
        async with registries(redis) as (nodes, client):
            for text in (*NO_NUMBERS, "9" * 400, "9007199254740993"):
                await client.hset(f"{PREFIX}state", field, text.encode("latin-1"))
                await all_is_well(nodes)
            await client.hdel(f"{PREFIX}state", field)
            await all_is_well(nodes)

    asyncio.run(scenario())


def test_whatever_somebody_writes_to_the_log_the_list_goes_on(redis):
    async def scenario():
        async with registries(redis) as (nodes, client):
            for score in ("inf", "-inf", "1e300", "-1e300", "4503599627370496", "1000", "2000.5", "0", "-7"):
                for name in ("nobody", '["SHOP", "a"]'):
                    await client.zadd(f"{PREFIX}log", {name: score})
                    await all_is_well(nodes)

    asyncio.run(scenario())


def test_a_state_that_is_lost_alone_is_made_anew_above_what_the_log_has(redis):
    async def scenario():
        async with registries(redis) as (nodes, client):
            await client.delete(f"{PREFIX}state")
            for each in nodes[:2]:
                await each.exchange()
            before = [each.storage.counts["read_from_start"] for each in nodes]
            for _ in range(3):
                for each in nodes[:2]:
                    await each.exchange()
            assert before == [each.storage.counts["read_from_start"] for each in nodes]
            await all_is_well(nodes)

    asyncio.run(scenario())
