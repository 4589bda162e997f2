"""The page on a public and a private gateway: its files are run as they stand, and do what it says."""

from __future__ import annotations

import json
import re
import time

import pytest
from pages import DOCS, rows, section
from recipe import Recipe

from tests.gateway.harness import Upstream, eventually, problem

pytestmark = pytest.mark.process

PAGE = DOCS / "howto" / "public-and-private-gateway.md"


class Service(Upstream):
    """Answers every path with JSON."""

    def on_json(self, path, value, status=200):
        body = json.dumps(value).encode()
        self.on(path, lambda call: call.send(b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
            status, len(body), body)))


@pytest.fixture(scope="module")
def services():
    made = [Service() for _ in range(3)]
    for each, path in zip(made, ("/catalogue/ABC-1", "/orders/7", "/reviews/ABC-1"), strict=True):
        each.on_json(path, {"path": path})
    yield made
    for each in made:
        each.close()


@pytest.fixture(scope="module")
def gateway(services, tmp_path_factory):
    made = Recipe(tmp_path_factory.mktemp("recipe"), PAGE, {
        f"http://127.0.0.1:{9001 + number}": each.url for number, each in enumerate(services)})
    yield made
    code, err = made.stop()
    assert (0, False) == (code, "Traceback" in err), err


def table():
    return rows(section("howto/public-and-private-gateway.md", "## What it answers"))


@pytest.mark.parametrize(("listener", "request_line", "key", "body", "status", "why"), table(), ids=[row[-1] for row in table()])
def test_each_request_of_the_table_gets_the_status_that_stands_there(gateway, listener, request_line, key, body, status, why):
    method, path = request_line.split(" ")
    assert int(status) == gateway.ask(method, path, key=key, body=body, private=listener == "private")[0], why


def test_the_page_of_an_item_is_merged_and_survives_hanging_reviews_that_nobody_else_notices(gateway, services):
    status, headers, body = gateway.ask("GET", "/pages/ABC-1", key="web")
    assert (200, "item=ok, reviews=ok") == (status, headers["parts-status"])
    assert {"item": {"path": "/catalogue/ABC-1"}, "reviews": {"path": "/reviews/ABC-1"}} == json.loads(body)

    services[2].on("/reviews/ABC-1", lambda call: call.until_closed())
    seen, took = [], []
    for _ in range(8):
        started = time.monotonic()
        status, headers, body = gateway.ask("GET", "/pages/ABC-1", key="web")
        assert (200, []) == (status, json.loads(body)["reviews"])
        took.append(time.monotonic() - started)
        seen.append(headers["parts-status"])
    assert sorted(took)[4] < 1.0, took
    assert ("item=ok, reviews=timeout", "item=ok, reviews=open") == (seen[0], seen[-1])
    assert 200 == gateway.ask("GET", "/catalogue/ABC-1", key="shop-app")[0]


def test_a_consumer_beyond_its_limit_is_told_when_to_come_back_and_no_other_is_touched(gateway):
    refused = eventually(lambda: (found := gateway.ask("GET", "/catalogue/ABC-1", key="shop-app"))[0] == 429 and found)
    assert 1 <= int(refused[1]["retry-after"])
    assert "the limit per_consumer is reached" == problem(refused)["detail"]
    assert 200 == gateway.ask("GET", "/orders/7", private=True)[0]
    assert 404 == gateway.ask("GET", "/orders/7", key="web")[0]


def test_errors_of_services_have_one_form_on_the_public_side(gateway, services):
    services[0].on_json("/catalogue/OFF-1", {"traceback": "secret"}, 410)
    refused = eventually(lambda: (found := gateway.ask("GET", "/catalogue/OFF-1", key="web"))[0] != 429 and found)
    assert (410, False) == (problem(refused)["status"], b"secret" in refused[2])


def test_both_listeners_are_logged_and_counted_apart(gateway):
    eventually(lambda: gateway.ask("GET", "/catalogue/ABC-1", key="web")[0] == 200)
    assert 200 == gateway.ask("GET", "/orders/7", private=True)[0]
    file = gateway.folder / "access.log"
    lines = eventually(lambda: [line for line in map(json.loads, file.read_text().splitlines()) if line.get("route") == "internal-orders"])
    assert ("internal-orders", "private", 200, False) == (
        lines[-1]["service"], lines[-1]["listener"], lines[-1]["status"], "consumer" in lines[-1])
    text = gateway.admin_get("/metrics")
    assert re.search(r'^resilience_gateway_requests_total{'
                     r'listener="private",route="internal-orders",service="internal-orders",status="2xx"} ', text, re.M)
    assert not re.search(r'^resilience_gateway_requests_total{route="internal-orders",service="orders"', text, re.M)
    assert re.search(r'^resilience_gateway_consumer_requests_total{consumer="web",status="2xx"} ', text, re.M)
    assert {"orders", "internal-orders"} <= set(re.findall(r'resilience_command_in_flight{command="([^"]*)"', text))
