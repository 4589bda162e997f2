"""Shared limits over real connections to real servers: wiped, killed, frozen, slow, cut off, failed over."""

import asyncio
import contextlib
import time

import pytest

from resilience import RateLimitedError, Registry
from resilience.gateway.limits.request_limit import policy_of
from resilience.gateway.limits.shared_limit import SharedLimit

from .redis_server import RedisServer
from .test_connection import becomes, closed, connection_to

#: A limit that gives nothing back while a test runs, on however slow a machine.
PER_S = 3600.0


class Gateways:
    """Several gateways, each with a connection of its own."""

    def __init__(self, urls, *, calls=20, timeout_s=0.5, when_unavailable="share"):
        self.connections, self.limits = [], []
        for number, url in enumerate(urls):
            registry = Registry()
            self.connections.append(connection_to(url, name=f"gateway-{number}", timeout_s=timeout_s, registry=registry))
            self.limits.append(SharedLimit(policy_of(calls, PER_S), name="limit", max_waiting=10, store=self.connections[-1],
                                           when_unavailable=when_unavailable, clock=registry.clock))

    async def __aenter__(self):
        for each in self.connections:
            await each.known()
        await becomes(lambda: {each.instances for each in self.connections} == {len(self.connections)})
        return self

    async def __aexit__(self, *_):
        for each in self.connections:
            await closed(each)

    async def ask(self, number, key="one"):
        try:
            await self.limits[number].wait(self.limits[number].book(key, 1.0))
        except RateLimitedError:
            return False
        return True

    async def admitted(self, requests, *, among=None, key="one"):
        """How many of so many requests were admitted, one after another, by each gateway in turn."""
        among = range(len(self.limits)) if among is None else among
        return sum([await self.ask(among[number % len(among)], key) for number in range(requests)])

    async def lost(self):
        """Wait until each has noticed that the store is lost."""
        await becomes(lambda: not any(each.is_connected for each in self.connections))

    async def there(self):
        await becomes(lambda: all(each._exchange.is_usable for each in self.limits))


def run(scenario):
    asyncio.run(scenario())


def test_gateways_have_one_limit_together(redis):
    async def scenario():
        async with Gateways([redis.url] * 3) as gateways:
            assert await gateways.admitted(60) in (19, 20), "up to a unit of the burst may be set aside elsewhere"
            assert await gateways.ask(0, "another")

    run(scenario)


@pytest.mark.parametrize("trouble", ["killed", "frozen", "paused"])
def test_without_the_server_each_has_its_share_at_once_and_nobody_gets_a_burst_twice(redis, trouble):
    async def scenario():
        async with Gateways([redis.url] * 4, timeout_s=0.3) as gateways:
            assert await gateways.admitted(30, key="used up") >= 19
            {"killed": redis.kill, "frozen": redis.freeze, "paused": lambda: redis.say("CLIENT PAUSE 600000 ALL")}[trouble]()
            await gateways.lost()
            began = time.perf_counter()
            assert await gateways.admitted(80, key="new") == 20, "5 for each of the four"
            assert await gateways.admitted(40, key="used up") <= 5, "who asked long ago knows less"
            assert time.perf_counter() - began < 0.3, "nobody waits"
            {"killed": redis.start, "frozen": redis.thaw, "paused": lambda: (redis.kill(), redis.start())}[trouble]()
            await gateways.there()
            assert await gateways.admitted(60, key="new") <= 1
            assert await gateways.admitted(60, key="used up") <= 1

    run(scenario)


def test_a_server_that_was_wiped_gives_nobody_a_fresh_burst(redis):
    async def scenario():
        async with Gateways([redis.url] * 2) as gateways:
            assert await gateways.admitted(30) >= 19
            redis.say("FLUSHALL")
            assert await gateways.admitted(60) <= 1
            assert await gateways.admitted(10, key="never seen") <= 1, "nobody knows whether it had its burst"

    run(scenario)


def test_a_replica_that_takes_over_goes_on_where_it_was_and_what_it_missed_is_told(redis, tmp_path):
    async def scenario():
        (tmp_path / "replica").mkdir()
        replica = RedisServer(tmp_path / "replica", of=redis)
        proxy = await Proxy.to(redis.port)
        try:
            await becomes(lambda: replica.say("ROLE") == b"*5" and redis.say("WAIT 1 1000") == b":1")
            async with Gateways([proxy.url] * 2, timeout_s=0.3) as gateways:
                assert await gateways.admitted(10) == 10
                assert redis.say("WAIT 1 10000") == b":1"
                replica.freeze()  # what comes now it will not hear of
                assert await gateways.admitted(30) >= 9
                redis.kill()
                await gateways.lost()
                replica.thaw()
                replica.say("REPLICAOF NO ONE")
                proxy.port = replica.port
                await gateways.there()
                assert await gateways.admitted(60) <= 1
        finally:
            await proxy.close()
            replica.kill()

    run(scenario)


def test_a_gateway_that_is_cut_off_has_its_share_and_says_what_it_admitted_when_it_is_back(redis):
    async def scenario():
        proxy = await Proxy.to(redis.port)
        async with Gateways([redis.url, proxy.url], timeout_s=0.3) as gateways:
            proxy.swallow()
            await becomes(lambda: not gateways.connections[1].is_connected)
            assert await gateways.admitted(20, among=[1]) == 10
            assert await gateways.admitted(5, among=[0]) == 5
            proxy.pass_on()
            await gateways.there()
            await becomes(lambda: gateways.limits[1]._exchange.questions > 0)
            assert await gateways.admitted(30) <= 6
        await proxy.close()

    run(scenario)


def test_the_loss_costs_one_request_one_timeout_and_all_others_a_quarter_of_one_at_most(redis):
    async def scenario():
        async with Gateways([redis.url], timeout_s=1.0) as gateways:
            await gateways.ask(0)
            redis.freeze()
            took = []

            async def timed(number):
                began = time.perf_counter()
                await gateways.ask(0, f"key {number}")
                took.append(time.perf_counter() - began)

            await asyncio.gather(*(timed(number) for number in range(10)))
            await gateways.lost()
            for number in range(10):
                await timed(number)
            took.sort()
            redis.thaw()
            assert sum(each > 0.9 for each in took) <= 1
            assert took[-1] < 2.0
            assert took[-2] < 0.9

    run(scenario)


def test_whatever_a_service_says_that_a_request_took_the_store_can_remember_it(redis):
    async def scenario():
        async with Gateways([redis.url]) as gateways:
            (limit,) = gateways.limits
            booking = limit.book("one", 1.0)
            await limit.wait(booking)
            limit.settle(booking, 1e300)
            assert not await gateways.ask(0)
            assert await gateways.ask(0, "another")
            assert gateways.connections[0].losses == 0

    run(scenario)


class Proxy:
    """A TCP proxy that can swallow what it is given, or send it elsewhere."""

    @classmethod
    async def to(cls, port):
        self = cls()
        self.port, self._is_open, self._writers = port, asyncio.Event(), set()
        self._is_open.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def swallow(self):
        self._is_open.clear()

    def pass_on(self):
        self._is_open.set()

    async def _serve(self, reader, writer):
        self._writers.add(writer)
        try:
            other, onwards = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            writer.close()
            return
        self._writers.add(onwards)
        await asyncio.gather(self._pump(reader, onwards), self._pump(other, writer))

    async def _pump(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._is_open.wait()
                writer.write(data)
        writer.close()

    async def close(self):
        self._server.close()
        for each in self._writers:
            each.close()
        await asyncio.sleep(0.05)
