"""A directory: code that calls the instances of a service follows a source, by failover or with a command for each instance."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from resilience import CircuitBreaker, ConfigError, Registry, Retry, State
from resilience.discovery import Directory, FileSource, InstanceTarget, Listing, NoInstanceError
from resilience.discovery.http_client import HttpServer
from tests.drivers.until import until
from tests.forked import forked
from tests.seeds import over_seeds

ONE, TWO, THREE = (f"http://10.0.0.{number}:80" for number in (1, 2, 3))
BREAKER = CircuitBreaker(consecutive=2, failure_rate=None, open_for=3600.0)
ROOT = Path(__file__).parents[2]


class Told:
    """A source that lists what it is told. Whoever tells it something waits until that was listed twice: it is in force then."""

    def __init__(self, *lists: Any) -> None:
        self.lists: Any = lists
        self.changed = threading.Condition()
        self.times = 0

    def __repr__(self) -> str:
        return "a script"

    async def listing(self) -> Listing:
        with self.changed:
            self.times += 1
            self.changed.notify_all()
            if isinstance(self.lists, Exception):
                raise self.lists
            return Listing.of(self.lists)

    def says(self, *lists: Any) -> None:
        with self.changed:
            self.lists = lists[0] if lists and isinstance(lists[0], Exception) else lists
            end = self.times + 2
            assert self.changed.wait_for(lambda: self.times >= end, 60)


def directory(source: Any, **said: Any) -> Directory:
    return Directory("orders", source, **{"interval": 0.05, "registry": Registry(), "wait": 60.0, **said})


class Shop:
    """What the instances answer."""

    def __init__(self) -> None:
        self.down: set[str] = set()
        self.called: list[str] = []

    def answer(self, target: Any) -> str:
        self.called.append(f"{target}")
        if target in self.down:
            raise ConnectionError(f"{target}")
        return f"{target.url}"


def test_the_last_good_list_stays_with_its_age_whatever_the_source_does(caplog: pytest.LogCaptureFixture) -> None:
    source = Told(ONE, TWO)
    with directory(source) as orders:
        assert {ONE, TWO} == {orders.pick().url for _ in range(4)}
        for lists in ((), (OSError("away"),), ("nonsense", 7)):
            source.says(*lists)
            assert [ONE, TWO] == [each.url for each in orders.instances]
        assert orders.age_s is not None
        assert orders.age_s > 0
        assert "it has mistakes in 2 of 2 entries" == orders.report()["trouble"]
        source.says(TWO, THREE)
        assert [TWO, THREE] == [each.url for each in orders.instances]
        assert (None, THREE) == (orders.get("10.0.0.1:80"), orders.get("10.0.0.3:80") and orders.get("10.0.0.3:80").url)  # type: ignore[union-attr]
        assert THREE == orders.pick(avoid=["10.0.0.2:80"]).url
    times = source.times
    assert (None, 2) == (orders.age_s, len(orders.instances)), "what is closed has them still"
    assert times == source.times
    assert any("the last one of 2 endpoints" in each for each in caplog.messages)


def test_a_call_before_the_first_list_says_why_there_is_none(caplog: pytest.LogCaptureFixture) -> None:
    source = Told(OSError("connection refused"))
    source.lists = OSError("connection refused")
    orders = directory(source, wait=0.01)

    @orders.failover(timeout=None)
    def fetch(*, target: Any = None) -> str:
        return f"{target}"

    with pytest.raises(NoInstanceError, match="orders has no instance; nobody follows its source; call start()"):
        fetch()
    with orders:
        assert not orders.wait(0)
        until(lambda: orders.report()["trouble"])
        for ask in (fetch, orders.pick):
            with pytest.raises(NoInstanceError, match="orders has no instance; a script has listed none yet: connection refused"):
                ask()
        assert "orders: begins without an instance, for its source has listed none in 0.01 s" in caplog.messages
        source.says(ONE)
        assert orders.wait(60)
        assert "10.0.0.1:80" == fetch()


async def test_coroutines_wait_for_the_first_list_and_call_without_holding_their_loop_up() -> None:
    source, shop = Told(ONE), Shop()
    async with directory(source) as orders:
        assert await orders.wait_async(60)

        @orders.failover(timeout=60.0, breaker=BREAKER, retry=Retry(attempts=2, base=0.0))
        async def fetch(path: str, *, target: Any = None) -> str:
            await asyncio.sleep(0)
            return f"{shop.answer(target)}{path}"

        assert asyncio.iscoroutinefunction(fetch)
        assert f"{ONE}/x" == await fetch("/x")
        await asyncio.to_thread(source.says, ONE, TWO)
        shop.down.add("10.0.0.1:80")
        assert {f"{TWO}/x"} == {await fetch("/x") for _ in range(5)}
        shop.down.add("10.0.0.2:80")
        with pytest.raises(ConnectionError):
            await fetch("/x")
        assert "fetch" == fetch.__name__


def test_calls_fail_over_among_the_instances_and_what_stays_keeps_its_circuit_and_its_counts() -> None:
    source, shop, registry = Told(ONE, TWO), Shop(), Registry()
    with directory(source, registry=registry) as orders:
        @orders.failover(timeout=None, breaker=BREAKER)
        def fetch(*, target: Any = None) -> str:
            assert isinstance(target, InstanceTarget)
            return shop.answer(target)

        handles: Any = fetch.resilience  # type: ignore[attr-defined]
        assert {ONE, TWO} == {fetch() for _ in range(40)}
        shop.down.add("10.0.0.1:80")
        while handles["10.0.0.1:80"].state is not State.OPEN:
            assert TWO == fetch()
        counts = handles["10.0.0.2:80"].snapshot().counts["success"]
        source.says(ONE, TWO, THREE)
        assert ["open", "closed", "closed"] == [handles[f"10.0.0.{number}:80"].state.value for number in (1, 2, 3)]
        assert counts == registry["orders[10.0.0.2:80]"].snapshot().counts["success"]
        shop.called.clear()
        assert {TWO, THREE} == {fetch() for _ in range(60)}
        assert "10.0.0.1:80" not in shop.called
        source.says(TWO)
        assert ["orders[10.0.0.2:80]"] == [each.key for each in registry], "what is gone is forgotten, with its circuit"
        assert (TWO, 1, None) == (fetch(), len(handles), handles.get("10.0.0.1:80"))
        with pytest.raises(KeyError):
            handles["10.0.0.1:80"]
        source.says(ONE, TWO)
        assert State.CLOSED is handles["10.0.0.1:80"].state, "and begins anew when it comes back"


def test_generators_fail_over_until_their_first_item_and_pass_what_is_sent() -> None:
    source, shop = Told(ONE, TWO), Shop()
    with directory(source) as orders:
        @orders.failover(timeout=None, breaker=BREAKER)
        def stream(*, target: Any = None) -> Any:
            got = yield shop.answer(target)
            yield got

        @orders.failover(key="async", timeout=None, breaker=BREAKER)
        async def stream_async(*, target: Any = None) -> Any:
            got = yield shop.answer(target)
            yield got

        shop.down.add("10.0.0.1:80")
        for _ in range(10):
            opened = stream()
            assert [TWO, 7] == [next(opened), opened.send(7)]
            opened.close()

        async def main() -> None:
            for _ in range(10):
                opened = stream_async()
                assert [TWO, 7] == [await anext(opened), await opened.asend(7)]
                await opened.aclose()

        asyncio.run(main())


def test_weights_zones_and_priorities_say_who_gets_calls_and_others_only_help_out() -> None:
    source, shop = Told({"url": ONE, "zone": "b"}, {"url": TWO, "zone": "a"}, {"url": THREE, "zone": "a", "priority": 1}), Shop()
    with directory(source, zone="a") as orders:
        @orders.failover(timeout=None, breaker=BREAKER)
        def fetch(*, target: Any = None) -> str:
            return shop.answer(target)

        assert {TWO} == {fetch() for _ in range(20)} == {orders.pick().url for _ in range(5)}
        shop.down.add("10.0.0.2:80")
        assert {ONE} == {fetch() for _ in range(20)}
        shop.down.add("10.0.0.1:80")
        assert {THREE} == {fetch() for _ in range(20)}


def test_a_command_for_each_instance_is_forgotten_when_the_instance_is_gone() -> None:
    source, shop, registry = Told(ONE, TWO), Shop(), Registry()
    with directory(source, registry=registry) as orders:
        @orders.each(timeout=None, breaker=BREAKER)
        def fetch(instance: Any, path: str) -> str:
            return shop.answer(InstanceTarget(instance)) + path

        class Client:
            @orders.each(key="method", argument="where", timeout=None)
            def fetch(self, path: str, where: Any) -> str:
                return f"{where.url}{path}"

        assert [f"{ONE}/", f"{TWO}/"] == sorted(fetch(orders.pick(), "/") for _ in range(2))
        assert {f"{ONE}/", f"{TWO}/"} == {Client().fetch("/", orders.pick()), Client().fetch(path="/", where=orders.pick())}
        assert ["method@10.0.0.1:80", "method@10.0.0.2:80", "orders@10.0.0.1:80", "orders@10.0.0.2:80"] == sorted(
            each.key for each in registry)
        shop.down.add("10.0.0.1:80")
        one = orders.get("10.0.0.1:80")
        for _ in range(2):
            with pytest.raises(ConnectionError):
                fetch(one, "/")
        assert State.OPEN is registry["orders@10.0.0.1:80"].state
        source.says(TWO)
        assert ["method@10.0.0.2:80", "orders@10.0.0.2:80"] == sorted(each.key for each in registry)
        assert ["orders@10.0.0.2:80"] == [each.key for each in fetch.resilience]


def test_functions_with_one_key_share_the_commands_of_the_instances_and_must_agree() -> None:
    source, registry = Told(ONE), Registry()
    with directory(source, registry=registry) as orders:
        @orders.failover(timeout=None, breaker=BREAKER)
        def read(*, target: Any = None) -> str:
            return f"{target}"

        @orders.failover(timeout=None, breaker=BREAKER)
        def write(*, target: Any = None) -> str:
            return f"{target}"

        with pytest.raises(ConfigError, match="Functions with the same key need the same settings"):
            @orders.failover(timeout=None, breaker=CircuitBreaker(consecutive=7))
            def other(*, target: Any = None) -> str:
                return f"{target}"

        source.says(ONE, TWO)
        assert {"10.0.0.1:80", "10.0.0.2:80"} == {read() for _ in range(40)} == {write() for _ in range(40)}
        assert 80 == sum(each.snapshot().counts["success"] for each in registry)
        assert 2 == len(registry)


@pytest.mark.parametrize(("said", "option"), [
    ({"most": 0}, "most"), ({"most": 101}, "most"), ({"argument": "nobody"}, "argument"), ({"grace": -1}, "grace"), ({"timeout": -1}, "timeout"),
    ({"registry": Registry()}, "registry"), ({"tmeout": 3}, "tmeout"), ({"failover": None}, "failover")])
def test_a_mistake_of_a_failover_is_told_of_where_it_is_decorated_before_there_is_a_list(said: dict[str, Any], option: str) -> None:
    orders = directory(Told())
    with pytest.raises(ConfigError) as caught:
        @orders.failover(**said)
        def fetch(*, target: Any = None) -> str:
            return f"{target}"
    assert option == caught.value.option


def test_functions_with_one_key_use_the_same_number_of_instances() -> None:
    orders = directory(Told())
    orders.failover(most=3)(lambda target=None: target)
    with pytest.raises(ConfigError, match="most is 3 for the other functions with the key 'orders'"):
        orders.failover(most=4)(lambda target=None: target)


def test_a_command_for_each_instance_needs_the_parameter_that_is_the_instance() -> None:
    with pytest.raises(ConfigError, match="has no parameter 'instance'"):
        directory(Told()).each()(lambda path: path)
    for wrong in ({"interval": 0}, {"timeout": 0}, {"name": ""}):
        with pytest.raises(ConfigError):
            Directory(**{"name": "orders", "source": Told(), **wrong})  # type: ignore[arg-type]


def test_a_function_that_is_gone_is_no_more_declared() -> None:
    source = Told(ONE)
    with directory(source) as orders:
        def local() -> weakref.ref[Any]:
            @orders.failover(timeout=None)
            def fetch(*, target: Any = None) -> str:
                return f"{target}"

            assert "10.0.0.1:80" == fetch()
            return weakref.ref(fetch)

        gone = local()
        gc.collect()
        assert gone() is None
        source.says(TWO)
        assert [TWO] == [each.url for each in orders.instances]


def test_a_directory_that_nobody_has_any_more_asks_nothing() -> None:
    source = Told(ONE)
    orders = directory(source)
    orders.start()
    assert orders.wait(60)
    thread = next(each for each in threading.enumerate() if each.name == "directory of orders" and each.is_alive())
    del orders
    gc.collect()
    thread.join(60)
    assert not thread.is_alive()


def test_it_may_begin_again_and_what_was_begun_twice_is_one() -> None:
    source = Told(ONE)
    orders = directory(source)
    orders.close()
    for url in (ONE, TWO):
        source.lists = (url,)
        orders.start()
        orders.start()
        until(lambda url=url: [url] == [each.url for each in orders.instances])
        orders.close()


def test_a_kept_list_serves_after_a_restart_although_the_source_is_away(tmp_path: Path) -> None:
    with directory(Told(ONE, TWO), keep=f"{tmp_path / 'kept'}"):
        until((tmp_path / "kept").exists)
    source = Told()
    source.lists = OSError("away")
    with directory(source, keep=f"{tmp_path / 'kept'}") as orders:
        assert [ONE, TWO] == [each.url for each in orders.instances]
        assert orders.report()["is_restored"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_begins_with_the_set_of_its_parent_and_follows_the_source_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text(f'["{ONE}"]')
    with directory(FileSource(f"{path}", 0.01)) as orders:
        @orders.failover(timeout=None)
        def fetch(*, target: Any = None) -> str:
            return f"{target.url}"

        assert ONE == fetch()

        def in_child() -> None:
            assert (ONE, ONE) == (orders.pick().url, fetch())
            path.write_text(f'["{TWO}"]')
            until(lambda: [TWO] == [each.url for each in orders.instances])
            assert TWO == fetch()

        assert 0 == forked(in_child)
        until(lambda: fetch() == TWO)


@pytest.mark.process
def test_a_source_that_hangs_does_not_keep_a_process_alive(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "list")
    program = f"""
