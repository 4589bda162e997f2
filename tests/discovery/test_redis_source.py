"""Instances that have a lease in Redis: registered by a registration, or by two commands of a shell; with a real server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import redis

from resilience import ConfigError
from resilience.discovery import Instance, InstanceStatus, RedisRegistrar, RedisSource, Registrant, Registration
from resilience.discovery.redis_instances import server_name
from tests.drivers.until import until

UP, DOWN = InstanceStatus.UP, InstanceStatus.DOWN
ORDERS = Registrant("orders", "10.0.0.1", 8080, zone="b", weight=2.0)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def url(redis_server: Any) -> str:
    return f"unix://{redis_server[0]}"


def urls(url: str, app: str = "orders") -> list[str]:
    return [each.url for each in asyncio.run(RedisSource(app, url, timeout_s=30.0).listing()).instances]


def test_a_registered_instance_is_listed_with_all_that_it_says_and_no_more_when_it_has_left(url: str) -> None:
    with Registration(ORDERS, url, timeout=30.0, leave_timeout=30.0) as mine:
        assert mine.wait(60)
        assert (Instance(url="http://10.0.0.1:8080", zone="b", weight=2.0),) == asyncio.run(RedisSource("orders", url).listing()).instances
        mine.set_status(DOWN)
        until(lambda: urls(url) == [])
        mine.set_status(UP)
        until(lambda: urls(url) == ["http://10.0.0.1:8080"])
        assert [] == urls(url, "billing")
    assert [] == urls(url)
    with redis.Redis.from_url(url) as client:
        assert [] == client.keys()


def test_two_commands_of_a_shell_register_an_instance(url: str, redis_server: Any) -> None:
    for words in (["SET", "resilience:instances:{orders}:a", '{"url": "http://10.0.0.7:80"}', "EX", "90"],
                  ["SADD", "resilience:instances:{orders}", "a"]):
        subprocess.run(["redis-cli", "-s", f"{redis_server[0]}", *words], check=True, timeout=60, stdout=subprocess.DEVNULL)
    assert ["http://10.0.0.7:80"] == urls(url)


def test_a_lease_that_is_over_is_nobody_and_whoever_renews_tidies_up(url: str) -> None:
    registrar = RedisRegistrar(url)
    registrar.register(ORDERS, UP, 90.0, 30.0)
    registrar.register(Registrant("orders", "10.0.0.2", 80), UP, 0.001, 30.0)
    until(lambda: urls(url) == ["http://10.0.0.1:8080"])
    with redis.Redis.from_url(url) as client:
        assert 2 == client.scard("resilience:instances:{orders}")
        assert 80 < client.ttl("resilience:instances:{orders}:10.0.0.1:orders:8080") <= 90
        assert registrar.renew(ORDERS, UP, 90.0, 30.0)
        assert [b"10.0.0.1:orders:8080"] == list(client.smembers("resilience:instances:{orders}"))


def test_a_redis_that_was_wiped_lists_nobody_and_has_the_instance_again_at_the_next_renewal(url: str) -> None:
    with Registration(ORDERS, url, lease=0.6, timeout=30.0) as mine, redis.Redis.from_url(url) as client:
        assert mine.wait(60)
        client.flushall()
        until(lambda: urls(url) == ["http://10.0.0.1:8080"])


@pytest.mark.process
def test_the_lease_of_a_process_that_is_killed_runs_out(url: str) -> None:
    program = f"""
import time
from resilience.discovery import Registrant, Registration
with Registration(Registrant("orders", "10.0.0.1", 8080), {url!r}, lease=1.0) as mine:
    assert mine.wait(60)
    print("there", flush=True)
    time.sleep(1000)
