"""Compositions in a gateway of its own process: services on raw sockets, clients on raw sockets."""

import gzip
import hashlib
import json
import threading

import pytest

from resilience.config import ConfigFileError
from resilience.gateway.config import load
from tests.gateway.harness import Upstream, eventually, free_port, problem, running

SECRET = "app.0123456789abcdef"
CONFIG = """
[services.orders]
endpoints = ["{url}"]
command.breaker = false
[services.customers]
endpoints = ["{url}"]
command.breaker = false
[services.reviews]
endpoints = ["{url}"]
command.breaker = false
[services.frail]
endpoints = ["{url}"]
command.breaker = {{ failure_rate = 0.1, min_calls = 1, open_for = 600.0 }}
[services.narrow]
endpoints = ["{url}"]
command = {{ max_concurrent = 1, breaker = false, timeout = 30.0 }}
[services.slow]
endpoints = ["{url}"]
command = {{ timeout = 30.0, breaker = false }}
[services.quick]
endpoints = ["{url}"]
command = {{ timeout = 0.05, breaker = false }}
[services.dead]
endpoints = ["http://127.0.0.1:{dead}"]
command.breaker = false

[compositions.page]
parts.order = {{ service = "orders", path = "/orders/{{id}}" }}
parts.customer = {{ service = "customers", path = "/customers/{{order:/customer_id}}" }}
parts.reviews = {{ service = "reviews", path = "/reviews?order={{id}}&page={{?page}}", default = [], required = false }}

[compositions.flat]
merge = "flat"
parts.order = {{ service = "orders", path = "/orders/{{id}}", max_body = 1000 }}
parts.stock = {{ service = "reviews", path = "/stock/{{id}}", select = "/data", default = {{ stock = 0 }}, required = false }}

[compositions.list]
merge = "list"
parts.first = {{ service = "orders", path = "/first" }}
parts.second = {{ service = "reviews", path = "/second", required = false }}

[compositions.states]
timeout = 5.0
parts.good = {{ service = "orders", path = "/good" }}
parts.frail = {{ service = "frail", path = "/fails", required = false, default = false }}
parts.dead = {{ service = "dead", path = "/x", required = false }}
parts.late = {{ service = "quick", path = "/never", required = false }}
parts.after = {{ service = "orders", path = "/good", after = "dead", required = false, default = 1 }}

[compositions.narrow]
parts.good = {{ service = "orders", path = "/good" }}
parts.narrow = {{ service = "narrow", path = "/good", required = false }}

[compositions.hanging]
timeout = 30.0
parts.one = {{ service = "slow", path = "/hang/1" }}
parts.two = {{ service = "slow", path = "/hang/2" }}
parts.three = {{ service = "orders", path = "/three/{{id}}", required = true }}

[compositions.bounded]
timeout = 0.2
parts.good = {{ service = "orders", path = "/good" }}
parts.slow = {{ service = "slow", path = "/never", required = false }}
parts.next = {{ service = "orders", path = "/never/{{slow:/id}}", required = false }}

[compositions.needed]
timeout = 0.2
parts.slow = {{ service = "slow", path = "/never" }}

[filters.app]
use = "api_keys"
optional = true
keys = [{{ id = "app", sha256 = "{digest}", consumer = "ann" }}]
[filters.site]
use = "headers"
response = {{ set = {{ X-Site = "shop" }} }}

[[routes]]
path = "/page/{{id}}"
compose = "page"
filters = ["app", "site"]
[[routes]]
path = "/flat/{{id}}"
compose = "flat"
[[routes]]
path = "/list"
compose = "list"
[[routes]]
path = "/states"
compose = "states"
[[routes]]
path = "/narrow"
compose = "narrow"
[[routes]]
path = "/hanging/{{id}}"
compose = "hanging"
[[routes]]
path = "/bounded"
compose = "bounded"
[[routes]]
path = "/needed"
compose = "needed"
[[routes]]
path = "/plain/*"
service = "narrow"
"""


