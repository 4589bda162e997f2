"""What others send may be anything: it costs them their own entry, and neither the others' nor a line of the log."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from resilience.discovery import Listing
from resilience.discovery.endpoint_slices import listing_of as listing_of_slices
from resilience.discovery.eureka_registry import EurekaApplications, listing_of
from resilience.discovery.registry.application import RegistryApplication
from resilience.discovery.registry.peer import PeerAnswerError, _digest_in
from resilience.discovery.watch import Watch
from resilience.testing import VirtualTimeLoop

HUGE = 10 ** 400


def answered(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, bytes]:
    """What a registry answers."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "client": ("127.0.0.1", 1),
             "server": ("127.0.0.1", 8761), "headers": [(name.encode(), text.encode()) for name, text in headers.items()]}
    asyncio.run(RegistryApplication()(scope, receive, send))
    return sent[0]["status"], sent[1]["body"]


@pytest.mark.parametrize("origin", ["http://[::1", "http://[", "null", "", "http://evil.example", "registry"])
def test_a_registry_refuses_an_origin_that_is_no_url(origin: str) -> None:
    assert 403 == answered("GET", "/", {"host": "registry", "origin": origin})[0]
    assert 200 == answered("GET", "/", {"host": "registry", "origin": "http://registry"})[0]


def test_an_age_of_four_hundred_digits_is_a_mistake_of_one_item_of_a_batch() -> None:
    copy = {"app": "A", "id": "a", "era": 1, "left": False, "stamp": [1, "r"], "operated": [0, ""], "said": "UP"}
    items = [{"appName": "A", "id": "a", "action": "Heartbeat", "resilience": {**copy, **odd}}
             for odd in ({"renewed": HUGE}, {"began": float("nan")}, {"arrived": float("inf")}, {})]
    status, body = answered("POST", "/eureka/peerreplication/batch", {}, json.dumps({"replicationList": items}).encode())
    assert status == 200
    assert [400, 400, 400, 404] == [each["statusCode"] for each in json.loads(body)["responseList"]]


@pytest.mark.parametrize("odd", [{"port": {"$": float("inf"), "@enabled": "true"}}, {"metadata": {"weight": HUGE}},
                                 {"dataCenterInfo": {"metadata": ["a"]}}, {"dataCenterInfo": "MyOwn"}])
def test_a_number_too_large_is_the_mistake_of_one_instance_of_a_registry(odd: dict[str, Any]) -> None:
    good = {"instanceId": "good", "hostName": "h", "ipAddr": "10.0.0.1", "status": "UP", "port": {"$": 80, "@enabled": "true"}}
    answer = {"applications": {"application": [{"name": "A", "instance": [good, {**good, "instanceId": "odd", **odd}]}]}}
    read = EurekaApplications.read(json.dumps(answer).encode())
    listing = listing_of(read.instances.values(), secure=False, by_host_name=False)
    assert ["http://10.0.0.1:80"] == [each.url for each in listing.instances]
    assert 1 == len(listing.mistakes)


@pytest.mark.parametrize("odd", [{"ports": [{"port": float("inf")}]}, {"metadata": "odd", "ports": 7}, {"endpoints": 7}, {"endpoints": {"a": 1}}])
def test_what_is_odd_in_one_slice_is_its_own_mistake(odd: dict[str, Any]) -> None:
    good = {"addressType": "IPv4", "ports": [{"port": 80}], "endpoints": [{"addresses": ["10.0.0.1"]}]}
    listing = listing_of_slices([good, {**good, **odd}], port=None, scheme="http",
                                family="both", server_name="")
    assert 1 == len(listing.instances) == len(listing.mistakes)


@pytest.mark.parametrize(("app", "status"), [("\u00df" * 127, 204), ("\u00df" * 128, 400)])
def test_an_application_whose_name_is_too_long_in_capitals_is_refused_as_its_peers_would(app: str, status: int) -> None:
    said = {"app": app, "instanceId": "a", "hostName": "h", "ipAddr": "10.0.0.1", "dataCenterInfo": {"name": "MyOwn"}}
    body = json.dumps({"instance": said}).encode()
    assert status == answered("POST", f"/eureka/apps/{app}", {"content-type": "application/json"}, body)[0]


@pytest.mark.parametrize("name", ["\ud800", "a\nb", "n" * 256])
@pytest.mark.parametrize("value", [[], "a", {"a": 1}, None])
def test_a_name_of_metadata_that_cannot_be_sent_is_not_in_the_message_either(name: str, value: Any) -> None:
    said = {"app": "A", "instanceId": "a", "hostName": "h", "ipAddr": "10.0.0.1", "dataCenterInfo": {"name": "MyOwn"}, "metadata": {name: value}}
    status, body = answered("POST", "/eureka/apps/A", {"content-type": "application/json"}, json.dumps({"instance": said}).encode())
    assert status == 400
    assert body.startswith(b"metadata: names of 1 to 255")


@pytest.mark.parametrize("name", ["\ud800", "a\nb", "", "n" * 65, 5, None])
def test_a_peers_name_that_cannot_be_shown_is_no_name(name: Any) -> None:
    digest = json.dumps({"registry": name, "complete": True, "digests": ["0"] * 256}).encode()
    with pytest.raises(PeerAnswerError):
        _digest_in(200, digest)


class Nobody:
    def prepare(self, instances: Any) -> Any:
        return iter(())

    def follow(self, instances: Any) -> None:
        pass

    def heard(self) -> None:
        pass


@pytest.mark.parametrize("said", [ValueError("x\nERROR: all is lost\x1b[2J" + "z" * 10_000),
                                  Listing(Listing.of(["http://10.0.0.1", "http://10.0.0.2"]).instances,
                                          ("id\nERROR: all is lost: a mistake",))])
def test_what_a_source_says_stays_in_its_line_of_the_log(said: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Source:
        async def listing(self) -> Listing:
            if isinstance(said, Exception):
                raise said
            return said  # type: ignore[no-any-return]

    async def asked() -> None:
        watch = Watch("orders", Source(), Nobody(), interval_s=1.0, timeout_s=1.0, keep=None,
                      clock=asyncio.get_running_loop().time, random=lambda: 0.0)
        watch.start()
        await asyncio.sleep(0.5)
        watch.stop()

    with caplog.at_level(logging.WARNING, "resilience"):
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(asked())
    (record,) = caplog.records
    assert r"\nERROR: all is lost" in record.getMessage()
    assert record.getMessage().isprintable()
    assert len(record.getMessage()) < 1000
