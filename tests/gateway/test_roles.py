"""What an API gateway is there for, role by role: one gateway, as the command line runs it, three services behind it."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from resilience.gateway.filters.api_keys import digest

from .harness import Gateway, Upstream, eventually, free_port, parsed, problem, running

pytestmark = pytest.mark.process

TOKEN = "a token of more than sixteen bytes"
CONFIG = """
filters = ["keys"]
filter_modules = ["tests.gateway.role_filters"]

[access_log]
to = "{folder}/access.log"

[services.catalogue]
endpoints = ["{one}", "{two}"]

[services.orders]
endpoints = ["{one}"]
command = {{ rate_limit = {{ calls = 2, per = 3600.0 }} }}

[services.sick]
endpoints = ["{three}", "{one}"]
balancer = "first"
ejection = {{ consecutive = 2, rest = 60.0, max_rest = 60.0 }}
command = {{ timeout = 0.1, breaker = false }}

[services.hung]
endpoints = ["{three}"]
command = {{ timeout = 5.0, max_concurrent = 3, breaker = false }}

[services.internal]
endpoints = ["{two}"]

[services.scaled]
source = {{ use = "eureka", app = "scaled", servers = ["http://127.0.0.1:{registry}/eureka"], interval = 0.1, required = false }}

[compositions.page]
parts.item = {{ service = "catalogue", path = "/items/{{id}}" }}
parts.reviews = {{ service = "internal", path = "/reviews?of={{item:/sku}}", default = [], required = false }}

[filters.keys]
use = "api_keys"
{keys}
[filters.writers]
use = "access"
scopes = ["write"]

[filters.few]
use = "rate_limit"
rate = 2
per = 3600.0
by = ["identity"]

[filters.form]
use = "json_schema"
request = "{folder}/form.json"
response = "{folder}/form.json"

[filters.inside]
use = "access"
addresses = ["127.0.0.1"]
anonymous = true

[filters.outside]
use = "access"
addresses = ["192.0.2.0/24"]
anonymous = true

[[routes]]
path = "/catalogue/*"
service = "catalogue"

[[routes]]
path = "/written/*"
service = "catalogue"
filters = ["writers"]

[[routes]]
path = "/few/*"
service = "catalogue"
filters = ["few"]

[[routes]]
path = "/orders/*"
service = "orders"

[[routes]]
path = "/form/*"
service = "catalogue"
filters = ["form"]

[[routes]]
path = "/sick/*"
service = "sick"

[[routes]]
path = "/hung/*"
service = "hung"

[[routes]]
path = "/page/{{id}}"
compose = "page"

[[routes]]
path = "/scaled/*"
service = "scaled"

[registry]
self_preservation = false

[registry.listener]
bind = "127.0.0.1:{registry}"

[private]
bind = "127.0.0.1:{private}"

[[private.routes]]
path = "/inside/*"
service = "internal"
filters = ["inside"]

[[private.routes]]
path = "/outside/*"
service = "internal"
filters = ["outside"]
"""


@pytest.fixture(scope="module")
def three() -> Iterator[list[Upstream]]:
    made = [Upstream() for _ in range(3)]
    yield made
    for each in made:
        each.close()


@pytest.fixture(scope="module")
def private() -> int:
    """The port of the private listener."""
    return free_port()


@pytest.fixture(scope="module")
def registry() -> int:
    """The port of the service registry within."""
    return free_port()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("roles")
    (made / "form.json").write_text(json.dumps({"type": "object", "required": ["sku"]}))
    return made


@pytest.fixture(scope="module")
def gateway(three: list[Upstream], private: int, registry: int, folder: Path) -> Iterator[Gateway]:
    keys = "\n".join(f'[[filters.keys.keys]]\nid = "{name}"\nsha256 = "{digest(f"{name}.x")}"\nconsumer = "{name}"\n'
                     f'scopes = {json.dumps(["write"] if name == "ada" else [])}\n' for name in ("ada", "bob"))
    one, two, sick = (each.url for each in three)
    config = CONFIG.format(one=one, two=two, three=sick, folder=folder, keys=keys, private=private, registry=registry)
    token = f'tokens = {{ ops = "sha256:{hashlib.sha256(TOKEN.encode()).hexdigest()}" }}'
    with running(folder, config, workers=1, admin=token) as made:
        yield made


def ask(gateway: Gateway, path: str, who: str = "bob", body: str = "", port: int | None = None
        ) -> tuple[int, dict[str, str], bytes]:
    """What a consumer gets: with a body by POST."""
    head = f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n"
    if who:
        head += f"X-API-Key: {who}.x\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    public, gateway.port = gateway.port, gateway.port if port is None else port
    try:
        client = gateway.connect()
    finally:
        gateway.port = public
    with client:
        client.sendall(f"{head}\r\n{body}".encode())
        data = b""
        while piece := client.recv(65536):
            data += piece
    return parsed(data)


def change(port: int, path: str, value: object, method: str) -> int:
    """Change something at the admin API or the registry; the status."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(value).encode(), method=method,
                                     headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as reply:
        return int(reply.status)


