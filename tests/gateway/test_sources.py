"""Services whose endpoints a source lists: they come and go while requests go on, over reloads and restarts."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import pytest

from resilience import ConfigError, Registry, State
from resilience.config import ConfigFileError, Document
from resilience.discovery import Listing
from resilience.discovery.watch import Watch
from resilience.gateway import Gateway
from resilience.gateway.config import EndpointConfig, GatewayConfig, ServiceConfig, read
from resilience.gateway.config.sources import KubernetesSettings, SourceConfig, SourceHost
from resilience.gateway.services.service import Service
from resilience.gateway.services.sources import reports
from resilience.metrics.prometheus import Collector
from tests.discovery.dns_server import dns_server

from .front.test_listener import LOCALHOST
from .harness import DEADLINE_S, OK, Upstream, eventually, listens
from .harness import Gateway as Process
from .services.stub_service import ONE, THREE, TWO, Client, ask, updated
from .test_admin_api import HASH, Operator
from .test_reload import status


def in_time(main: Coroutine[Any, Any, None]) -> None:
    """Run it, and fail rather than wait for what never comes."""
    asyncio.run(asyncio.wait_for(main, DEADLINE_S))


@attrs.define
class Told:
    """A source that lists what it is told, as soon as it is told."""

    lists: Any = ()
    opened: int = 0

    def open(self, host: SourceHost) -> Told:
        self.opened += 1
        return self

    async def listing(self) -> Listing:
        if isinstance(self.lists, Exception):
            raise self.lists
        return Listing.of(self.lists)


class Found:
    """A service with a source that is told, a stub for the client, and turns of the loop instead of time."""

    def __init__(self, *lists: str, **said: Any) -> None:
        self.source, self.client, self.registry = Told(lists), Client(), Registry()
        config = ServiceConfig(source=SourceConfig(settings=self.source, interval=0.05), **said)
        self.service = Service("s", config, self.client, self.registry)  # type: ignore[arg-type]

    async def says(self, lists: Any) -> None:
        """The source says this, and the next question has been answered."""
        self.source.lists = lists
        assert self.service.watch is not None
        self.service.watch.stop()
        asked = sum(self.service.watch.counts.values())
        self.service.watch.start()
        while sum(self.service.watch.counts.values()) == asked:
            await asyncio.sleep(0)

    @property
    def names(self) -> set[str]:
        return {each.name for each in self.service.endpoints.states}


async def test_endpoints_that_stay_keep_command_statistics_and_ejection_and_those_that_go_drain() -> None:
    found = Found(ONE, TWO)
    service, client, registry = found.service, found.client, found.registry
    await found.says([ONE, TWO])
    client.does = {"10.0.0.1": lambda: OSError("no")}
    for _ in range(3):
        await ask(service)
    go_on = asyncio.Event()

    async def wait() -> int:
        await go_on.wait()
        return 200

    first, second = service.endpoints.states
    client.does = {"10.0.0.2": wait}
    under_way = [asyncio.ensure_future(ask(service)) for _ in range(2)]
    while not second.in_flight:
        await asyncio.sleep(0)
    command = registry["s@10.0.0.1:80"]
    await found.says([{"url": ONE, "weight": 3.0}, THREE])
    assert {"10.0.0.1:80", "10.0.0.3:80"} == found.names
    assert (first, 3.0, command) == (service.endpoints.states[0], first.weight, registry["s@10.0.0.1:80"])
    assert {"10.0.0.2:80": 1} == reports({"s": service})["s"]["draining"]
    assert "s@10.0.0.2:80" in registry
    assert ["10.0.0.2"] == client.gone, "its idle connections are closed"
    await found.says([{"url": ONE, "weight": 3.0}, TWO])
    assert second is service.endpoints.states[1], "what drains and comes back is known"
    assert (1, []) == (second.in_flight, service.endpoints.draining)
    await found.says([ONE])
    go_on.set()
    assert [200, 200] == await asyncio.gather(*under_way)
    await found.says([ONE])
    assert ([], {"s", "s@10.0.0.1:80"}) == (service.endpoints.draining, {each.key for each in registry})
    service.stop()


async def test_no_request_is_lost_while_the_list_changes_all_the_time_and_the_source_fails_in_between() -> None:
    found = Found(ONE, TWO)
    await found.says([ONE, TWO])
    answers: list[Any] = []
    stop = asyncio.Event()

    async def slow() -> int:
        await asyncio.sleep(0)
        return 200

    found.client.does = {f"10.0.0.{number}": slow for number in (1, 2, 3)}

    async def clients() -> None:
        while not stop.is_set():
            answers.append(await ask(found.service))

    under_way = [asyncio.ensure_future(clients()) for _ in range(8)]
    for number in range(150):
        await found.says(([ONE, TWO], [TWO, THREE], [THREE], [], OSError("away"), [ONE, "x", 7])[number % 6])
    stop.set()
    await asyncio.gather(*under_way)
    assert {200} == set(answers)
    assert len(answers) > 150
    found.service.stop()


async def test_plain_endpoints_that_get_a_source_serve_until_it_lists_others_and_the_way_back_is_open() -> None:
    client, registry, source = Client(), Registry(), Told(OSError("away"))
    plain = Service("s", ServiceConfig(endpoints=(ONE, TWO)), client, registry)  # type: ignore[arg-type]
    one = plain.endpoints.states[0]
    listed = updated(plain, ServiceConfig(source=SourceConfig(settings=source, interval=0.05)))
    assert (one, 200) == (listed.endpoints.states[0], await ask(listed))
    assert listed.watch is not None
    assert listed.watch.is_known
    source.lists = [ONE, THREE]
    while "10.0.0.3:80" not in {each.name for each in listed.endpoints.states}:
        await asyncio.sleep(0.01)
    assert one is listed.endpoints.states[0]
    again = updated(listed, attrs.evolve(listed.config, idle_timeout=3.0))
    assert (listed.watch, again.endpoints, 1) == (again.watch, again.watch and again.watch.follower, source.opened)
    assert ["10.0.0.1:80", "10.0.0.3:80"] == [each.name for each in again.endpoints.states]
    again.successor(ServiceConfig(source=SourceConfig(settings=Told(OSError("never asked"))))).abandon()
    assert (listed.watch, again.endpoints) == (again.watch, listed.watch.follower), "what is not in force has taken nothing"
    plain = updated(again, ServiceConfig(endpoints=(ONE,)))
    assert not listed.watch.is_awaited
    assert one is plain.endpoints.states[0]
    before = sum(listed.watch.counts.values())
    await asyncio.sleep(0)
    assert before == sum(listed.watch.counts.values())


async def test_late_requests_of_a_service_that_is_replaced_or_removed_do_not_start_its_watch_again() -> None:
    found = Found(ONE, TWO)
    await found.says([ONE, TWO])
    service, watch, source = found.service, found.service.watch, Told([ONE, TWO])
    other = updated(service, ServiceConfig(source=SourceConfig(settings=source, interval=0.06)))
    assert (200, 200) == (await ask(service), await ask(other))
    await found_nothing_of(watch)
    assert watch is not other.watch
    other.close()
    assert 200 == await ask(other)
    await found_nothing_of(other.watch)


async def found_nothing_of(watch: Watch | None) -> None:
    """A watch asks no more, and keeps nobody alive."""
    assert watch is not None
    asked = sum(watch.counts.values())
    await asyncio.sleep(0)
    assert (None, None, asked) == (watch.follower, watch._task, sum(watch.counts.values()))


async def test_endpoints_that_drain_are_not_served_again_by_what_another_authority_vouches_for(tmp_path: Path) -> None:
    found = Found(ONE, TWO)
    await found.says([ONE, TWO])
    go_on = asyncio.Event()

    async def wait() -> int:
        await go_on.wait()
        return 200

    found.client.does = dict.fromkeys(("10.0.0.1", "10.0.0.2"), wait)
    under_way = [asyncio.ensure_future(ask(found.service)) for _ in range(2)]
    await asyncio.sleep(0)
    await found.says([ONE])
    drains = found.service.endpoints.draining[0]
    kept = updated(found.service, attrs.evolve(found.service.config, idle_timeout=3.0))
    assert ([drains], True) == (kept.endpoints.draining, f"s@{drains.name}" in found.registry)
    moved = updated(kept, attrs.evolve(kept.config, ca_file=str(LOCALHOST)))
    assert [] == moved.endpoints.draining
    found.service = moved
    await found.says([ONE, TWO])
    assert drains not in moved.endpoints.states
    go_on.set()
    assert [200, 200] == await asyncio.gather(*under_way)
    moved.close()
    assert [] == list(found.registry)


async def test_headers_of_configured_endpoints_are_not_sent_to_those_that_a_source_lists() -> None:
    client, source = Client(), Told([ONE])
    with_key = EndpointConfig(url=ONE, headers={"x-key": "secret"})
    plain = Service("s", ServiceConfig(endpoints=(with_key,)), client, Registry())  # type: ignore[arg-type]
    assert 200 == await ask(plain)
    listed = updated(plain, ServiceConfig(source=SourceConfig(settings=source, interval=0.05)))
    source.lists = [{"url": ONE, "weight": 2.0}, TWO]
    while 2 != len(listed.endpoints.states):
        await asyncio.sleep(0.01)
    assert [{}, {}] == [each.config.headers for each in listed.endpoints.states]
    listed.stop()


async def test_a_source_that_cannot_be_opened_changes_nothing() -> None:
    class Broken:
        def open(self, host: SourceHost) -> Any:
            raise ValueError("no such zone")

    found = Found(ONE)
    await found.says([ONE])
    for old in (found.service, Service("plain", ServiceConfig(endpoints=(TWO,)), found.client, found.registry)):  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="the source of .* cannot be opened: no such zone"):
            updated(old, ServiceConfig(source=SourceConfig(settings=Broken())))
        assert 200 == await ask(old)
    await found.says([ONE, THREE])
    assert {"10.0.0.1:80", "10.0.0.3:80"} == found.names
    found.service.stop()


async def test_what_a_source_lacks_to_be_opened_is_said_with_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    found = Found(ONE)
    with pytest.raises(ConfigError, match=r"^services\.orders\.source\.api: is missing: this is no pod"):
        Service("orders", ServiceConfig(source=SourceConfig(settings=KubernetesSettings(service="x"))), found.client,  # type: ignore[arg-type]
                found.registry)
    found.service.stop()


async def test_a_service_that_knows_nobody_yet_can_be_looked_at() -> None:
    found = Found()
    assert 0 == found.registry["s"].snapshot().requests
    assert list(Collector(found.registry).collect())
    assert {} == reports({"s": found.service})["s"]["endpoints"]
    found.service.stop()


async def test_an_order_that_all_endpoints_of_a_service_have_is_that_of_new_ones_too() -> None:
    found = Found(ONE, TWO)
    await found.says([ONE, TWO])
    found.registry["s"].force_open()
    await found.says([ONE, THREE])
    assert State.FORCED_OPEN is found.registry["s@10.0.0.3:80"].state
    assert "CircuitOpenError" == await ask(found.service)
    found.registry["s@10.0.0.1:80"].release()
    await found.says([ONE, TWO, THREE])
    assert State.CLOSED is found.registry["s@10.0.0.2:80"].state
    found.service.stop()


async def test_a_request_that_comes_before_the_first_list_waits_for_it_as_for_a_connection() -> None:
    for said in ({}, {"hedge": 0.001}):
        found = Found(**said)  # type: ignore[arg-type]
        found.source.lists = OSError("not yet")
        early = [asyncio.ensure_future(ask(found.service)) for _ in range(3)]
        await asyncio.sleep(0.01)
        assert not any(each.done() for each in early)
        found.source.lists = [ONE]
        assert [200] * 3 == await asyncio.gather(*early)
        found.service.stop()
    late = Found(connect_timeout=0.02)
    late.source.lists = OSError("never")
    assert "UpstreamUnreachableError" == await ask(late.service)
    left = asyncio.ensure_future(ask(late.service))
    await asyncio.sleep(0)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    late.service.stop()


@pytest.mark.parametrize("is_same_source", [True, False])
async def test_a_request_that_waits_for_the_first_list_goes_on_with_the_service_that_takes_its_place(
        is_same_source: bool) -> None:
    found = Found()
    found.source.lists = OSError("not yet")
    early = [asyncio.ensure_future(ask(found.service)) for _ in range(3)]
    await asyncio.sleep(0.01)
    other = found.service
    for idle_timeout in (3.0, 4.0):  # twice: the one in between is gone when the list is there
        source = found.source if is_same_source else Told(OSError("not yet either"))
        other = updated(other, attrs.evolve(other.config, idle_timeout=idle_timeout, source=SourceConfig(
            settings=source, interval=0.05)))
        await asyncio.sleep(0.01)
    assert not any(each.done() for each in early)
    source.lists = [ONE]
    assert [200] * 3 == await asyncio.gather(*early)
    assert ["10.0.0.1"] * 3 == found.client.asked
    assert 3 == other.endpoints.states[0].good
    waiting = Found()
    waiting.source.lists = OSError("never")
    late = asyncio.ensure_future(ask(waiting.service))
    await asyncio.sleep(0.01)
    plain = updated(waiting.service, ServiceConfig(endpoints=(TWO,)))
    assert 200 == await late, "the one that is in force has no source"
    waiting = Found()
    waiting.source.lists = OSError("never")
    late = asyncio.ensure_future(ask(waiting.service))
    await asyncio.sleep(0.01)
    waiting.service.close()
    assert "UpstreamUnreachableError" == await late, "it was removed"
    plain.stop()
    other.stop()


async def test_the_circuit_of_the_service_that_takes_the_place_may_refuse_a_request_that_waits() -> None:
    found = Found()
    found.source.lists = OSError("not yet")
    late = asyncio.ensure_future(ask(found.service))
    await asyncio.sleep(0.01)
    other = updated(found.service, ServiceConfig(endpoints=(ONE, TWO)))
    found.registry["s"].force_open()
    assert ("CircuitOpenError", []) == (await late, found.client.asked)
    found.registry["s"].reset()
    assert 200 == await ask(other)
    other.stop()


def config(file: Path, *names: str, **said: Any) -> GatewayConfig:
    return read(Document.of({
        "services": {name: {"source": {"use": "file", "path": f"{file}", "interval": 0.05, **said}} for name in names},
        "routes": [{"path": f"/{name}/*", "service": name} for name in names]}, "test"))


def test_a_service_with_a_source_survives_a_reload_with_its_set(tmp_path: Path, upstream: Upstream) -> None:
    async def main() -> None:
        file = tmp_path / "up.json"
        gateway = Gateway(config(file, "up"), registry=Registry())
        file.write_text(json.dumps([upstream.url]))
        await asyncio.wait_for(gateway.known(), 10)
        assert 200 == await status(gateway, "/up/x")
        service = gateway.services["up"]
        file.unlink()  # the source is away
        for changed in (config(file, "up"), config(file, "up", timeout=3.0), config(file, "up", interval=0.06), config(file, "up")):
            gateway.reload(changed)
            assert 200 == await status(gateway, "/up/x")
        assert service.endpoints.states[0] is gateway.services["up"].endpoints.states[0]
        file.write_text(json.dumps(["http://127.0.0.1:9", upstream.url]))
        while 2 != len(gateway.services["up"].endpoints.states):
            await asyncio.sleep(0.01)
        gateway.reload(config(file, "other"))
        await asyncio.wait_for(gateway.known(), 10)
        assert (404, 200) == (await status(gateway, "/up/x"), await status(gateway, "/other/x"))
        gateway.close()
        del service
        for _ in range(3):
            await asyncio.sleep(0.01)
        assert [] == [each.get_name() for each in asyncio.all_tasks() if each.get_name().startswith("source of")]

    in_time(main())


def test_a_service_follows_dns_and_its_host_is_the_name_that_was_asked_for(upstream: Upstream) -> None:
    async def main() -> None:
        other = Upstream()
        async with dns_server() as server:
            server.records = {("_up._tcp.example.", "SRV"): [f"1 1 {upstream.port} up.example."], ("up.example.", "A"): ["127.0.0.1"]}
            table = {"use": "dns", "srv": True, "name": "_up._tcp.example", "nameservers": [f"127.0.0.1:{server.port}"], "interval": 0.1}
            gateway = Gateway(read(Document.of({"services": {"up": {"source": table}}, "routes": [{"path": "/*", "service": "up"}]},
                                               "test")), registry=Registry())
            await asyncio.wait_for(gateway.known(), 10)
            assert 200 == await status(gateway, "/by-dns")
            assert [f"up.example:{upstream.port}".encode()] == upstream.called("/by-dns").header(b"host")
            server.records["_up._tcp.example.", "SRV"] = [f"1 1 {other.port} up.example."]
            while {f"127.0.0.1:{other.port}"} != {each.name for each in gateway.services["up"].endpoints.states}:
                await asyncio.sleep(0.01)
            server.is_silent = True
            assert {200} == {await status(gateway, "/by-dns") for _ in range(5)}
            assert (1, 5) == (upstream.count("/by-dns"), other.count("/by-dns"))
        gateway.close()
        other.close()

    in_time(main())


class EurekaServer:
    """A Eureka server, of whose instances a test says the ports."""

    def __init__(self) -> None:
        self.server, self.ports, self.gone = Upstream(), list[int](), list[int]()
        self.is_down = False
        self.url = f"{self.server.url}/eureka"
        for path in ("apps", "apps/delta"):
            self.server.on(f"/eureka/{path}", self._answer)

    def _answer(self, call: Any) -> None:
        if self.is_down:
            call.connection.close()
            return
        up = [self._instance(port, "ADDED") for port in self.ports]
        if call.target.endswith("delta"):
            up += [self._instance(port, "DELETED") for port in self.gone]
        body = json.dumps({"applications": {"versions__delta": "1", "apps__hashcode": f"UP_{len(self.ports)}_",
                                            "application": [{"name": "UP", "instance": up}]}}).encode()
        call.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    @staticmethod
    def _instance(port: int, action: str) -> dict[str, Any]:
        return {"instanceId": f"up:{port}", "hostName": "up.example", "app": "UP", "ipAddr": "127.0.0.1", "status": "UP",
                "port": {"$": port, "@enabled": "true"}, "securePort": {"$": 443, "@enabled": "false"}, "metadata": {},
                "actionType": action}


def test_a_service_follows_a_eureka_registry_of_several_servers_that_are_asked_in_turn(
        upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EUREKA_AUTH", "Basic secret")

    async def main() -> None:
        other, ill, first, second = Upstream(), Upstream(), EurekaServer(), EurekaServer()
        ill.on("/eureka/apps", b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        ill.on("/starting/apps", b"HTTP/1.1 403 Starting\r\nContent-Length: 0\r\n\r\n")
        first.ports = second.ports = [upstream.port]
        table = {"use": "eureka", "app": "up", "interval": 0.1, "headers": {"Authorization": "env:EUREKA_AUTH"},
                 "servers": ["http://127.0.0.1:9/eureka", f"{ill.url}/eureka", f"{ill.url}/starting", first.url, second.url]}
        gateway = Gateway(read(Document.of({"services": {"up": {"source": table}}, "routes": [{"path": "/*", "service": "up"}]},
                                           "test")), registry=Registry())
        await asyncio.wait_for(gateway.known(), 10)
        assert 200 == await status(gateway, "/by-eureka")
        asked = first.server.called("/eureka/apps")
        assert ([b"Basic secret"], [b"application/json"]) == (asked.header(b"authorization"), asked.header(b"accept"))

        first.ports, first.gone = [other.port], [upstream.port]
        while {f"127.0.0.1:{other.port}"} != {each.name for each in gateway.services["up"].endpoints.states}:
            await asyncio.sleep(0.01)
        assert (1, 1) == (first.server.count("/eureka/apps"), ill.count("/eureka/apps"))
        assert first.server.count("/eureka/apps/delta")

        second.ports = [upstream.port, other.port]
        first.is_down = True
        while 2 != len(gateway.services["up"].endpoints.states):
            await asyncio.sleep(0.01)
        assert 1 == second.server.count("/eureka/apps"), "another server may have had other changes"
        second.is_down = True
        watch = gateway.services["up"].watch
        assert watch is not None
        while not watch.report()["trouble"]:
            await asyncio.sleep(0.01)
        assert 4 == watch.report()["trouble"].count("; ")
        assert "HTTP status 503" in watch.report()["trouble"]
        assert "secret" not in str(watch.report())
        assert {200} == {await status(gateway, "/by-eureka") for _ in range(4)}
        gateway.close()
        for each in (other, ill, first.server, second.server):
            each.close()

    in_time(main())


def test_under_asgi_the_start_waits_for_the_list(tmp_path: Path) -> None:
    async def main() -> None:
        file, sent, more = tmp_path / "up.json", list[str](), asyncio.Event()
        gateway = Gateway(config(file, "up"), registry=Registry())
        asked = iter(("startup", "shutdown"))

        async def receive() -> Any:
            kind = next(asked)
            if kind == "shutdown":
                await more.wait()
            return {"type": f"lifespan.{kind}"}

        async def send(message: Any) -> None:
            sent.append(message["type"])

        life = asyncio.ensure_future(gateway({"type": "lifespan"}, receive, send))
        await asyncio.sleep(0.02)
        assert [] == sent
        file.write_text(json.dumps([ONE]))
        while not sent:
            await asyncio.sleep(0.01)
        more.set()
        await life
        assert ["lifespan.startup.complete", "lifespan.shutdown.complete"] == sent

    in_time(main())


@pytest.mark.parametrize(("source", "key", "message"), [
    ({"use": "file"}, "path", "is missing"), ({"use": "fiel", "path": "a.json"}, "use", "did you mean file?"), ({}, "use", "is missing"),
    ({"use": "file", "path": "a.yaml"}, "path", ".json or .toml"), ({"use": "file", "path": "a.json", "intervall": 3}, "intervall", "unknown"),
    ({"use": "file", "path": "a.json", "interval": 0}, "interval", "at least 0.05"), ({"use": "no_such_module:It"}, "use", "no_such_module"),
    ({"use": "dns", "name": "a.example"}, "port", "is missing"), ({"use": "dns", "name": "a.example", "srv": True, "port": 1}, "port", "leave it"),
    ({"use": "dns", "name": "a b", "port": 1}, "name", "a name in DNS"), ({"use": "dns", "name": "a", "port": 0}, "port", "at least 1"),
    ({"use": "dns", "name": "a", "port": 1, "scheme": "ftp"}, "scheme", "one of http, https"),
    ({"use": "dns", "name": "a", "port": 1, "nameservers": ["a.example"]}, "nameservers", "a DNS server must be an address"),
    ({"use": "eureka", "app": "a"}, "servers", "is missing"), ({"use": "eureka", "app": "a", "servers": []}, "servers", "at least one"),
    ({"use": "eureka", "app": "a", "servers": ["eureka:8761"]}, "servers", "http:// or https:// URL"),
    ({"use": "eureka", "app": "a", "servers": [ONE], "headers": {"a": "env:NO_SUCH"}}, "headers", "has no NO_SUCH"),
    ({"use": "eureka", "app": "a", "servers": [ONE], "ca_file": "no.pem"}, "ca_file", "cannot be read"),
    ({"use": "json:loads"}, "use", "attrs class with open"), ({"use": "file", "path": "a.json", "keep": ""}, "keep", "non-empty"),
])
def test_mistakes_in_a_source_are_told_with_their_place(source: dict[str, Any], key: str, message: str) -> None:
    with pytest.raises(ConfigFileError) as caught:
        read(Document.of({"services": {"a": {"source": source}}, "routes": [{"path": "/*", "service": "a"}]}, "test"))
    assert [f"services.a.source.{key}"] == [each.key for each in caught.value.mistakes], caught.value.mistakes
    assert message in str(caught.value.mistakes[0])


def test_endpoints_are_listed_by_the_file_or_by_a_source_and_a_kept_list_is_of_one_service() -> None:
    def mistakes(*services: dict[str, Any]) -> list[str]:
        named = {f"s{number}": each for number, each in enumerate(services)}
        with pytest.raises(ConfigFileError) as caught:
            read(Document.of({"services": named, "routes": [{"path": f"/{name}", "service": name} for name in named]}, "test"))
        return [str(each) for each in caught.value.mistakes]

    source = {"use": "file", "path": "a.json", "keep": "kept"}
    assert "leave one of the two out" in mistakes({"source": source, "endpoints": [ONE]})[0]
    assert "s1.source.keep" in mistakes({"source": source}, {"source": {**source, "path": "b.json"}})[0]


TOML = """
[services.up.source]
use = "file"
path = "{folder}/up.json"
keep = "{folder}/kept"
interval = 0.1
[services.plain]
endpoints = ["http://127.0.0.1:9"]
[[routes]]
path = "/*"
service = "up"
[[routes]]
path = "/plain/*"
service = "plain"
"""


class Beginning(Process):
    """A supervised gateway whose start is not waited for."""

    def start(self, command: list[str], **_: Any) -> None:
        command = [each for each in command if each not in ("-X", "dev", "-W", "default")]  # which take seconds
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.process
def test_all_workers_follow_a_file_are_ready_only_with_a_list_and_keep_it_over_their_restarts(
        tmp_path: Path, upstream: Upstream) -> None:
    other, listed = Upstream(), tmp_path / "up.json"
    gateway = Beginning(tmp_path, TOML.format(folder=tmp_path), workers=2, admin=f'tokens = {{ ops = "sha256:{HASH}" }}')
    try:
        eventually(lambda: listens(gateway.admin), "the admin port")
        admin = Operator(gateway)
        eventually(lambda: 2 == len(known(admin)) and all(each["trouble"] for each in known(admin).values()), "the workers ask")
        gateway.process.send_signal(signal.SIGHUP)
        eventually(lambda: 1 == admin.ask("GET", "/admin/workers")[1]["reloads"]["applied"], "a reload")
        assert (503, False) == (admin.ask("GET", "/ready")[0], listens(gateway.port)), "a reload opens nothing before there is a list"
        listed.write_text(json.dumps([upstream.url]))
        eventually(lambda: 200 == admin.ask("GET", "/ready")[0], "ready")
        follow(gateway, admin, listed, upstream, other)
        lose(gateway, admin, listed)
        assert 200 == admin.ask("PATCH", "/admin/services/up", {"source": None, "endpoints": [upstream.url]})[0]
        assert (200, {}) == (gateway.get("/x")[0], known(admin))
    finally:
        gateway.process.send_signal(signal.SIGTERM)
        out, err = gateway.process.communicate(timeout=20)
    assert (0, False) == (gateway.process.returncode, "Traceback" in err), err
    assert "gives no list, and there is none from before" in out
    assert "begins with the 1 endpoints kept in" in out


def known(admin: Operator) -> dict[str, Any]:
    """What each worker knows from the source."""
    found: dict[str, Any] = admin.ask("GET", "/admin/sources")[1].get("up", {})
    return found


def follow(gateway: Process, admin: Operator, listed: Path, upstream: Upstream, other: Upstream) -> None:
    """The list changes while a request is under way."""
    first, second = (each.url.removeprefix("http://") for each in (upstream, other))
    eventually(lambda: [{first}] * 2 == [set(each["endpoints"]) for each in known(admin).values()], "both workers have the list")
    go_on = threading.Event()
    upstream.on("/slow-drain", lambda call: (go_on.wait(10), call.send(OK)))
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(gateway.get, "/slow-drain")
        upstream.called("/slow-drain")
        listed.write_text(json.dumps([other.url, "http://x:99999"]))
        eventually(lambda: [{second}] * 2 == [set(each["endpoints"]) for each in known(admin).values()], "both have the new list")
        assert [{}, {first: 1}] == sorted((each["draining"] for each in known(admin).values()), key=len)
        assert 200 == gateway.get("/moved")[0]
        assert (0, 1) == (upstream.count("/moved"), other.count("/moved"))
        go_on.set()
        assert 200 == slow.result(10)[0], "what was in flight at an endpoint that is gone goes on"
    eventually(lambda: not any(each["draining"] for each in known(admin).values()), "drained")


def lose(gateway: Process, admin: Operator, listed: Path) -> None:
    """The source is away: what was listed serves on, over a reload and in a worker that is new."""
    listed.unlink()
    eventually(lambda: all(each["trouble"] for each in known(admin).values()), "the trouble is known")
    assert 200 == gateway.get("/x")[0]
    metrics = gateway.admin_get("/metrics")
    assert re.search(r'^resilience_gateway_source_age_seconds\{service="up"\} \d', metrics, re.M)
    assert re.search(r'^resilience_gateway_source_answers_total\{[^}]*"failed"[^}]*\} [1-9]', metrics, re.M)
    for patch in ({"source": {"use": "file", "path": "/etc/passwd.json"}}, {"endpoints": [ONE]}):
        assert 422 == admin.ask("PATCH", "/admin/services/up", patch)[0]
    gateway.process.send_signal(signal.SIGHUP)
    eventually(lambda: 2 == admin.ask("GET", "/admin/workers")[1]["reloads"]["applied"], "the reload")
    assert 200 == gateway.get("/x")[0]
    os.kill(gateway.workers()[0], signal.SIGKILL)
    eventually(lambda: any(each["is_restored"] for each in known(admin).values()), "a worker with the kept list")
    assert {200} == {gateway.get("/x")[0] for _ in range(10)}