"""
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert b"there\n" == process.stdout.readline()
        until(lambda: urls(url) == ["http://10.0.0.1:8080"])
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        until(lambda: urls(url) == [])
    finally:
        process.kill()
        process.communicate()


def test_entries_with_mistakes_are_told_of_and_bounded(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        for name, content in (("a", '{"url": "http://10.0.0.1:80"}'), ("b", "{"), ("c", '{"url": "ftp://x"}'), ("d", '"http://10.0.0.4:80"'),
                              ("e", json.dumps({"url": "http://10.0.0.5:80", "zone": "z" * 5000})), ("f", "[" * 3000), ("g", '{"url": 1, "x": 2}')):
            client.set(f"resilience:instances:{{orders}}:{name}", content)
            client.sadd("resilience:instances:{orders}", name)
        client.sadd("resilience:instances:{orders}", b"\xff\xfe")
        listing = asyncio.run(RedisSource("orders", url).listing())
        assert ["http://10.0.0.1:80", "http://10.0.0.4:80"] == [each.url for each in listing.instances]
        assert ["b", "c", "e", "f", "g"] == [each.partition(":")[0] for each in listing.mistakes]
        client.sadd("resilience:instances:{orders}", *range(2001))
        with pytest.raises(ValueError, match="{orders} has more than 2000 IDs; SREM those"):
            asyncio.run(RedisSource("orders", url).listing())
        client.set("resilience:instances:{other}", "no set")
        with pytest.raises(redis.RedisError):
            asyncio.run(RedisSource("other", url).listing())


def test_a_redis_that_is_frozen_or_away_is_a_failure_in_time_and_no_empty_list(url: str, redis_server: Any) -> None:
    process = redis_server[1]
    os.kill(process.pid, signal.SIGSTOP)
    began = time.monotonic()
    try:
        with pytest.raises(redis.RedisError):
            asyncio.run(RedisSource("orders", url, timeout_s=0.05).listing())
        with pytest.raises(redis.RedisError):
            RedisRegistrar(url).register(ORDERS, UP, 90.0, 0.05)

        async def cancelled() -> None:
            async with asyncio.timeout(0.05):
                await RedisSource("orders", url, timeout_s=1000.0).listing()

        with pytest.raises(TimeoutError):
            asyncio.run(cancelled())
    finally:
        os.kill(process.pid, signal.SIGCONT)
    assert time.monotonic() - began < 60
    process.kill()
    process.wait(60)
    for each in (lambda: asyncio.run(RedisSource("orders", url).listing()), lambda: RedisRegistrar(url).leave(ORDERS, 30.0)):
        with pytest.raises(redis.ConnectionError):
            each()


@pytest.mark.parametrize(("url", "name"), [
    ("redis://any:secret@redis-1:6379/0", "redis-1:6379/0"), ("rediss://redis-1", "redis-1:6379"), ("unix:///run/redis.sock?db=1", "/run/redis.sock")])
def test_a_server_is_named_without_its_password(url: str, name: str) -> None:
    assert name == server_name(url)
    assert f"Redis {name}" == repr(RedisRegistrar(url))
    assert f"Redis {name}, instances of orders" == repr(RedisSource("orders", url))


@pytest.mark.parametrize("url", ["", "redis://", "http://x", "redis://x:y", "unix:", None])
def test_what_is_no_address_of_a_redis_is_a_mistake(url: Any) -> None:
    with pytest.raises(ConfigError, match="redis://redis-1:6379/0"):
        RedisSource("orders", url)
    with pytest.raises(ConfigError, match="app"):
        RedisSource("", "redis://x")


def test_a_key_of_another_type_is_the_mistake_of_one_instance(url: str) -> None:
    RedisRegistrar(url).register(ORDERS, UP, 90.0, 30.0)
    with redis.Redis.from_url(url) as client:
        client.sadd("resilience:instances:{orders}", "odd")
        client.hset("resilience:instances:{orders}:odd", "url", "http://10.0.0.2:80")
    listing = asyncio.run(RedisSource("orders", url, timeout_s=30.0).listing())
    assert ["http://10.0.0.1:8080"] == [each.url for each in listing.instances]
    (mistake,) = listing.mistakes
    assert mistake.startswith("odd: it cannot be read: ")


@pytest.mark.parametrize("command", [["SET", "junk"], ["HSET", "junk", "1"], ["RPUSH", "junk"], ["ZADD", "1", "junk"], ["XADD", "*", "junk", "1"]])
def test_the_keys_of_a_service_that_are_of_another_type_give_way_to_whoever_registers(url: str, command: list[str]) -> None:
    with redis.Redis.from_url(url) as client:
        client.flushall()
        for key in ("resilience:instances:{orders}", "resilience:instances:{orders}:10.0.0.1:8080"):
            client.execute_command(command[0], key, *command[1:])
        RedisRegistrar(url).register(ORDERS, UP, 90.0, 30.0)
        assert ["http://10.0.0.1:8080"] == urls(url)