def json_answer(value: object) -> bytes:
    body = json.dumps(value).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def test_authentication_tells_services_who_asks_and_keeps_strangers_out(gateway: Gateway, three: list[Upstream]) -> None:
    assert 200 == ask(gateway, "/catalogue/who", "ada")[0]
    assert [b"ada"] == next(call for each in three for call in each.calls if call.target == "/catalogue/who").header(b"x-consumer")
    assert [401, 401] == [ask(gateway, "/catalogue/stranger", who)[0] for who in ("", "eve")]
    assert 0 == sum(each.count("/catalogue/stranger") for each in three)


def test_authorization_lets_only_those_in_who_may(gateway: Gateway) -> None:
    assert (200, 403) == (ask(gateway, "/written/1", "ada")[0], ask(gateway, "/written/1", "bob")[0])


def test_rate_limits_are_apart_for_users_and_services(gateway: Gateway) -> None:
    assert [200, 200, 429] == [ask(gateway, "/few/1", "ada")[0] for _ in range(3)]
    assert 200 == ask(gateway, "/few/1", "bob")[0], "another user's limit is another one"
    assert [200, 200, 429] == [ask(gateway, "/orders/1", who)[0] for who in ("ada", "bob", "ada")], "all users of a service"
    assert 200 == ask(gateway, "/catalogue/1", "ada")[0], "another service's limit is another one"


def test_routing_sends_each_path_to_its_service_and_knows_what_it_does_not_know(gateway: Gateway, three: list[Upstream]) -> None:
    assert 200 == ask(gateway, "/hung/routed")[0] == ask(gateway, "/catalogue/routed")[0]
    assert (1, 0) == (three[2].count("/hung/routed"), three[2].count("/catalogue/routed"))
    assert 404 == ask(gateway, "/nowhere")[0]


def test_load_balancing_spreads_the_requests_over_the_endpoints(gateway: Gateway, three: list[Upstream]) -> None:
    assert [200] * 10 == [ask(gateway, "/catalogue/spread")[0] for _ in range(10)]
    assert [5, 5] == [each.count("/catalogue/spread") for each in three[:2]]


def test_endpoints_are_dynamic_and_change_without_a_restart_or_a_lost_request(gateway: Gateway, three: list[Upstream]) -> None:
    stop, seen = threading.Event(), list[int]()

    def client() -> None:
        while not stop.is_set():
            seen.append(ask(gateway, "/catalogue/under-way")[0])

    asking = threading.Thread(target=client)
    asking.start()
    assert 200 == change(gateway.admin, "/admin/services/catalogue", {"endpoints": [three[2].url]}, "PATCH")
    assert 200 == ask(gateway, "/catalogue/moved")[0]
    assert [0, 0, 1] == [each.count("/catalogue/moved") for each in three]
    gateway.process.send_signal(signal.SIGHUP)  # as the file says again
    eventually(lambda: ask(gateway, "/catalogue/back")[0] == 200 and three[0].count("/catalogue/back"))
    stop.set()
    asking.join()
    assert {200} == set(seen)


def test_statistics_count_every_request_by_route_service_and_consumer(gateway: Gateway) -> None:
    def counted() -> dict[str, float]:
        text = gateway.admin_get("/metrics")
        patterns = {"route": r'requests_total{route="/catalogue/\*",service="catalogue",status="2xx"}',
                    "consumer": r'consumer_requests_total{consumer="ada",status="2xx"}'}
        return {name: sum(float(found) for found in re.findall(rf"^resilience_gateway_{pattern} (.*)$", text, re.M))
                for name, pattern in patterns.items()} | {"command": gateway.metric("success", "catalogue")}

    before = counted()
    assert [200] * 7 == [ask(gateway, "/catalogue/counted", "ada")[0] for _ in range(7)]
    eventually(lambda: {name: value + 7 for name, value in before.items()} == counted(), "exactly seven more of each")


def test_logging_writes_a_line_for_each_request(gateway: Gateway, folder: Path) -> None:
    assert (200, 403) == (ask(gateway, "/catalogue/logged?token=s3cret")[0], ask(gateway, "/written/logged")[0])

    def lines() -> list[dict[str, object]]:
        return [line for line in map(json.loads, (folder / "access.log").read_text().splitlines()) if "/logged" in line["path"]]

    answered, refused = eventually(lambda: len(lines()) == 2 and lines())
    assert ("catalogue", "bob", 200) == (answered["service"], answered["consumer"], answered["status"])
    assert ("/catalogue/logged?token=[redacted]", 403) == (answered["path"], refused["status"])


def test_the_format_of_requests_and_responses_is_checked(gateway: Gateway, three: list[Upstream]) -> None:
    for each in three[:2]:
        for path, answer in (("/form/good", json_answer({"sku": 1})), ("/form/bad", json_answer({"price": 1}))):
            each.on(path, lambda call, answer=answer: (call.body(), call.send(answer)))
    assert (200, b'{"sku": 1}') == ask(gateway, "/form/good", body='{"sku": 7}')[::2]
    refused = ask(gateway, "/form/good", body='{"price": 7}')
    assert (422, 1) == (problem(refused)["status"], sum(each.count("/form/good") for each in three))
    assert 502 == ask(gateway, "/form/bad", body='{"sku": 7}')[0]