@pytest.fixture(scope="module")
def upstream():
    made = Upstream()
    made.on("/good", answer({"good": True}))
    made.on("/never", lambda call: call.until_closed())
    yield made
    made.close()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, upstream):
    with running(tmp_path_factory.mktemp("composed"), CONFIG.format(url=upstream.url, dead=free_port(), digest=hashlib.sha256(SECRET.encode()).hexdigest())) as made:
        yield made


def answer(value, status="200 OK", head="", media="application/json"):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    data = f"HTTP/1.1 {status}\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body
    return lambda call: call.send(data)


def order(upstream, id_, customer="c1", **how):
    upstream.on(f"/orders/{id_}", answer({"id": id_, "customer_id": customer}, **how))


def states(reply):
    return reply[1]["parts-status"]


def test_a_part_is_asked_with_what_another_has_answered(gateway, upstream):
    order(upstream, 5)
    upstream.on("/customers/c1", answer({"name": "Ann"}))
    upstream.on("/reviews", answer([4, 5]))
    assert json.loads(gateway.get("/page/5")[2]) == {
        "order": {"id": 5, "customer_id": "c1"}, "customer": {"name": "Ann"}, "reviews": [4, 5]}


def test_parts_are_asked_at_once_as_far_as_they_do_not_need_each_other(gateway, upstream):
    met = threading.Barrier(2)  # each of the two answers only when the other has been asked

    def together(value):
        send = answer(value)
        return lambda call: (met.wait(60), send(call))

    upstream.on("/orders/7", together({"id": 7, "customer_id": "c 9"}))
    upstream.on("/reviews", together([5]))
    upstream.on("/customers/c%209", answer({"name": "Ann"}))
    status, headers, body = gateway.get("/page/7?page=2", headers="Authorization: Bearer x\r\nTraceparent: 00-aa\r\nIf-None-Match: \"a\"\r\nAccept-Encoding: br\r\nRange: bytes=0-1\r\n")
    assert (status, json.loads(body)) == (200, {"order": {"id": 7, "customer_id": "c 9"}, "customer": {"name": "Ann"}, "reviews": [5]})
    assert headers["parts-status"] == "order=ok, customer=ok, reviews=ok"
    assert (headers["content-type"], headers["cache-control"]) == ("application/json", "no-store")
    call = upstream.called("/customers/c%209")
    assert (call.header(b"authorization"), call.header(b"traceparent")) == ([b"Bearer x"], [b"00-aa"])
    assert (call.header(b"accept"), call.header(b"accept-encoding")) == ([b"application/json"], [b"identity"])
    assert (call.header(b"if-none-match"), call.header(b"range"), call.header(b"x-forwarded-for")) == ([], [], [b"127.0.0.1"])
    assert upstream.count("/reviews?order=7&page=2") == 1


def test_filters_stand_around_a_composition_and_the_parts_learn_who_asks(gateway, upstream):
    order(upstream, 6)
    upstream.on("/customers/c1", answer({}))
    upstream.on("/reviews", answer([]))
    upstream.calls.clear()
    reply = gateway.get("/page/6", headers=f"X-API-Key: {SECRET}\r\nX-Consumer: forged\r\n")
    assert (reply[0], reply[1]["x-site"]) == (200, "shop")
    assert {call.target.split("?")[0]: call.header(b"x-consumer") for call in upstream.calls} == {
        "/orders/6": [b"ann"], "/customers/c1": [b"ann"], "/reviews": [b"ann"]}
    assert problem(gateway.get("/page/6", headers="X-API-Key: wrong\r\n"))["status"] == 401


def test_a_head_request_gets_the_head_of_the_merged_answer(gateway, upstream):
    order(upstream, 8)
    upstream.on("/customers/c1", answer({}))
    upstream.on("/reviews", answer([], head="Cache-Control: max-age=5\r\n"))
    whole, head = gateway.get("/page/8"), gateway.get("/page/8", method="HEAD")
    assert (head[0], head[2], head[1]["content-length"]) == (200, b"", str(len(whole[2])))
    assert gateway.get("/page/8", method="POST")[0] == 405


