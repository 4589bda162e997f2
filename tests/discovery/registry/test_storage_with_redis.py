"""Registries that keep their list in a real redis-server: the scripts, and two processes with it lost, frozen and wiped."""

import asyncio
import json
import random
import time

import pytest

from resilience.config import ConfigFileError
from resilience.discovery.registry.application import read_clocks
from resilience.discovery.registry.records import START, Write, Written
from resilience.discovery.registry.server import load
from resilience.gateway import config as gateway_config
from resilience.gateway.config.shared import RegistryStoreSettings
from resilience.gateway.registry_host import RegistryHost
from resilience.gateway.registry_records import RegistryRecords
from tests.discovery.registry.memory_records import Records
from tests.discovery.registry.plain_registry import instance
from tests.discovery.registry.test_peers import Replica, until
from tests.gateway.harness import free_port
from tests.shared.redis_server import RedisServer

pytestmark = pytest.mark.process
PREFIX = "resilience:registry:"


@pytest.fixture
def redis(tmp_path):
    server = RedisServer(tmp_path)
    yield server
    server.kill()


async def connected(url, name):
    settings = RegistryStoreSettings(url=url, timeout=10.0)
    found = RegistryRecords(settings, settings.address)
    there = asyncio.Event()
    found.follow(lambda is_connected: there.set())
    found.start(name)
    await there.wait()
    return found


def random_write(random_):
    name, is_full = json.dumps(("SHOP", f"ü{random_.randrange(6)}")), random_.random() < 0.5
    return Write(name, 1000.0, random_.choice("12"), random_.randbytes(20), random_.randbytes(9) if is_full else None)


class Pair:
    """A store in Redis and one in memory, as one registry sees both; what they say must be the same."""

    def __init__(self, real, memory):
        self.real, self.memory, self.places = real, memory, [START, START]

    async def news(self, everything, vouches):
        found = [await each.news(place, everything=everything, vouches=vouches)
                 for each, place in zip((self.real, self.memory), self.places, strict=True)]
        self.places = [each.place for each in found]
        assert len({(each.place.number, each.is_from_start, each.is_whole, each.has_more) for each in found}) == 1
        assert [(each.name, each.copy) for each in found[0].records] == [(each.name, each.copy) for each in found[1].records]
        assert all(-1.0 < each.age_s < 300.0 for each in found[0].records)

    async def write(self, writes):
        found = [await each.write(place, writes) for each, place in zip((self.real, self.memory), self.places, strict=True)]
        assert found[0] == found[1]
        return set(found[0])

    async def read(self, names):
        found = [await each.read(names) for each in (self.real, self.memory)]
        assert [(each.name, each.copy, each.instance) for each in found[0]] == [
            (each.name, each.copy, each.instance) for each in found[1]]


async def compared(redis):
    random_, memory = random.Random(0), Records(random.Random(0), most=250)
    memory.delay_s = 0.0
    pairs, written = [], set()
    for name in "ab":
        view = memory.view()
        view.start(name)
        pairs.append(Pair(await connected(redis.url, name), view))
    for _ in range(300):
        pair, kind = random_.choice(pairs), random_.random()
        if kind < 0.3:
            await pair.news(random_.random() < 0.3, random_.random() < 0.1)
        elif kind < 0.9:
            written |= await pair.write([random_write(random_) for _ in range(random_.randrange(4))])
        elif kind < 0.95:
            await pair.read([random_write(random_).name for _ in range(3)])
        elif kind < 0.98:  # a lease runs out
            name = random_write(random_).name
            await pair.real._connection.call(lambda client, name=name: client.delete(f"{PREFIX}record:{name}"))
            memory.records.pop(name, None)
        else:
            assert b"+OK" == redis.say("FLUSHALL")
            memory.wipe()
    assert {*Written} == written
    for pair in pairs:
        pair.real.close()
        pair.memory.close()
        await pair.real.closed()


def test_the_scripts_do_what_the_store_in_memory_does(redis):
    asyncio.run(compared(redis))


async def expiring(redis):
    records = await connected(redis.url, "a")
    other = await connected(redis.url, "b")
    place = (await records.news(START, everything=False, vouches=False)).place
    written = await records.write(place, [Write("short", 0.05, "1", b"{}", b""), Write("long", 90_000.0, "1", b"{}", b"")])
    assert [Written.DONE] * 2 == written
    async with asyncio.timeout(30):
        while len((await other.news(START, everything=False, vouches=False)).records) > 1:
            await asyncio.sleep(0.02)
    assert 1 == await records._connection.call(lambda client: client.zcard(f"{PREFIX}log"))
    for key in ("log", "state"):
        assert 90_000 < await records._connection.call(lambda client, key=key: client.ttl(f"{PREFIX}{key}")) <= 180_000
    for each in (records, other):
        each.close()
        await each.closed()


def test_a_record_is_there_for_its_lease_and_the_log_longer_but_not_for_ever(redis):
    asyncio.run(expiring(redis))


