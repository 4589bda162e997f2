"""Instances from a Eureka server: full answers, deltas with their hash, and what servers say that is odd."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from resilience.discovery import EurekaAnswer, EurekaSource, Instance
from resilience.discovery.eureka_registry import EurekaApplications, EurekaRegistry, EurekaUnreadableError, hash_of
from resilience.discovery.eureka_source import MOST_GAP_S, EurekaAnswerError
from tests.seeds import over_seeds

from .eureka import RECORDED, ModelServer

SEEN = set[str]()


class Script:
    """Answers with what stands for each path."""

    def __init__(self, **answers: Any) -> None:
        self.answers, self.asked, self.server = answers, list[str](), "one"

    async def get(self, path: str, _: Any = ()) -> EurekaAnswer:
        self.asked.append(path)
        said = self.answers[path.rpartition("/")[2]]
        if isinstance(said, int):
            return EurekaAnswer(said, b"", self.server)
        return EurekaAnswer(200, said if isinstance(said, bytes) else json.dumps(said).encode(), self.server)


def urls(listing: Any) -> set[str]:
    return {each.url for each in listing.instances}


async def test_a_recorded_answer_gives_the_instances_that_are_up_with_zones_weights_and_ports() -> None:
    script = Script(apps=RECORDED)
    listing = await EurekaSource("orders", script.get).listing()
    assert (Instance(url="http://10.0.0.2:8080", zone="us-east-1c"),
            Instance(url="http://10.0.0.1:8080", zone="b", weight=2.0)) == listing.instances
    assert () == listing.mistakes
    assert RECORDED["applications"]["apps__hashcode"] == hash_of(EurekaApplications.read(json.dumps(RECORDED).encode()).instances)
    secure = await EurekaSource("Orders", script.get, secure=True).listing()
    assert (Instance(url="https://10.0.0.1:8443", zone="b", weight=2.0, server_name="orders-1.internal"),) == secure.instances
    assert ("i-0fe1: its secure port is not enabled",) == secure.mistakes
    by_name = await EurekaSource("orders", script.get, secure=True, by_host_name=True).listing()
    assert ("https://orders-1.internal:8443", "") == (by_name.instances[0].url, by_name.instances[0].server_name)
    assert () == (await EurekaSource("nobody", script.get).listing()).instances


@over_seeds(60)
async def test_applying_deltas_gives_what_the_server_has_in_random_histories(seed: int) -> None:
    rng = random.Random(seed)
    server, other = ModelServer(rng), ModelServer(rng, "two")
    now, served = 0.0, server

    async def get(path: str, _: Any) -> EurekaAnswer:
        answer = await served.get(path)
        SEEN.add(path)
        return answer

    source = EurekaSource("orders", get, clock=lambda: now)
    for _ in range(40):
        for each in (server, other):
            for _ in range(rng.choice([0, 0, 1, 3])):
                each.change()
        if rng.random() < 0.05:
            served = other if served is server else server
            SEEN.add("another server")
        served.has_deltas = rng.random() < 0.95
        asked = len(served.asked)
        assert served.up("ORDERS") == urls(await source.listing())
        SEEN.add(" ".join(served.asked[asked:]))
        for each in (server, other):
            if rng.random() < 0.3:
                each.purge()  # it was told
        now += rng.choice([1.0, 30.0, 1.0, MOST_GAP_S + 1])
    wanted = {"/apps", "/apps/delta", "/apps/delta /apps", "another server"}
    assert seed < 59 or wanted <= SEEN


async def test_a_delta_that_does_not_lead_to_the_hash_has_everything_fetched_again() -> None:
    rng = random.Random(1)
    server = ModelServer(rng)
    source = EurekaSource("orders", server.get)
    for _ in range(20):
        server.change()
    await source.listing()
    server.instances["ORDERS", "id-99"] = {**next(iter(server.instances.values())), "instanceId": "id-99", "ipAddr": "10.9.9.9",
                                           "status": "UP"}  # a change that the delta does not tell
    assert any("10.9.9.9" in each for each in urls(await source.listing()))
    assert ["/apps", "/apps/delta", "/apps"] == server.asked
    await source.listing()
    assert "/apps/delta" == server.asked[-1]


async def test_what_a_server_knows_to_be_down_and_what_has_left_is_off_the_list_on_purpose() -> None:
    server = ModelServer(random.Random(3))
    source = EurekaSource("orders", server.get)
    for number in range(4):
        server.put(("ORDERS", f"id-{number}"), "UP")
    found = await source.listing()
    assert (4, frozenset(), True) == (len(found.instances), found.unavailable, found.is_leased)
    server.put(("ORDERS", "id-0"), "DOWN")
    server.remove(("ORDERS", "id-1"))
    found = await source.listing()
    assert 2 == len(found.instances)
    assert 2 == len(found.unavailable)
    assert found.unavailable.isdisjoint({each.name for each in found.instances})


async def test_an_application_may_be_asked_for_by_itself_and_be_unknown() -> None:
    rng = random.Random(2)
    server = ModelServer(rng)
    source = EurekaSource("orders", server.get, deltas=False)
    assert set() == urls(await source.listing())
    for _ in range(30):
        server.change()
        assert server.up("ORDERS") == urls(await source.listing())
    assert {"/apps/ORDERS"} == set(server.asked)


@pytest.mark.parametrize("body", [
    b"", b"<applications/>", b"[]", b"{}", b'{"applications": 3}', b'{"applications": {"application": [{"instance": [{"hostName": "x"}]}]}}',
    b'{"applications": {"application": [{"name": "A", "instance": [{}]}]}}', b'{"timestamp": 1, "status": 404, "error": "x"}',
    b'{"applications": ' + b"[" * 100_000])
async def test_what_is_no_answer_of_eurekas_is_a_failure_and_no_empty_list(body: bytes) -> None:
    with pytest.raises(EurekaUnreadableError):
        await EurekaSource("orders", Script(apps=body).get).listing()


@pytest.mark.parametrize("status", [403, 404, 401, 302, 503])
async def test_another_status_is_a_failure_and_no_empty_list(status: int) -> None:
    with pytest.raises(EurekaAnswerError, match=f"one answers with status {status}"):
        await EurekaSource("orders", Script(apps=status).get).listing()


@pytest.mark.parametrize("delta", [b"nonsense", 403, 404])
async def test_a_server_without_deltas_is_asked_for_everything(delta: Any) -> None:
    script = Script(apps=RECORDED, delta=delta)
    source = EurekaSource("orders", script.get)
    for _ in range(3):
        assert 2 == len((await source.listing()).instances)
    assert ["/apps", "/apps/delta", "/apps", "/apps/delta", "/apps"] == script.asked


async def test_brackets_that_are_left_out_around_one_item_and_an_empty_registry_are_understood() -> None:
    one = {"applications": {"application": {"name": "orders", "instance": RECORDED["applications"]["application"][0]["instance"][0]}}}
    assert 1 == len((await EurekaSource("orders", Script(apps=one).get).listing()).instances)
    for nothing in ({"applications": {}}, {"applications": {"application": []}}, {"applications": {"application": None}}):
        assert set() == urls(await EurekaSource("orders", Script(apps=nothing).get).listing())


async def test_an_instance_with_mistakes_is_told_of_and_the_others_count() -> None:
    good = RECORDED["applications"]["application"][0]["instance"][0]
    bad: list[dict[str, Any]] = [
        {**good, "instanceId": "a", "port": {"$": 99999, "@enabled": "true"}}, {**good, "instanceId": "b", "port": {"$": "x", "@enabled": True}},
        {**good, "instanceId": "c", "metadata": {"weight": "heavy"}}, {**good, "instanceId": "d", "port": None},
        {**good, "instanceId": "e", "ipAddr": "10.0.0.1/x?y"}, {**good, "instanceId": "f", "metadata": 7}]
    said = {"applications": {"application": [{"name": "ORDERS", "instance": [good, *bad]}]}}
    listing = await EurekaSource("orders", Script(apps=said).get).listing()
    assert ({"http://10.0.0.1:8080"}, list("abcdef")) == (urls(listing), [each[0] for each in listing.mistakes])


def test_a_delta_without_a_copy_is_of_no_use() -> None:
    registry = EurekaRegistry()
    assert not registry.apply(EurekaApplications({}, ""))
    assert not registry.is_complete