def test_the_merged_answer_is_kept_no_longer_than_each_part(gateway, upstream):
    order(upstream, 9, head="Cache-Control: max-age=60\r\nVary: Accept-Language\r\nSet-Cookie: a=b\r\nETag: \"x\"\r\n")
    upstream.on("/customers/c1", answer({}, head="Cache-Control: private, max-age=30\r\n"))
    upstream.on("/reviews", answer([], head="Cache-Control: max-age=90\r\nAge: 80\r\n"))
    headers = gateway.get("/page/9")[1]
    assert (headers["cache-control"], headers["vary"]) == ("private, max-age=10", "accept-language")
    assert "set-cookie" not in headers
    assert "etag" not in headers
    upstream.on("/reviews", answer([], status="503 No", head="Cache-Control: max-age=90\r\n"))
    assert gateway.get("/page/9")[1]["cache-control"] == "no-store"


def test_members_of_objects_are_merged_flat_and_items_of_arrays_are_joined(gateway, upstream):
    order(upstream, 1)
    upstream.on("/stock/1", answer({"data": {"stock": 3, "id": "late"}}))
    assert json.loads(gateway.get("/flat/1")[2]) == {"id": "late", "customer_id": "c1", "stock": 3}
    upstream.on("/first", answer([1, 2]))
    upstream.on("/second", answer([3]))
    assert gateway.get("/list")[2] == b"[1,2,3]"
    upstream.on("/second", answer({"no": "array"}))
    reply = gateway.get("/list")
    assert (reply[2], states(reply)) == (b"[1,2]", "first=ok, second=failed")