async def reloaded(redis, directory):
    file = directory / "registry.toml"
    shared = f'[shared]\nurl = "{redis.url}"\ntimeout = 0.5\n'

    def config(text):
        file.write_text(text)
        return load(file)

    host = RegistryHost(config(shared))
    peers = host.application.peers
    host.start()
    async with asyncio.timeout(60):
        while not peers.storage.report(read_clocks())["in_sync"]:
            await asyncio.sleep(0.02)
        first = peers.storage
        host.change(config(f"[registry]\nmax_instances = 10\n{shared}"))
        assert peers.storage is first
        host.change(config(""))
        assert peers.storage is None
        host.change(config(shared.replace("0.5", "0.4")))
        while not peers.storage.report(read_clocks())["in_sync"]:
            await asyncio.sleep(0.02)
        redis.freeze()
        host.application.registry.register(instance("SHOP", "a"), "10.0.0.9", read_clocks())
        await host.close()


def test_a_reload_changes_the_store_and_a_frozen_one_does_not_keep_a_registry_from_ending(redis, tmp_path):
    asyncio.run(reloaded(redis, tmp_path))


@pytest.mark.parametrize(("said", "mistake"), [
    ("url = 'redis://me:secret@h/0'", "shared.url: must have no credentials"),
    ("url = 'http://h'", "shared.url: must begin with a known scheme"),
    ("url = 'redis://h'\npassword = 'hunter2'", 'must be "env:NAME" or "file:PATH"'),
    ("url = 'redis://h'\nusername = 'me'", "a user needs a password"),
    ("url = 'redis://h'\nintsances = 2", "unknown setting"), ("timeout = 1.0", "url")])
def test_mistakes_of_the_table_are_named_and_no_secret_is_shown(tmp_path, said, mistake):
    file = tmp_path / "registry.toml"
    file.write_text(f"[shared]\n{said}\n")
    with pytest.raises(ConfigFileError) as raised:
        load(file)
    assert mistake in str(raised.value)
    assert "secret@" not in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_a_gateways_file_has_it_below_the_table_of_its_registry(tmp_path):
    file = tmp_path / "gateway.toml"
    file.write_text('[registry.shared]\nurl = "redis://h"\n[services.one]\nendpoints = ["http://h"]\n'
                    '[[routes]]\npath = "/*"\nservice = "one"\n')
    assert RegistryStoreSettings(url="redis://h") == gateway_config.load(file).registry.shared


class Sharing(Replica):
    """A registry without peers, and with a store."""

    def __init__(self, directory, redis):
        super().__init__(directory, free_port(), [], f'[shared]\nurl = "{redis.url}"\ntimeout = 0.5\n')

    @property
    def store(self):
        return self.figures["shared"]

    def is_in_sync(self):
        return self.store["in_sync"]


def test_two_registries_share_a_list_and_a_restarted_one_begins_with_it_whatever_became_of_the_store(tmp_path, redis):
    a, b = Sharing(tmp_path, redis), Sharing(tmp_path, redis)
    try:
        until(lambda: a.is_in_sync() and b.is_in_sync())
        assert 204 == a.registers("one")
        assert 200 == a.ask("PUT", "/eureka/apps/SHOP/one/status?value=OUT_OF_SERVICE")[0]
        until(lambda: b.figures["hash"] == "OUT_OF_SERVICE_1_")
        assert b'data-field="state">in sync' in a.ask("GET", "/")[1]
        assert "resilience_registry_shared_connected 1.0" in a.ask("GET", "/metrics")[1].decode()

        b.kill()
        b.file.write_text(b.file.read_text().replace("start_wait = 1\n", "start_wait = 600\n"))
        b.begin()
        until(lambda: b.figures["complete"])
        assert b.has("one"), "it is complete when it has the list"

        redis.freeze()
        until(lambda: not a.store["is_connected"] and not b.store["is_connected"])
        began = time.monotonic()
        assert 204 == a.registers("two")
        assert 200 == b.ask("DELETE", "/eureka/apps/SHOP/one")[0]
        assert time.monotonic() - began < 10.0
        assert a.has("one")
        assert not b.has("two")
        assert b'data-field="state">lost' in a.ask("GET", "/")[1]
        redis.thaw()
        until(lambda: b.has("two") and not a.has("one"))

        assert b"+OK" == redis.say("FLUSHALL")
        until(lambda: redis.say("ZCARD", f"{PREFIX}log") == b":2")  # and what has left, too
        until(lambda: a.is_in_sync() and b.is_in_sync())

        redis.kill()
        assert 204 == b.registers("three")
        until(lambda: not a.store["is_connected"])
        redis.start()
        until(lambda: a.has("three"))
        until(lambda: redis.say("ZCARD", f"{PREFIX}log") == b":3")
    finally:
        for each in (a, b):
            status, err = each.stop()
            assert 0 == status, err
            assert "Traceback" not in err