import time
from resilience.discovery import Directory, Listing
from resilience.discovery.daemon_thread import in_daemon_thread
class Hanging:
    async def listing(self):
        print("asked", flush=True)
        await in_daemon_thread(lambda: open({f"{tmp_path / 'list'}"!r}).read())
orders = Directory("orders", Hanging(), timeout=1000.0)
orders.start()
orders.wait(0.2)
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)


@over_seeds(2)
def test_no_call_is_lost_while_the_list_changes_all_the_time(seed: int) -> None:
    rng, source, shop = random.Random(seed), Told(ONE, TWO), Shop()
    ended, answers, troubles = threading.Event(), list[str](), list[BaseException]()
    with directory(source) as orders:
        @orders.failover(timeout=None, breaker=BREAKER)
        def fetch(*, target: Any = None) -> str:
            return shop.answer(target)

        @orders.each(timeout=None)
        def on(instance: Any) -> str:
            return f"{instance.url}"

        def call() -> None:
            try:
                while not ended.is_set():
                    answers.extend((fetch(), on(orders.pick())))
                    ended.wait(0.0005)  # one core may have to do all of it
            except BaseException as error:  # noqa: BLE001 - is looked at below
                troubles.append(error)

        threads = [threading.Thread(target=call) for _ in range(2)]
        for each in threads:
            each.start()
        try:
            for _ in range(6):
                source.says(*rng.sample([ONE, TWO, THREE, "http://10.0.0.4:80"], rng.randrange(1, 5)))
        finally:
            ended.set()
            for each in threads:
                each.join(60)
        source.says(ONE)
        assert ([], {ONE}) == (troubles, {fetch() for _ in range(5)})
        assert {"orders[10.0.0.1:80]"} == {each.key for each in orders.registry if "[" in each.key}
    assert answers
    logging.getLogger("resilience").debug("%d answers", len(answers))


def test_a_server_is_known_by_its_url() -> None:
    assert "http://localhost:8761/eureka" == repr(HttpServer("http://any:secret@localhost:8761/eureka"))


def test_functions_that_are_decorated_again_and_again_leave_no_more_behind_than_one() -> None:
    source = Told(ONE, TWO)
    with directory(source) as orders:
        for _ in range(20):
            @orders.each(key="stock")
            def stock(instance: Any) -> str:
                return f"{instance.url}"

            @orders.failover(key="fetch")
            def fetch(*, target: Any = None) -> str:
                return f"{target.url}"

        assert stock(orders.get("10.0.0.2:80")) == TWO
        assert 2 == len(orders._followers)
        source.says(ONE)
        assert ([], ONE) == ([each.key for each in stock.resilience], fetch())