@pytest.mark.parametrize("bad", [
    answer(b"{", "200 OK"), answer(b'{"data":{},"data":{}}'), answer(b"NaN"), answer(b"[" * 5000), answer(b'"\xff"'), answer({"other": 1}),
    answer({"data": [1]}), answer({"data": {}}, media="text/html"), answer({"data": {}}, "404 Not Found"), answer({"data": {}}, "302 Found"),
    answer(b"", "204 No Content"), answer({"data": "x" * 2_000_000}), lambda call: call.send(b"nonsense\r\n\r\n"),
    lambda call: call.reset(), lambda call: (call.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"), call.reset()),
    answer(gzip.compress(b" " * 50_000_000), head="Content-Encoding: gzip\r\n"), answer(b"zzz", head="Content-Encoding: br\r\n"),
    answer(b"zzz", head="Content-Encoding: gzip\r\n"),
], ids=range(18))
def test_a_part_without_a_usable_answer_has_failed_and_its_default_stands_in(gateway, upstream, bad):
    order(upstream, 2)
    upstream.on("/stock/2", bad)
    reply = gateway.get("/flat/2")
    assert (reply[0], json.loads(reply[2])) == (200, {"id": 2, "customer_id": "c1", "stock": 0})
    assert (states(reply), reply[1]["cache-control"]) == ("order=ok, stock=failed", "no-store")


def test_a_coded_answer_is_decoded(gateway, upstream):
    order(upstream, 3)
    upstream.on("/stock/3", answer(gzip.compress(b'{"data":{"stock":5}}'), head="Content-Encoding: gzip\r\n"))
    assert json.loads(gateway.get("/flat/3")[2])["stock"] == 5


def test_a_part_that_must_be_there_and_is_not_decides_the_status(gateway, upstream):
    for id_, status, wanted in ((11, "404 Not Found", 404), (12, "403 Forbidden", 403), (13, "500 No", 500), (14, "302 Found", 502)):
        order(upstream, id_, status=status)
        found = problem(gateway.get(f"/flat/{id_}"))
        assert (found["status"], found["detail"]) == (wanted, f"order answered with status {status[:3]}")
    upstream.on("/orders/15", answer({"id": "x" * 1001}))
    assert problem(gateway.get("/flat/15"))["detail"] == "the answer of order is too large"
    upstream.on("/orders/16", answer(b"[]"))
    assert problem(gateway.get("/flat/16"))["detail"] == "the answer of order cannot be merged"


def test_every_part_is_a_call_of_its_own_command_and_its_state_says_what_became_of_it(gateway, upstream):
    upstream.on("/fails", answer({}, "500 No"))
    before = {event: gateway.metric(event, command) for event, command in (("failure", "frail"), ("timeout", "quick"))}
    reply = gateway.get("/states")
    assert states(reply) == "good=ok, frail=failed, dead=failed, late=timeout, after=skipped"
    assert json.loads(reply[2]) == {"good": {"good": True}, "frail": False, "after": 1}
    assert gateway.metric("failure", "frail") == before["failure"] + 1
    assert gateway.metric("timeout", "quick") == before["timeout"] + 1
    calls = upstream.count("/fails")
    assert states(gateway.get("/states")).split(", ")[1] == "frail=open"
    assert upstream.count("/fails") == calls


def test_a_part_whose_bulkhead_is_full_is_refused(gateway, upstream):
    upstream.on("/plain/hang", lambda call: call.until_closed())
    with gateway.connect() as other:
        other.sendall(b"GET /plain/hang HTTP/1.1\r\nHost: gw\r\n\r\n")
        eventually(lambda: gateway.in_flight("narrow") == 1)
        assert states(gateway.get("/narrow")) == "good=ok, narrow=refused"
    eventually(lambda: not gateway.busy())
    assert states(gateway.get("/narrow")) == "good=ok, narrow=ok"


def test_the_time_of_the_whole_is_bounded_and_late_parts_give_their_permits_back(gateway, upstream):
    reply = gateway.get("/bounded")
    assert (states(reply), json.loads(reply[2])) == ("good=ok, slow=timeout, next=skipped", {"good": {"good": True}})
    assert problem(gateway.get("/needed"))["status"] == 504
    eventually(lambda: not gateway.busy(), "every permit back")


def test_a_client_that_leaves_cancels_every_part(gateway, upstream):
    for path in ("/hang/1", "/hang/2", "/three/leave"):
        upstream.on(path, lambda call: call.until_closed())
    cancelled = gateway.metric("cancelled", "slow")
    with gateway.connect() as client:
        client.sendall(b"GET /hanging/leave HTTP/1.1\r\nHost: gw\r\n\r\n")
        calls = [upstream.called(path) for path in ("/hang/1", "/hang/2", "/three/leave")]
    assert all(call.closed.wait(60) for call in calls)
    eventually(lambda: not gateway.busy(), "every permit back")
    assert gateway.metric("cancelled", "slow") == cancelled + 2


def test_the_failure_of_a_part_that_must_be_there_cancels_the_others(gateway, upstream):
    asked = threading.Semaphore(0)
    for path in ("/hang/1", "/hang/2"):
        upstream.on(path, lambda call: (asked.release(), call.until_closed()))
    refuse = answer({}, "410 Gone")
    upstream.on("/three/fail", lambda call: (asked.acquire(timeout=10), asked.acquire(timeout=10), refuse(call)))
    assert problem(gateway.get("/hanging/fail"))["status"] == 410
    assert all(upstream.called(path).closed.wait(60) for path in ("/hang/1", "/hang/2"))
    eventually(lambda: not gateway.busy(), "every permit back")


@pytest.mark.parametrize("customer", ["..", "a/b", "%2e%2e", "", "a;b", "a\\b", "\n", "x" * 9000])
def test_an_answer_cannot_lead_the_next_part_to_another_path(gateway, upstream, customer):
    order(upstream, 20, customer=customer)
    upstream.on("/reviews", answer([]))
    before = len(upstream.calls)
    found = problem(gateway.get("/page/20"))
    assert (found["status"], found["detail"]) == (502, "customer could not be asked: a value for it cannot stand in a path")
    assert not [call.target for call in upstream.calls[before:] if "customer" in call.target]


def test_a_missing_value_skips_the_part(gateway, upstream):
    upstream.on("/orders/21", answer({"id": 21}))
    assert problem(gateway.get("/page/21"))["detail"] == "customer could not be asked: a value for it is missing"


HEAD = """
[services.orders]
endpoints = ["http://127.0.0.1:1"]
[[routes]]
path = "/page/{id}"
compose = "page"
"""


@pytest.mark.parametrize(("text", "why"), [
    ('[compositions.page.parts]\na = { service = "order", path = "/a" }', "unknown service 'order'; did you mean orders?"),
    ('[compositions.page.parts]\na = { service = "orders", path = "/{b:/x}" }', "compositions.page.parts.a.path: unknown part 'b'"),
    ('[compositions.page.parts]\na = { service = "orders", path = "/", after = ["c"] }', "compositions.page.parts.a.after: unknown part 'c'"),
    ('[compositions.page.parts]\na = { service = "orders", path = "/{b:/x}" }\nb = { service = "orders", path = "/", after = "a" }', "in a circle: a -> b -> a"),
    ('[compositions.page.parts]\na = { service = "orders", path = "/", after = "a" }', "in a circle: a -> a"),
    ('[compositions.page.parts]\na = { service = "orders", path = "/{name}" }', "the path /page/{id} of a route has no parameter {name}"),
    ('[compositions.page.parts]\na = { service = "orders", path = "/../x" }', "compositions.page.parts.a.path: must be a plain path"),
    ('[compositions.page.parts]\na = { service = "orders", path = "/{a b}" }', "compositions.page.parts.a.path: a value must be"),
    ('[compositions.page.parts]\nA = { service = "orders", path = "/" }', "the name of a part has small letters"),
    ('[compositions.page.parts]\na = { service = "orders", path = "/", default = 1 }', "is for parts with required = false"),
    ('[compositions.page]\nmerge = "flat"\nparts.a = { service = "orders", path = "/", required = false, default = 1 }', "must be a table, to be merged"),
    ('[compositions.page]\nmerge = "all"\nparts.a = { service = "orders", path = "/" }', "compositions.page.merge: must be one of object, flat, list"),
    ('[compositions.page]\nparts = {}', "needs 1 to 32 parts"),
    ('[compositions.page]\ntimeout = 0\nparts.a = { service = "orders", path = "/" }', "compositions.page.timeout"),
    ('[compositions.page.parts]\na = { service = "orders", pth = "/" }', "did you mean path?"),
    ('[compositions.page.parts]\na = { service = "orders", path = "/", select = "x" }', "must be a JSON pointer"),
    ('[compositions.pages.parts]\na = { service = "orders", path = "/" }', "unknown composition 'page'; did you mean pages?"),
    ('[compositions.page.parts]\na = { service = "orders", path = "/" }\n[[routes]]\npath = "/x"\ncompose = "page"\nmethods = ["POST"]', "answers GET and HEAD, not POST"),
    ('[compositions.page.parts]\na = { service = "orders", path = "/" }\n[[routes]]\npath = "/x"\ncompose = "page"\nservice = "orders"', "is for routes to a service"),
    ('[compositions.page.parts]\na = { service = "orders", path = "/" }\n[[routes]]\npath = "/x/*"\ncompose = "page"\nstrip_prefix = "/x"', "is for routes to a service"),
])
def test_a_mistake_in_a_composition_is_named_with_its_place(tmp_path, text, why):
    file = tmp_path / "gateway.toml"
    file.write_text(f"{HEAD}{text}\n")
    with pytest.raises(ConfigFileError) as caught:
        load(file)
    assert why in str(caught.value)