def test_composition_combines_data_that_several_services_hold(gateway: Gateway, three: list[Upstream]) -> None:
    for each in three[:2]:
        each.on("/items/7", json_answer({"sku": "apple"}))
    three[1].on("/reviews", json_answer([4, 5]))
    status, headers, body = ask(gateway, "/page/7", "ada")
    assert (200, {"item": {"sku": "apple"}, "reviews": [4, 5]}) == (status, json.loads(body))
    assert "/reviews?of=apple" == three[1].called("/reviews?of=apple").target
    three[1].on("/reviews", b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
    status, headers, body = ask(gateway, "/page/7", "ada")
    assert (200, []) == (status, json.loads(body)["reviews"]), "a part that fails has its default"
    assert "reviews=failed" in headers["parts-status"].replace(" ", "")


def test_the_registry_service_tells_which_instances_come_and_go(gateway: Gateway, three: list[Upstream], registry: int) -> None:
    assert 502 == ask(gateway, "/scaled/1")[0], "nobody has registered"
    for number, each in enumerate(three[:2]):
        instance = {"instanceId": f"i-{number}", "hostName": "127.0.0.1", "app": "SCALED", "ipAddr": "127.0.0.1", "status": "UP",
                    "port": {"$": each.port, "@enabled": "true"}, "dataCenterInfo": {"@class": "x", "name": "MyOwn"}}
        assert 204 == change(registry, "/eureka/apps/SCALED", {"instance": instance}, "POST")
        eventually(lambda each=each: ask(gateway, "/scaled/1")[0] == 200 and each.count("/scaled/1"), "requests at the new instance")
    assert 200 == change(registry, "/eureka/apps/SCALED/i-0", None, "DELETE")

    def has_left() -> bool:
        before = three[0].count("/scaled/2")
        return [200] * 4 == [ask(gateway, "/scaled/2")[0] for _ in range(4)] and before == three[0].count("/scaled/2")

    eventually(has_left, "no request at the instance that has left")


def test_a_slow_server_is_timed_out_and_taken_out(gateway: Gateway, three: list[Upstream]) -> None:
    three[2].on("/sick/slow", lambda call: call.until_closed())
    assert [200] * 6 == [ask(gateway, "/sick/slow")[0] for _ in range(6)], "the other endpoint answers"
    assert 2 == three[2].count("/sick/slow"), "two timeouts, and nobody asks it any more"


def test_one_slow_upstream_does_not_touch_the_others(gateway: Gateway, three: list[Upstream]) -> None:
    over = threading.Event()
    three[2].on("/hung/x", lambda call: (over.wait(60), call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")))
    found: list[int] = []
    waiting = [threading.Thread(target=lambda: found.append(ask(gateway, "/hung/x")[0])) for _ in range(3)]
    for each in waiting:
        each.start()
    eventually(lambda: gateway.in_flight("hung") == 3)
    assert 503 == ask(gateway, "/hung/x")[0], "its own slots are full"
    began = time.monotonic()
    assert [200] * 20 == [ask(gateway, "/catalogue/quick")[0] for _ in range(20)]
    assert time.monotonic() - began < 30.0
    over.set()
    for each in waiting:
        each.join()
    assert [200] * 3 == found


def test_public_and_private_listeners_have_their_own_routes_security_and_statistics(gateway: Gateway, private: int) -> None:
    assert (200, 403) == (ask(gateway, "/inside/1", "", port=private)[0], ask(gateway, "/outside/1", "", port=private)[0])
    assert (404, 404) == (ask(gateway, "/inside/1", "ada")[0], ask(gateway, "/catalogue/1", "ada", port=private)[0])
    text = eventually(lambda: (found := gateway.admin_get("/metrics")) and 'route="/inside/*"' in found and found)
    assert {"internal"} == set(re.findall(r'requests_total{listener="private",route="/inside/\*",service="([^"]*)"', text))


def test_filters_see_every_answer_and_are_measured_like_calls(gateway: Gateway) -> None:
    before = gateway.metric("success", "filter.stamp")
    assert "stamped" == ask(gateway, "/catalogue/1")[1]["x-stamp"]
    assert "stamped" == ask(gateway, "/written/1", "bob")[1]["x-stamp"], "refusals too"
    assert before + 2 == gateway.metric("success", "filter.stamp")


def test_all_of_it_is_made_with_annotations_and_configuration_files_only(gateway: Gateway) -> None:
    code = (Path(__file__).parent / "role_filters.py").read_text()
    assert 1 == len(re.findall("^@", code, re.M)), "one annotation is all the code there is"
    assert gateway.process.args[-4:-1] == ["gateway", str(gateway.file), "--workers"]  # type: ignore[index,union-attr]
    assert {"catalogue", "orders", "sick", "hung", "internal"} <= set(
        re.findall(r'command_in_flight{command="([a-z]+)"', gateway.admin_get("/metrics")))
