"""The connection to a real redis-server: lost, frozen, wiped and found again."""

import asyncio
import time

import pytest

from resilience import Registry
from resilience.shared.connection import KEY, Connection
from resilience.shared.redis_client import StoreAddress, url_mistake
from resilience.shared.store import Script, StoreUnavailableError

#: Generous, for machines that are busy with something else.
TIMEOUT_S = 0.5
ANSWER = Script("return {ARGV[1], 7}")


def connection_to(url, *, name="one", timeout_s=TIMEOUT_S, registry=None):
    address = StoreAddress(url=url)
    return Connection(lambda: address.client(name=name, connect_s=2.0), place=url, name=name, prefix="test:",
                      timeout_s=timeout_s, registry=Registry() if registry is None else registry)


async def closed(connection):
    connection.close()
    await connection.closed()


async def becomes(check):
    async with asyncio.timeout(30):
        while not check():
            await asyncio.sleep(0.005)


async def ask(connection):
    return await connection.run(ANSWER, (), ("hello",))


def run(scenario):
    asyncio.run(scenario)


def test_a_script_that_the_server_does_not_know_is_sent_once_and_called_by_its_digest_then(redis):
    async def scenario():
        connection = connection_to(redis.url)
        await connection.known()
        assert [await ask(connection) for _ in range(3)] == [[b"hello", 7]] * 3
        assert connection.instances == 1
        assert connection.epoch.endswith(":0"), "a store that was empty was not wiped"
        await closed(connection)

    run(scenario())


def test_instances_know_how_many_they_are_and_one_that_leaves_says_so(redis):
    async def scenario():
        several = [connection_to(redis.url, name=f"gateway-{number}") for number in range(3)]
        for each in several:
            await each.known()
        assert [each.instances for each in several] == [1, 2, 3]
        await becomes(lambda: {each.instances for each in several} == {3})
        await closed(several[0])
        await becomes(lambda: redis.say("ZCARD", "test:instances") == b":2")
        for each in several[1:]:
            await closed(each)

    run(scenario())


def test_a_store_that_was_lost_costs_one_timeout_and_nobody_waits_for_it_afterwards(redis):
    async def scenario():
        connection = connection_to(redis.url, timeout_s=0.2)
        told = []
        connection.follow(told.append)
        await connection.known()
        redis.freeze()
        with pytest.raises(StoreUnavailableError, match=r"lost: no answer within 0\.2 s"):
            await ask(connection)
        began = time.perf_counter()
        for _ in range(100):
            with pytest.raises(StoreUnavailableError):
                await ask(connection)
        assert time.perf_counter() - began < 0.2, "not even one more timeout"
        assert connection.instances == 1
        redis.thaw()
        await becomes(lambda: connection.is_connected)
        assert await ask(connection) == [b"hello", 7]
        assert (told, connection.losses) == ([True, False, True], 1)
        await closed(connection)

    run(scenario())


def test_a_store_that_is_there_only_later_is_found_and_one_that_was_wiped_has_another_epoch(redis):
    async def scenario():
        redis.kill()
        connection = connection_to(redis.url)
        await connection.known()
        assert not connection.is_connected
        with pytest.raises(StoreUnavailableError):
            await ask(connection)
        redis.start()
        await becomes(lambda: connection.is_connected)
        first = connection.epoch
        redis.say("FLUSHALL")
        await becomes(lambda: connection.epoch != first)
        assert first.endswith(":0")
        assert not connection.epoch.endswith(":0")
        await closed(connection)

    run(scenario())


def test_whoever_is_cancelled_while_asking_loses_nothing_for_the_others(redis):
    async def scenario():
        connection = connection_to(redis.url)
        await connection.known()
        for _ in range(20):
            asking = asyncio.ensure_future(ask(connection))
            await asyncio.sleep(0)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert await ask(connection) == [b"hello", 7]
        assert connection.is_connected
        await closed(connection)

    run(scenario())


def test_a_round_trip_is_a_call_of_a_command_so_its_times_and_its_circuit_can_be_seen(redis):
    async def scenario():
        registry = Registry()
        connection = connection_to(redis.url, registry=registry)
        await connection.known()
        await ask(connection)
        assert registry.get(KEY).snapshot().requests == 2
        redis.kill()
        await becomes(lambda: not connection.is_connected)
        assert registry.get(KEY).state.value == "open"
        await closed(connection)

    run(scenario())


@pytest.mark.parametrize(("url", "said"), [
    ("http://h", "known scheme"), ("redis://user:secret@h", "no credentials"), ("redis://h/x", "a host"),
    ("redis://h?password=x", "no credentials"), ("redis://h?db=1", "no query"), ("redis://h:99999", "no URL"), ("unix://h", "a socket"),
    ("redis+sentinel://a,b", "a name"), ("redis+sentinel://a:b/m", "Sentinels"), (7, "URL")])
def test_an_address_that_is_none_is_refused_with_what_to_write(url, said):
    assert said in url_mistake(url)


@pytest.mark.parametrize("url", ["redis://h", "rediss://h:1/2", "valkey://[::1]:1", "unix:///tmp/x.sock", "redis+sentinel://a,b:3/main/1"])
def test_addresses_of_every_kind_make_a_client_that_connects_to_nothing(url):
    assert url_mistake(url) is None
    assert StoreAddress(url=url, password="x").client(name="n", connect_s=1.0) is not None


def test_an_epoch_that_somebody_else_has_written_is_replaced_at_once(redis):
    async def scenario():
        redis.say("SET", "test:epoch", "junk")
        connection = connection_to(redis.url)
        await connection.known()
        assert connection.epoch.endswith(":0")
        await closed(connection)

    run(scenario())


class Echo:
    """A client of redis-py, whose server answers what it is told to."""

    def __init__(self, answers):
        self._answers = answers

    async def ping(self):
        return True

    async def execute_command(self, *words):
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    async def aclose(self):
        pass


@pytest.mark.parametrize("junk", [7, None, [b"x", b"e:0"], [1, 7], [1]])
def test_a_beat_whose_answer_is_none_is_no_reason_to_look_for_the_store_no_more(junk):
    async def scenario():
        client = Echo([junk, [3, b"e:0"]])
        connection = Connection(lambda: client, place="x", name="one", prefix="", timeout_s=1.0, registry=Registry())
        connection.start()
        await becomes(lambda: connection.is_connected)
        assert connection.instances == 3
        await closed(connection)

    run(scenario())


def test_questions_that_come_together_need_no_new_connection_for_which_somebody_would_wait(redis):
    async def scenario():
        connection = connection_to(redis.url)
        await connection.known()
        made = int((await connection.call(lambda client: client.info("stats")))["total_connections_received"])
        await asyncio.gather(ask(connection), ask(connection), ask(connection))
        stats = await connection.call(lambda client: client.info("stats"))
        assert int(stats["total_connections_received"]) == made
        await closed(connection)

    run(scenario())
